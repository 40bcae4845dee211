"""What every stage works with: its part of the plan, its folder, its inputs, and how to tell the parent.

A stage is a function `run(job) -> metrics` that leaves `model/` or `data/` in `job.folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from r1core.components import Policy, ProblemSource, Reward, Sampler, Use
from r1core.events import Event, SampleShown, StageNote, StageStarted, StepDone
from r1core.keys import derive_key
from r1core.recipe.schema import RewardUse
from r1core.scoring import RewardSpec, ScoringService
from r1core.stages.problems import ProblemStream
from r1core.store import MetricsWriter
from r1core.types import Rollout, Score

if TYPE_CHECKING:
    from r1core.recipe.plan import Plan, StagePlan


@dataclass(kw_only=True)
class Job:
    """One stage as it runs. `artifacts` maps the stages it depends on to their model or data folders."""

    plan: Plan
    stage: StagePlan
    folder: Path
    artifacts: Mapping[str, Path]
    emit: Callable[[Event], None]
    last_metrics: dict[str, float] = field(default_factory=dict)

    def key(self, *parts: int | str) -> int:
        """A key derived from (seed, stage, *parts)."""
        return derive_key(self.plan.seed, self.stage.id, *parts)

    def note(self, text: str) -> None:
        """A line for people."""
        self.emit(StageNote(stage=self.stage.id, text=text))

    def started(self, total: int | None) -> None:
        """The stage knows how many steps or units it has."""
        self.emit(StageStarted(stage=self.stage.id, total_steps=total))

    def step(self, event: StepDone, writer: MetricsWriter) -> None:
        """Log one step or unit and show it."""
        writer.append(event.step, event.metrics)
        self.last_metrics.update(event.metrics)
        self.emit(event)

    def build(self, use: Use, kind: str) -> Any:
        """The component that the recipe names, its artifact references turned into folders."""
        return self.plan.component(kind, use, self.artifacts)

    def source(self, use: Use) -> ProblemSource:
        """The problem source that the recipe names."""
        source: ProblemSource = self.build(use, "source")
        return source

    def stream(self) -> ProblemStream:
        """The stage's `problems`."""
        assert self.stage.stage.problems is not None, "the plan checks that the stage has problems"
        return ProblemStream(self.stage.stage.problems, self.source, seed=self.plan.seed)

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
            [self._spec(use) for use in stage.rewards],
            workers=stage.scoring.workers,
            max_infrastructure_rate=stage.scoring.max_infrastructure_rate,
        )

    def _spec(self, use: RewardUse) -> RewardSpec:
        loaded = self.plan.loaded("reward", use)
        return RewardSpec.of(
            cast(type[Reward], loaded.cls),
            name=use.use,
            target=loaded.target,
            options=self.plan.options("reward", use, self.artifacts),
            weight=use.weight,
            only_for=use.only_for,
            active=use.active,
        )


def shown(rollout: Rollout, score: Score | None) -> SampleShown:
    """One answer as people see it: from what the prompt had prefilled on, with its score where there is one."""
    response = rollout.response
    return SampleShown(
        question=rollout.problem.question,
        text=response.prefilled + response.text,
        score=score.value if score is not None and score.known else None,
    )
