"""Observer `tensorboard`: every metric of every step as a scalar, in `<run>/tensorboard/<stage>`.

    observers: [tensorboard]            # in the recipe, then: tensorboard --logdir runs/<name>/tensorboard

It uses tensorboard's own writer, which needs neither torch nor tensorflow. Where the package is
missing it says so once, when the run starts, and the run goes on without it. A stage that goes on says at
which step, so that what it wrote beyond it before a kill is not shown twice.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1core.errors import SetupError
from r1core.hookspecs import hookimpl
from r1core.types import Step

WRITERS: dict[str, Any] = {}
"""The open writer of each stage that runs in this process."""
UNSTARTED: dict[str, Any] = {}
"""The outputs of stages that have had no step yet in this process."""


def installed() -> bool:
    """Whether tensorboard is here, found without importing it."""
    return importlib.util.find_spec("tensorboard") is not None


@hookimpl
def r1_observer_lacks() -> list[str]:
    """Whether tensorboard is installed."""
    return ["tensorboard is not installed: pip install 'r1core[train]'"] if not installed() else []


@hookimpl
def r1_run_start(folder: Path) -> None:
    """Say it now, not at every stage, when the package is missing."""
    if not installed():
        raise SetupError(
            f"tensorboard is not installed, nothing is written to {folder / 'tensorboard'}",
            where="observer tensorboard",
            fix="pip install 'r1core[train]'",
        )


@hookimpl
def r1_stage_start(folder: Path, stage: str) -> None:
    """Open the stage's writer; `folder` is `<run>/stages/<stage>`."""
    if not installed():
        return
    from tensorboard.summary import Writer
    from tensorboard.summary._output import DirectoryOutput

    _close(stage)
    UNSTARTED[stage] = DirectoryOutput(str(folder.parent.parent / "tensorboard" / stage))
    WRITERS[stage] = Writer(UNSTARTED[stage])


@hookimpl
def r1_step_end(stage: str, step: int, report: Step) -> None:
    """One scalar for each metric of the step."""
    writer = WRITERS.get(stage)
    if writer is not None:
        if stage in UNSTARTED:
            _start(UNSTARTED.pop(stage), step)
        for name, value in report.metrics.items():
            writer.add_scalar(name, value, step)


@hookimpl
def r1_stage_end(stage: str, metrics: Mapping[str, float]) -> None:
    """The stage's last metrics under `final/`, then close."""
    writer = WRITERS.get(stage)
    if writer is not None:
        for name, value in metrics.items():
            writer.add_scalar(f"final/{name}", value, 0)
    _close(stage)


@hookimpl
def r1_run_end() -> None:
    """Close what an error left open."""
    for stage in list(WRITERS):
        _close(stage)


def _start(output: Any, step: int) -> None:
    """Tell readers that all they have from this step on is void; of a stage that starts anew, all they have.

    They heed every such mark but a folder's first, and its public writer cannot write one.
    """
    from tensorboard.compat.proto import event_pb2

    mark = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    event = event_pb2.Event(wall_time=time.time(), step=step if step > 1 else 0, session_log=mark)
    output._ev_writer.add_event(event)


def _close(stage: str) -> None:
    UNSTARTED.pop(stage, None)
    writer = WRITERS.pop(stage, None)
    if writer is not None:
        writer.close()
