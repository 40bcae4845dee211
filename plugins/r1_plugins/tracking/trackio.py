"""Observer `trackio`: each stage is a run of trackio, in its local store; never a Space unless asked.

    observers: [trackio]                                      # then: trackio show --project <recipe>
    observers: [{use: trackio, project: reasoners, space: me/reasoners}]

The store is trackio's own (TRACKIO_DIR). Environment variables that would send the numbers elsewhere are
left aside: only `space` in the recipe does. Nothing measures the machine.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from r1_plugins.tracking.followed import COLUMNS, Followed, Samples
from r1core.choices import ObserverOptions
from r1core.errors import SetupError
from r1core.hookspecs import hookimpl
from r1core.types import Step

if TYPE_CHECKING:
    from r1core.events import RunStarted, SampleShown

ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID", "TRACKIO_WEBHOOK_URL")


class TrackioOptions(ObserverOptions):
    """What `observers: [{use: trackio, ...}]` takes."""

    project: str | None = Field(None, description="the project; the recipe's name when left out")
    space: str | None = Field(None, description="the Hugging Face Space to send to; none: this machine alone")
    samples: int = Field(100, ge=0, description="most sampled answers of a stage in its table, spread over its steps")

    def hosts(self) -> tuple[str, ...]:
        """The hub, where a Space is named."""
        return ("https://huggingface.co",) if self.space else ()


class _Session:
    """The open tracker runs of one run of the pipeline."""

    def __init__(self, followed: Followed, options: TrackioOptions) -> None:
        self.followed = followed
        self.options = options
        self.runs: dict[str, Any] = {}
        self.samples: dict[str, Samples] = {}

    def open(self, stage: str) -> None:
        import trackio

        self.close(stage)
        run_id, _ = self.followed.tracked_as("trackio", stage)
        with _quiet():
            # a context of its own: trackio ends the run that it finds in the present one
            self.runs[stage] = contextvars.Context().run(
                trackio.init,
                project=self.options.project or self.followed.name,
                name=f"{self.followed.group}/{stage}/{run_id[:6]}".replace("/", "-"),
                group=self.followed.group,
                space_id=self.options.space,
                config={**self.followed.config(stage), "tags": list(self.followed.tags(stage))},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.samples[stage] = Samples(most=self.options.samples)

    def table(self, stage: str, step: int | None = None) -> None:
        import trackio

        if rows := self.samples[stage].rows:
            data = [list(row) for row in rows]
            self.runs[stage].log({"samples": trackio.Table(columns=list(COLUMNS), data=data)}, step=step)

    def close(self, stage: str) -> None:
        run = self.runs.pop(stage, None)
        if run is not None:
            with _quiet():
                run.finish()


_SESSION: list[_Session] = []
"""The session of the run that goes on in this process; empty when trackio cannot be used."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without its lines on stdout, and without what the environment would send elsewhere."""
    kept = {name: os.environ.pop(name) for name in ELSEWHERE if name in os.environ}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.environ.update(kept)


@hookimpl
def r1_observer_options() -> type[ObserverOptions]:
    """The project, and the Space if there is to be one."""
    return TrackioOptions


@hookimpl
def r1_observer_lacks() -> list[str]:
    """Whether trackio is installed."""
    return (
        ["trackio is not installed: pip install 'r1core[wandb]'"] if importlib.util.find_spec("trackio") is None else []
    )


@hookimpl
def r1_run_start(folder: Path, recipe: Mapping[str, Any], options: TrackioOptions, started: RunStarted) -> None:
    """A missing package is said once."""
    _SESSION.clear()
    if importlib.util.find_spec("trackio") is None:
        raise SetupError("trackio is not installed", where="observer trackio", fix="pip install 'r1core[wandb]'")
    _SESSION.append(_Session(Followed.of(folder, recipe, started), options))


@hookimpl
def r1_stage_start(stage: str) -> None:
    """Open the stage's run, or go on in it."""
    for session in _SESSION:
        session.open(stage)


@hookimpl
def r1_step_end(stage: str, step: int, report: Step, sample: SampleShown | None) -> None:
    """The step's metrics; the table of samples when it has doubled."""
    for session in _SESSION:
        if stage in session.runs:
            session.runs[stage].log(dict(report.metrics), step=step)
            if sample is not None and session.samples[stage].add(step, sample):
                session.table(stage, step)


@hookimpl
def r1_stage_end(stage: str, metrics: Mapping[str, float]) -> None:
    """The last metrics under `final/`, the whole table, and where the artifact lies."""
    for session in _SESSION:
        if stage in session.runs:
            left = session.followed.left(stage)
            link = {f"artifact/{name}": left[name] for name in ("path", "fingerprint")}
            session.runs[stage].log({**{f"final/{name}": value for name, value in metrics.items()}, **link})
            session.table(stage)
            session.close(stage)


@hookimpl
def r1_run_end() -> None:
    """Close what was cut short."""
    for session in _SESSION:
        for stage in list(session.runs):
            session.table(stage)
            session.close(stage)
    _SESSION.clear()
