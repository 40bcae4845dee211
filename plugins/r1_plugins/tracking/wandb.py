"""Observer `wandb`: each stage is a run of Weights & Biases; offline unless online is asked for.

    observers: [wandb]             # then: wandb sync --append runs/<name>/wandb/offline-run-*
    observers: [{use: wandb, mode: online, project: reasoners, entity: us}]

The key is read from WANDB_API_KEY or from ~/.netrc, and nobody is ever asked for one. Only what stands
here is sent: no console output, command line, source code or git state. Models and data are linked by
path, fingerprint and hashes, and uploaded only with `upload: true`.
"""

from __future__ import annotations

import importlib.util
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from r1_plugins.tracking.followed import COLUMNS, Followed, Samples
from r1core.choices import ObserverOptions
from r1core.errors import SetupError
from r1core.hookspecs import hookimpl
from r1core.types import Step

if TYPE_CHECKING:
    from r1core.events import RunStarted, SampleShown

HERE = "observer wandb"
KEY = "WANDB_API_KEY"
HOME = "https://api.wandb.ai"
"""Whose key the environment holds: a recipe may name a server, and may not have the key sent there."""


class WandbOptions(ObserverOptions):
    """What `observers: [{use: wandb, ...}]` takes."""

    mode: Literal["offline", "online"] = Field("offline", description="offline writes to <run>/wandb and sends nothing")
    project: str | None = Field(None, description="the project; the recipe's name when left out")
    entity: str | None = Field(None, description="the user or team that owns the project; your default when left out")
    server: str = Field(HOME, pattern=r"^https?://[^/]+$", description="the server, in mode online")
    samples: int = Field(100, ge=0, description="most sampled answers of a stage in its table, spread over its steps")
    upload: bool = Field(False, description="upload what the stages leave, weights included; else it is linked by path")

    def hosts(self) -> tuple[str, ...]:
        """The server, where something is sent to it."""
        return (self.server,) if self.mode == "online" else ()


class _Session:
    """The open tracker runs of one run of the pipeline."""

    def __init__(self, followed: Followed, options: WandbOptions, key: str) -> None:
        self.followed = followed
        self.options = options
        self.key = key
        self.runs: dict[str, Any] = {}
        self.samples: dict[str, Samples] = {}

    def open(self, stage: str) -> None:
        import wandb

        self.close(stage, exit_code=1)
        run_id, goes_on = self.followed.tracked_as("wandb", stage)
        online = self.options.mode == "online"
        run = wandb.init(
            dir=str(self.followed.folder),
            id=run_id,
            project=self.options.project or self.followed.name,
            entity=self.options.entity,
            group=self.followed.group,
            job_type=self.followed.kinds.get(stage, ""),
            name=stage,
            tags=self.followed.tags(stage),
            config=self.followed.config(stage),
            resume="allow" if online and goes_on else None,
            reinit="create_new",
            mode=self.options.mode,
            settings=self._settings(wandb),
        )
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        self.runs[stage] = run
        self.samples[stage] = Samples(most=self.options.samples)

    def _settings(self, wandb: Any) -> Any:
        return wandb.Settings(
            api_key=self.key or None,
            base_url=self.options.server,
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            init_timeout=30,
        )

    def table(self, stage: str) -> None:
        import wandb

        rows = self.samples[stage].rows
        if rows:
            self.runs[stage].log({"samples": wandb.Table(columns=list(COLUMNS), data=[list(row) for row in rows])})

    def link(self, stage: str) -> None:
        """The stage's model or data as an artifact: its path and hashes, the files themselves only when asked."""
        import wandb

        left = self.followed.left(stage)
        path = left["path"]
        if not path:
            return
        artifact = wandb.Artifact(f"{stage}-{left['fingerprint'][:12]}", type=Path(path).name, metadata=left)
        if self.options.upload:
            artifact.add_dir(path)
        else:
            artifact.add_reference(Path(path).as_uri(), checksum=False)
        self.runs[stage].log_artifact(artifact)

    def close(self, stage: str, *, exit_code: int = 0) -> None:
        run = self.runs.pop(stage, None)
        if run is not None:
            run.finish(exit_code=exit_code)


_SESSION: list[_Session] = []
"""The session of the run that goes on in this process; empty when wandb cannot be used."""


@hookimpl
def r1_observer_options() -> type[ObserverOptions]:
    """Offline or online, and where to."""
    return WandbOptions


@hookimpl
def r1_observer_lacks() -> list[str]:
    """Whether wandb is installed."""
    return ["wandb is not installed: pip install 'r1core[wandb]'"] if importlib.util.find_spec("wandb") is None else []


@hookimpl
def r1_run_start(folder: Path, recipe: Mapping[str, Any], options: WandbOptions, started: RunStarted) -> None:
    """Find out now whether it can be used; a missing package or key is said once."""
    _SESSION.clear()
    if importlib.util.find_spec("wandb") is None:
        raise SetupError("wandb is not installed", where=HERE, fix="pip install 'r1core[wandb]'")
    key = _key(options.server) if options.mode == "online" else ""
    _SESSION.append(_Session(Followed.of(folder, recipe, started), options, key))


def _key(server: str) -> str:
    """The key for the server. Raises SetupError where there is none, or none that could be one."""
    parts = urlsplit(server)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise SetupError(f"{server} would get the key unencrypted", where=HERE, fix="give an https address")
    bound = server == HOME or server == os.environ.get("WANDB_BASE_URL", "").rstrip("/")
    key = (os.environ.get(KEY, "").strip() if bound else "") or _from_netrc(server)
    if not key:
        given = f"{KEY} is not set" if bound else f"{KEY} is only for {HOME}, or for WANDB_BASE_URL"
        fix = f"export {KEY}=..., or leave out `mode: online`; nothing is sent"
        raise SetupError(f"no key for {server}: {given} and ~/.netrc has none", where=HERE, fix=fix)
    if len(key) < 40 or not key.isascii() or not key.isprintable() or " " in key:
        raise SetupError(
            f"{KEY} holds no key of wandb: 40 characters or more are wanted", where=HERE, fix="set it anew"
        )
    return key


def _from_netrc(server: str) -> str:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(server).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return ""
    return found[2] or "" if found else ""


@hookimpl
def r1_stage_start(stage: str) -> None:
    """Open the stage's run, or go on in it."""
    for session in _SESSION:
        session.open(stage)


@hookimpl
def r1_step_end(stage: str, step: int, report: Step, sample: SampleShown | None) -> None:
    """The step's metrics under their own names, beside `step`; the table of samples when it has doubled."""
    for session in _SESSION:
        if stage in session.runs:
            session.runs[stage].log({**report.metrics, "step": step})
            if sample is not None and session.samples[stage].add(step, sample):
                session.table(stage)


@hookimpl
def r1_stage_end(stage: str, metrics: Mapping[str, float]) -> None:
    """The last metrics as the run's summary under `final/`, the whole table, the artifact."""
    for session in _SESSION:
        if stage in session.runs:
            session.runs[stage].summary.update({f"final/{name}": value for name, value in metrics.items()})
            session.table(stage)
            session.link(stage)
            session.close(stage)


@hookimpl
def r1_run_end(error: str) -> None:
    """Close what was cut short, and wait until wandb's own process has written and left."""
    import sys

    for session in _SESSION:
        for stage in list(session.runs):
            session.table(stage)
            session.close(stage, exit_code=1)
    _SESSION.clear()
    if "wandb" in sys.modules:
        import wandb

        wandb.teardown()
