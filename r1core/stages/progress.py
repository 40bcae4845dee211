"""How a train stage is saved and gone on from: everything that its next step depends on, at one moment.

    checkpoint/step-00000012/{policy/, critic/, reference/, state.json, manifest.json}

In `state.json`: how many steps are done, the sources' cursors, what components remember, the last
metrics (an extension is decided by them), the steps whose numbers were bad in a row, the cost so far.
Nothing random is in it: keys are derived. With it belong the metrics and rollouts written by then.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r1core.components import Policy
from r1core.errors import RefusedError
from r1core.stages.base import Job
from r1core.store import Checkpoint, Checkpoints, MetricsWriter
from r1core.store.kills import reached
from r1core.store.metrics import METRICS
from r1core.store.rollouts import RolloutsWriter
from r1core.usage import Usage
from r1core.world import World, meet

MAX_FAILED = 3
"""Saves in a row that failed, after which the stage stops."""
MAX_SHARE = 0.02
"""Most of the stage's time that saving may take."""
POLICY = "policy"
CRITIC = "critic"
REFERENCE = "reference"
STATE = "state.json"


class Progress:
    """The checkpoints of one train stage. Made before anything else, it says from where to go on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        settings = job.stage.stage.checkpoint
        self._every_s = settings.every_s
        self._checkpoints = Checkpoints(job.folder, keep=settings.keep)
        damage: list[str] = []
        self._found = job.world.first(self._checkpoints.newest(damage.append) if job.leads else None)
        for finding in damage:
            job.note(finding)
        if damage:
            job.note(f"going on after step {self.done}" if self.done else "no checkpoint is whole: starting over")
        self.state: dict[str, Any] = _state(self._found)
        self._failed = 0
        self._wait_s = self._every_s
        self._saved = time.monotonic()
        job.meter.earlier = Usage(**self.state.get("used", {})) if job.leads else Usage()
        job.remember(self.state.get("memory", []))
        job.last_metrics.update(self.state.get("last_metrics", {}))

    @property
    def done(self) -> int:
        """Steps that need not be done again."""
        return self._found.step if self._found is not None else 0

    @property
    def metrics_size(self) -> int:
        """Bytes of `metrics.jsonl` that are those steps'."""
        return self._found.beside[METRICS].size if self._found is not None else 0

    def restore(self, name: str, policy: Policy) -> None:
        """Bring an opened policy to where the one of this name was."""
        if self._found is not None:
            policy.restore(self._found.path / name)

    def restore_reference(self) -> None:
        """Put the reference's folder back, or away where there was none."""
        reference = self.job.folder / REFERENCE
        if self.job.leads:
            shutil.rmtree(reference, ignore_errors=True)
            if self._found is not None and (self._found.path / REFERENCE).exists():
                shutil.copytree(self._found.path / REFERENCE, reference)
        meet(self.job.world)

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self._every_s == 0 or time.monotonic() - self._saved >= self._wait_s

    def save(
        self,
        done: int,
        policies: Mapping[str, Policy],
        state: dict[str, Any],
        writer: MetricsWriter,
        rollouts: RolloutsWriter,
    ) -> bool:
        """Save the stage after `done` steps, `policies` by name. Says so when that failed, and raises RefusedError the
        third time in a row: the older checkpoint stays as it is. Ranks save together, or fail together."""
        begun = time.monotonic()
        world = self.job.world
        used = [usage.cpu_s for usage in world.gather(self.job.meter.now())]
        whole = {**state, "memory": self.job.memory(), "last_metrics": self.job.last_metrics}
        whole["used"] = {**asdict(self.job.meter.now()), "cpu_s": sum(used)}
        meeting = _Meeting(world)
        failure = ""
        try:
            if self.job.leads:
                beside = {METRICS: writer.mark(), **rollouts.marks()}
                self._checkpoints.save(
                    done, lambda folder: self._write(meeting, folder, policies, whole), beside=beside
                )
                rollouts.prune(min(self._checkpoints.steps()))
            elif folder := meeting.at(None):
                _save_all(policies, folder)
        except OSError as error:
            failure = error.strerror or str(error)
            meeting.called_off()
        self._count(done, next(filter(None, world.gather(failure)), ""))
        self._saved = time.monotonic()
        self._wait_s = max(self._every_s, (self._saved - begun) / MAX_SHARE) * 2**self._failed
        return not self._failed

    def _write(self, meeting: _Meeting, folder: Path, policies: Mapping[str, Policy], state: dict[str, Any]) -> None:
        meeting.at(folder)
        _save_all(policies, folder)
        reached("checkpoint.file")
        if (self.job.folder / REFERENCE).exists():
            shutil.copytree(self.job.folder / REFERENCE, folder / REFERENCE)
        (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")  # NaN as Python writes and reads it

    def _count(self, done: int, reason: str) -> None:
        """Take note of a save that failed for this reason, or did not."""
        self._failed = self._failed + 1 if reason else 0
        if not reason:
            return
        last = next(iter(self._checkpoints.steps()), 0)
        kept = f"the checkpoint of step {last} stays" if last else "there is no older one"
        self.job.note(f"step {done} could not be saved ({reason}): {kept}, training goes on")
        if self._failed >= MAX_FAILED:
            raise RefusedError(
                f"{MAX_FAILED} checkpoints in a row could not be saved, the last: {reason}",
                where=f"stages.{self.job.stage.id}, step {done}",
                fix=f"free space on the disk: {kept}, and the same command goes on",
            )


class _Meeting:
    """Where ranks write one checkpoint: rank 0 says the place, once, or that there will be none."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._was_held = False

    def at(self, folder: Path | None) -> Path | None:
        """The place that rank 0 says."""
        self._was_held = True
        return self._world.first(folder)

    def called_off(self) -> None:
        """It failed: whoever waits for the place need not."""
        if not self._was_held:
            self.at(None)


def _save_all(policies: Mapping[str, Policy], folder: Path) -> None:
    for name, policy in policies.items():
        policy.save(folder / name)


def _state(found: Checkpoint | None) -> dict[str, Any]:
    if found is None:
        return {}
    state: dict[str, Any] = json.loads((found.path / STATE).read_text(encoding="utf-8"))
    return state
