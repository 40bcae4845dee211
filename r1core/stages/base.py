"""What every stage works with: its part of the plan, its folder, its inputs, and how to tell the parent.

A stage is a function `run(job) -> metrics` that leaves `model/` or `data/` in `job.folder`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from r1core.choices import Use
from r1core.components import Component, Policy, ProblemSource, Reward, Sampler
from r1core.contexts import RewardContext
from r1core.errors import Interrupted
from r1core.events import Event, SampleShown, StageNote, StageStarted, StepDone
from r1core.keys import derive_key
from r1core.recipe.elsewhere import Elsewhere
from r1core.recipe.environment import Environment
from r1core.recipe.schema import RewardUse
from r1core.scoring import RewardSpec, ScoringService
from r1core.scoring.python import Interpreter
from r1core.stages.problems import ProblemStream, Without
from r1core.store import MetricsWriter
from r1core.store.files import artifact
from r1core.store.kills import reached
from r1core.types import Rollout, Score
from r1core.usage import Meter
from r1core.world import Alone, World, meet

if TYPE_CHECKING:
    from r1core.recipe.plan import Plan, StagePlan


REWARDS = ".rewards"
"""The folder, beside the stages', of what rewards that ask elsewhere have been told. It outlives a stage that is made
again: what was paid for once is not asked twice."""
REMEMBERING = frozenset({"trainer", "advantage", "objective", "filter"})
"""The kinds of component whose state is kept with a stage's progress: one of each is built for a whole stage."""


def _never() -> bool:
    return False


def _nothing() -> None:
    return


