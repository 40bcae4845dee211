"""The hook specs: what a plugin may implement. Their docstrings are the reference.

Registration hooks answer one question, *what exists*; a recipe chooses by name. They take no
arguments, return component classes, and run once, when something names the plugin. Observers are
called for plugins that a recipe lists under `observers:`, and for those of r1core itself whose entry
point is named `observer-<name>` (`-p no:<name>` leaves one out); what they raise is reported and never
stops a run. There is no `firstresult`, and pluggy is never on the hot path.

    from r1core import hookimpl

    @hookimpl
    def r1_rewards():
        return [Smiles]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from r1core import components
    from r1core.choices import ObserverOptions
    from r1core.events import RunStarted, SampleShown
    from r1core.types import Step

PROJECT = "r1core"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def r1_policies() -> Iterable[type[components.Policy]]:  # type: ignore[empty-body]
    """Models that can be trained: weights, optimizer and tokenizer."""


@hookspec
def r1_samplers() -> Iterable[type[components.Sampler]]:  # type: ignore[empty-body]
    """Engines that sample completions."""


@hookspec
def r1_rewards() -> Iterable[type[components.Reward]]:  # type: ignore[empty-body]
    """Verifiers and judges."""


@hookspec
def r1_advantages() -> Iterable[type[components.AdvantageEstimator]]:  # type: ignore[empty-body]
    """Advantage estimators."""


@hookspec
def r1_objectives() -> Iterable[type[components.Objective]]:  # type: ignore[empty-body]
    """Per-token policy losses."""


@hookspec
def r1_filters() -> Iterable[type[components.DataFilter]]:  # type: ignore[empty-body]
    """Filters over rollouts and groups."""


@hookspec
def r1_trainers() -> Iterable[type[components.Trainer]]:  # type: ignore[empty-body]
    """Training loops."""


@hookspec
def r1_sources() -> Iterable[type[components.ProblemSource]]:  # type: ignore[empty-body]
    """Problem sources: questions with references, corpora, supervised data."""


@hookspec
def r1_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Commands of `r1`. Name the entry point `command-<name>`, so that `r1 --help` can list it unimported."""


@hookspec
def r1_observer_options() -> type[ObserverOptions]:  # type: ignore[empty-body]
    """What an observer takes in a recipe, as one class; an observer without this hook takes no options."""


@hookspec
def r1_observer_lacks() -> Sequence[str]:  # type: ignore[empty-body]
    """What an observer that a recipe names misses on this machine, each with the command that adds it. A dry run marks
    it; a run is refused for it before any compute."""


@hookspec
def r1_run_start(folder: Path, recipe: Mapping[str, Any], options: ObserverOptions | None, started: RunStarted) -> None:
    """A run starts (or goes on) in `folder`; `recipe` is the resolved recipe, secrets left out.

    `options` are the observer's own, checked; None for one that takes none. `started` has the profile and the stages.
    """


@hookspec
def r1_stage_start(folder: Path, stage: str) -> None:
    """A stage starts; `folder` is the stage's own."""


@hookspec
def r1_step_end(stage: str, step: int, report: Step, sample: SampleShown | None) -> None:
    """One step of a train stage (or one unit of another stage) is done. `step` counts from 1; after a kill the steps
    since the last save come again. `sample` is one of its answers, where it has one."""


@hookspec
def r1_stage_end(stage: str, metrics: Mapping[str, float]) -> None:
    """A stage finished with these last metrics."""


@hookspec
def r1_run_end(folder: Path, error: str) -> None:
    """The run ended; `error` is empty when it ended well."""
