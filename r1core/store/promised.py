"""What a run promises to be the same bytes however often it was killed, and how two runs are compared by it.

    model/ data/ rollouts/ of every stage; metrics.jsonl less `time/*`; results.json less `wall_s`

Files are compared by sha256, numbers in JSON as they are written.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from r1core.store.files import mark_folder
from r1core.store.metrics import METRICS

FOLDERS = ("model", "data", "rollouts")
RESULTS = "results.json"
TIMES = "time/"


def promised(stage: Path) -> dict[str, str]:
    """sha256 of what one stage's folder promises, by the path in it."""
    found = {f"{kind}/{name}": mark.sha256 for kind in FOLDERS for name, mark in mark_folder(stage / kind).items()}
    if (stage / METRICS).is_file():
        lines = (stage / METRICS).read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        found[METRICS] = _digest("".join(_without(line, TIMES) for line in lines))
    return found


def promised_of_run(run: Path) -> dict[str, str]:
    """sha256 of what a run's folder promises, by the path in it."""
    stages = sorted(path for path in run.glob("stages/*") if not path.name.startswith("."))
    found = {f"stages/{stage.name}/{name}": mark for stage in stages for name, mark in promised(stage).items()}
    if (run / RESULTS).is_file():
        found[RESULTS] = _digest(_without((run / RESULTS).read_text(encoding="utf-8", errors="replace"), "wall_s"))
    return found


def differing(run: Path, other: Path) -> list[str]:
    """The promised files that are not the same in both, or are missing in one."""
    own, theirs = promised_of_run(run), promised_of_run(other)
    return sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))


def _without(text: str, prefix: str) -> str:
    """A JSON object less its keys that begin so; what is not one stays as it is, and so differs from one that is."""
    try:
        pairs: Any = json.loads(text, object_pairs_hook=list, parse_float=str, parse_int=str)
    except ValueError:
        return text
    end = "\n" if text.endswith("\n") else ""
    return json.dumps([[key, value] for key, value in pairs if not key.startswith(prefix)]) + end


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
