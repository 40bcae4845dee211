"""Places where a kill would hurt most, and a way to have one there: how "kill it anywhere" is tested.

    R1_KILL_AT=checkpoint.manifest:2     SIGKILL at the second arrival of a process at this place
    R1_KILL_AT=r1_zero/unit:3            only in the process of this stage; `pipeline/` is the parent's

A kill leaves its place in the file R1_KILL_LOG, so that whoever ordered it can tell that it landed.
Without R1_KILL_AT an arrival is one look into the environment. `r1 doctor --resume-test` uses it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

AT = "R1_KILL_AT"
LOG = "R1_KILL_LOG"
STAGE = "R1_STAGE"
PARENT = "pipeline"
PLACES = {
    "unit": "a unit of work is done, nothing of it recorded",
    "ledger.append": "a unit's files are written, the ledger does not know of them",
    "ledger.done": "the ledger has the unit",
    "checkpoint.begin": "before the first file of a checkpoint",
    "checkpoint.file": "between two files of a checkpoint",
    "checkpoint.files": "all files are written, none is named in a manifest",
    "checkpoint.manifest": "the manifest is written, the checkpoint has not its name",
    "checkpoint.done": "the checkpoint has its name, older ones are still there",
    "checkpoint.pruned": "after an older checkpoint was removed",
    "artifact": "model or data is written, but has not its name",
    "artifact.done": "the artifact has its name, the stage is not sealed",
    "file": "a small file is written, but has not its name",
    "seal": "the stage's artifacts are hashed, `stage.json` still says running",
    "sealed": "`stage.json` says finished, leftovers are still there",
}
_arrivals: Counter[str] = Counter()


def reached(place: str) -> None:
    """A process has come to `place`; it ends here if that was ordered."""
    ordered = os.environ.get(AT)
    if not ordered:
        return
    where, _, count = ordered.partition(":")
    stage, _, wanted = where.rpartition("/")
    if wanted != place or (stage and stage != os.environ.get(STAGE, PARENT)):
        return
    _arrivals[place] += 1
    if _arrivals[place] == int(count or 1):
        _die(place)


def _die(place: str) -> None:
    if log := os.environ.get(LOG):
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, f"{os.environ.get(STAGE, PARENT)}/{place}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