@dataclass(kw_only=True)
class Job:
    """One stage as it runs. `artifacts` maps the stages it depends on to their model or data folders.

    `stopping` says whether the run was asked to stop: the stage then saves at its next chance and
    raises `interrupted()`.

    Several ranks may work on a train stage (`world`). What the run keeps is written by the one that `leads`; the
    others have a folder of their `own`, which is forgotten.
    """

    plan: Plan
    stage: StagePlan
    folder: Path
    artifacts: Mapping[str, Path]
    emit: Callable[[Event], None]
    stopping: Callable[[], bool] = _never
    alive: Callable[[], None] = _nothing
    """Called at each step or unit."""
    meter: Meter = field(default_factory=Meter)
    world: World = field(default_factory=Alone)
    own: Path = Path()
    last_metrics: dict[str, float] = field(default_factory=dict)
    told: dict[str, dict[str, str | float]] = field(default_factory=dict)
    """What its trainer tells of how it trains, by name."""
    left_out: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Of each source, by its config as JSON, the numbers of the problems that no answer is asked for."""
    _built: list[Component] = field(default_factory=list)
    _remembered: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.leads:
            self.own = self.folder

    @property
    def leads(self) -> bool:
        """Whether it is this rank that writes what is kept."""
        return self.world.rank == 0

    def key(self, *parts: int | str) -> int:
        """A key derived from (seed, the stage's name, *parts): the same for all variants of a stage."""
        return derive_key(self.stage.seed, self.stage.name, *parts)

    def note(self, text: str) -> None:
        """A line for people."""
        self.emit(StageNote(stage=self.stage.id, text=text))

    def started(self, total: int | None, *, done: int = 0) -> None:
        """The stage knows how many steps or units it has, and how many an earlier process did."""
        self.emit(StageStarted(stage=self.stage.id, total_steps=total, done=done))

    def interrupted(self, done: str) -> Interrupted:
        """What to raise when `stopping` and all is saved; `done` says how far the stage has come."""
        return Interrupted(
            f"stopped on request after {done}", where=f"stages.{self.stage.id}", fix="the same command goes on"
        )

    @contextlib.contextmanager
    def artifact(self, kind: str) -> Iterator[Path]:
        """A folder to fill, which becomes `model/` or `data/` when the block ends well."""
        with self.written(kind) as folder:
            yield folder
            reached("artifact")
        reached("artifact.done")

    @contextlib.contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """A folder to fill, by all ranks together, that gets its name in the stage's folder when the block ends well;
        then all can read it."""
        path = self.folder / name
        with artifact(path) if self.leads else contextlib.nullcontext(path) as folder:
            yield Path(self.world.first(str(folder)))
            meet(self.world)
        meet(self.world)

    def step(self, event: StepDone, writer: MetricsWriter) -> None:
        """Log one step or unit and show it."""
        self.log(event.step, event.metrics, writer)
        self.emit(event)

    def log(self, step: int, metrics: Mapping[str, float], writer: MetricsWriter) -> None:
        """Log one step or unit, without a word where an earlier process has shown it."""
        self.alive()
        writer.append(step, metrics)
        self.last_metrics.update(metrics)

    def build(self, use: Use, kind: str) -> Any:
        """The component that the recipe names, its artifact references turned into folders; what it had remembered
        in an earlier process it remembers again."""
        component: Component = self.plan.component(kind, use, self.artifacts)
        if kind in REMEMBERING:
            if len(self._built) < len(self._remembered):
                component.load(self._remembered[len(self._built)])
            self._built.append(component)
        return component

    def memory(self) -> list[dict[str, Any]]:
        """What the stage's components remember, in the order in which they were built."""
        return [component.state() for component in self._built]

    def remember(self, memory: Sequence[Mapping[str, Any]]) -> None:
        """Give each component what `memory` told of it, as it is built."""
        self._remembered = list(memory)

    def source(self, use: Use) -> ProblemSource:
        """The problem source that the recipe names."""
        source: ProblemSource = self.build(use, "source")
        source.listener = self.note
        return source

    def asked(self, use: Use) -> ProblemSource:
        """The same, without the problems that no reward of the stage could judge answers to (`unreadable_golds`)."""
        source, numbers = self.source(use), self.left_out.get(use.model_dump_json())
        return source if numbers is None else Without(source, numbers)

    def stream(self) -> ProblemStream:
        """The stage's `problems`."""
        assert self.stage.stage.problems is not None, "the plan checks that the stage has problems"
        return ProblemStream(self.stage.stage.problems, self.asked, seed=self.stage.seed)

    def policy(self) -> Policy:
        """The stage's training engine, nothing opened yet."""
        assert self.stage.stage.policy is not None, "the plan gives every stage its engines"
        policy: Policy = self.build(self.stage.stage.policy, "policy")
        return policy

    def sampler(self, policy: Policy) -> Sampler:
        """The stage's sampling engine, with the policy's weights."""
        assert self.stage.stage.sampler is not None, "the plan gives every stage its engines"
        sampler: Sampler = self.build(self.stage.stage.sampler, "sampler")
        sampler.sync(policy)
        return sampler

    def scoring(self) -> ScoringService:
        """The stage's rewards, in their worker processes."""
        stage = self.stage.stage
        return ScoringService(
            [spec_of(self.plan, use, self.artifacts) for use in stage.rewards],
            workers=stage.scoring.workers,
            max_infrastructure_rate=stage.scoring.max_infrastructure_rate,
            memory_mib=stage.scoring.memory_mib,
            batch_timeout_s=stage.scoring.batch_timeout_s,
            contexts=self._reward_context,
        )

    def _reward_context(self, part: str) -> RewardContext:
        name = part.strip(".") or "reward"  # a recipe names it, and is not trusted to name folders
        if not self.leads:
            name += f".rank-{self.world.rank}"
        folder = self.folder.parent / REWARDS / self.stage.id / name
        folder.mkdir(parents=True, exist_ok=True)
        return _Within(folder=folder, note=self.note, stopping=self.stopping)


@dataclass(kw_only=True)
class _Within:
    """What a reward that runs in the stage is prepared with. Implements `contexts.RewardContext`."""

    folder: Path
    note: Callable[[str], None]
    stopping: Callable[[], bool]


def spec_of(plan: Plan, use: RewardUse, artifacts: Mapping[str, Path]) -> RewardSpec:
    """A reward of a stage as data. Raises KeyError where it names an artifact that is not among these."""
    loaded = plan.loaded("reward", use)
    elsewhere = None if use.python is None else Elsewhere(loaded=loaded, environment=Environment(Path(use.python)))
    return RewardSpec.of(
        cast(type[Reward], loaded.cls),
        name=use.part,
        target=loaded.target,
        options=plan.options("reward", use, artifacts),
        weight=use.weight,
        only_for=use.only_for,
        active=use.active,
        gate=use.gate,
        interpreter=None if elsewhere is None else Interpreter.of(elsewhere),
    )


def shown(rollout: Rollout, score: Score | None) -> SampleShown:
    """One answer as people see it: from what the prompt had prefilled on, with its score where there is one."""
    response = rollout.response
    return SampleShown(
        question=rollout.problem.question,
        text=response.prefilled + response.text,
        score=score.value if score is not None and score.known else None,
    )
