"""Observer `tensorboard`: every metric of every step as a scalar, in `<run>/tensorboard/<stage>`.

    observers: [tensorboard]            # in the recipe, then: tensorboard --logdir runs/<name>/tensorboard

It uses tensorboard's own writer, which needs neither torch nor tensorflow. Where the package is
missing it says so once, when the run starts, and the run goes on without it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1core.errors import SetupError
from r1core.hookspecs import hookimpl
from r1core.types import Step

WRITERS: dict[str, Any] = {}
"""The open writer of each stage that runs in this process."""


def installed() -> bool:
    """Whether tensorboard is here, found without importing it."""
    return importlib.util.find_spec("tensorboard") is not None


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

    _close(stage)
    WRITERS[stage] = Writer(str(folder.parent.parent / "tensorboard" / stage))


@hookimpl
def r1_step_end(stage: str, step: int, report: Step) -> None:
    """One scalar for each metric of the step."""
    writer = WRITERS.get(stage)
    if writer is not None:
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


def _close(stage: str) -> None:
    writer = WRITERS.pop(stage, None)
    if writer is not None:
        writer.close()
