"""What a trainer gets from the core: rollouts, data, other models, keys. Implements `contexts.TrainContext`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from r1core.choices import Use
from r1core.components import Policy, Sampler
from r1core.contexts import Signals
from r1core.errors import RecipeError
from r1core.recipe.schema import Scratch
from r1core.scoring import ScoringService
from r1core.stages.answers import Answers
from r1core.stages.base import Job
from r1core.stages.problems import balanced
from r1core.stages.progress import CRITIC, POLICY, REFERENCE, Progress
from r1core.stages.signals import signals_of
from r1core.store import answer_of, problem_of, read_rows
from r1core.store.rollouts import RolloutsWriter
from r1core.types import Answer, At, Floats, Group, Problem, Rollout


class Context:
    """One train stage's side of the contract."""

    def __init__(
        self,
        job: Job,
        policy: Policy,
        scoring: ScoringService,
        legs: Callable[[int], Iterator[At]],
        rollouts: RolloutsWriter,
        progress: Progress,
        *,
        start: Path,
    ) -> None:
        self.job = job
        self.policy = policy
        self._answers = Answers(job, policy, scoring)
        self._legs = legs
        self._rollouts = rollouts
        self._progress = progress
        self._start = start
        self._problems = job.stream() if job.stage.stage.problems is not None else None
        self._critic: Policy | None = None
        self._batch: tuple[int, list[Group]] = (-1, [])

    def steps(self, planned: int) -> Iterator[At]:
        """Each optimizer step in turn, extensions included."""
        return self._legs(planned)

    def examples(self) -> list[Problem]:
        """Supervised data: every problem of the stage's `data` that has a completion and was kept."""
        stage = self.job.stage.stage
        sets = [self._examples_of(data) for data in stage.data]
        if not stage.balance:
            return [problem for own in sets for problem in own]
        weights = [stage.balance[data] for data in stage.data if isinstance(data, str)]
        mixed = balanced(sets, weights)
        sizes = " and ".join(f"{len(own)} of {data}" for own, data in zip(sets, stage.data, strict=True))
        self.job.note(f"learning {len(mixed)} examples, balanced {':'.join(f'{w:g}' for w in weights)}, from {sizes}")
        return mixed

    def _examples_of(self, data: Use | str) -> list[Problem]:
        if isinstance(data, Use):
            found = list(self.job.source(data).problems(seed=self.job.stage.seed))
        else:
            found = [problem_of(row) for row in read_rows(self.job.artifacts[data]) if row["keep"]]
        return [problem for problem in found if problem.completion is not None]

    def answers(self) -> list[Answer]:
        """The kept rows of the stage's datasets. A source has no scored answers: only the tokenizer of a model from
        scratch may come from one."""
        stage = self.job.stage.stage
        sources = [data.use for data in stage.data if isinstance(data, Use)]
        if (sources and not isinstance(stage.model, Scratch)) or stage.balance:
            what = f"source {sources[0]!r} has no scored answers" if sources else "scored answers cannot be balanced"
            raise RecipeError(
                what,
                where=f"stages.{self.job.stage.id}",
                fix="learn from the data of stages that score answers, without `balance`",
            )
        stages = [data for data in stage.data if isinstance(data, str)]
        return [answer_of(row) for data in stages for row in read_rows(self.job.artifacts[data]) if row["keep"]]

    def signals(self, ref: str) -> Signals:
        """What a teacher said of texts; `ref` is the folder by now."""
        return signals_of(self.job.plan, Path(ref))

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        """The next problems, answered and scored: with the present weights, or, where the stage samples ahead, with
        those of one batch before. A batch sampled ahead for more problems than are wanted loses the others."""
        earlier = self._batch[1] if self._batch[0] == at.step else []
        groups = self._answers.ahead.take(at.step) if not earlier else None
        if groups is None:
            problems = self._next(at, prompts, first=len(earlier))
            groups = self._answers.rollouts(at, problems, samples=samples, first=len(earlier))
        else:
            groups = self._answers.gathered(groups)[:prompts]
        self._batch = (at.step, [*earlier, *groups])
        self._rollouts.add(at.step, self._batch[1])
        if self.job.stage.stage.sampling.ahead and not earlier:
            self._begin_next(at, prompts=prompts, samples=samples)
        return groups

    def _next(self, at: At, prompts: int, *, first: int) -> list[Problem]:
        """Problems not seen yet. The same may come twice in a run: its place in the run makes it one of its own."""
        assert self._problems is not None, "the plan checks that the stage has problems"
        problems = self._problems.take(prompts, step=at.position, total=at.length)
        return [replace(p, id=f"{p.id}@{at.step}.{place}") for place, p in enumerate(problems, start=first)]

    def _begin_next(self, at: At, *, prompts: int, samples: int) -> None:
        """Sample the batch that will be wanted next while the policy learns from this one."""
        assert self._problems is not None, "the plan checks that the stage has problems"
        following = self._answers.ahead.next(at)
        if following is not None:
            cursors = dict(self._problems.cursors())
            problems = self._next(following, prompts, first=0)
            work = self._answers.starting(following, problems, samples=samples)
            self._answers.ahead.begin(following.step, cursors, work)

    def greedy(self, at: At, problems: Sequence[Problem]) -> Floats:
        """The reward of one greedy answer to each problem."""
        return self._answers.greedy(at, problems)

    def continuations(self, at: At, states: Sequence[tuple[Rollout, int]], *, samples: int) -> list[Floats]:
        """The rewards of `samples` answers that go on from each state."""
        return self._answers.continuations(at, states, samples=samples)

    def critic(self, ref: str | None = None) -> Policy:
        """The policy with a score head that is trained beside the first, as it was saved where the stage goes on."""
        if self._critic is None:
            start = self._start if ref is None else Path(ref)
            self._critic = self.job.policy().open(start, trainable=True, head="score")
            self._progress.restore(CRITIC, self._critic)
        return self._critic

    @property
    def policies(self) -> dict[str, Policy]:
        """All that learn, by the name of their folder in a checkpoint."""
        return {POLICY: self.policy} | ({CRITIC: self._critic} if self._critic is not None else {})

    def model(self, ref: str) -> Policy:
        """A frozen policy on another stage's model; `ref` is its folder by now."""
        return self.policy.frozen(Path(ref))

    def reference(self, *, refresh: bool = False) -> Policy:
        """A frozen copy of the policy as the stage found it, or as it was at the last `refresh`."""
        folder = self.job.folder / REFERENCE
        if refresh:
            with self.job.written(REFERENCE) as fresh:
                self.policy.export(fresh)
        return self.policy.frozen(folder if folder.exists() else self._start)

    def build(self, use: Use, kind: str) -> Any:
        """The component that a `Use` of the trainer's config names."""
        return self.job.build(use, kind)

    def key(self, *parts: int | str) -> int:
        """A key derived from (seed, stage, *parts)."""
        return self.job.key(*parts)

    def note(self, text: str) -> None:
        """A line for people."""
        self.job.note(text)

    def tell(self, name: str, facts: Mapping[str, str | float]) -> None:
        """Facts for `stage.json`."""
        self.job.told.setdefault(name, {}).update(facts)

    def cursors(self) -> dict[str, int]:
        """How many problems were taken from each source, less those whose answers nobody has yet."""
        ahead = self._answers.ahead.cursors
        if ahead is not None:
            return dict(ahead)
        return self._problems.cursors() if self._problems is not None else {}

    def skip(self, cursors: Mapping[str, int]) -> None:
        """Leave out the problems that an earlier process took."""
        if self._problems is not None:
            self._problems.skip(cursors)

    def sampler(self) -> contextlib.AbstractContextManager[Sampler]:
        """The stage's sampler with the present weights, which then rests."""
        return self._answers.sampler()

    def settle(self) -> None:
        """Let a batch that is sampled ahead be done."""
        self._answers.settle()

    def close(self) -> None:
        """The stage ends."""
        self._answers.ahead.close()

    def take_metrics(self) -> dict[str, float]:
        """What sampling and scoring measured since the last call."""
        return self._answers.take_metrics()
