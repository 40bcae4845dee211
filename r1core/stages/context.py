"""What a trainer gets from the core: rollouts, data, other models, keys. Implements `components.TrainContext`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from r1core.choices import Use
from r1core.components import Policy, Sampler
from r1core.errors import RecipeError, RefusedError
from r1core.recipe.schema import Scratch
from r1core.scoring import Batch, ScoringService
from r1core.stages.base import Job
from r1core.stages.cost import ROLLOUTS, Cost
from r1core.stages.problems import balanced
from r1core.stages.progress import CRITIC, POLICY, REFERENCE, Progress
from r1core.stages.sampling import Arrived, Unscored, counted, sample_groups
from r1core.store import answer_of, problem_of, read_rows
from r1core.store.rollouts import RolloutsWriter
from r1core.types import Answer, At, Floats, Group, Problem, Rollout, SampleRequest, TrainSequence
from r1core.world import share, whole

PROBE = 4
"""Answers of each rollout batch whose log-probs the policy computes again."""
PROBE_BOUND = 0.5
"""Largest mean gap (nats a token) of sampler and policy: stale weights about 1, float32 engines 1e-6, bf16 0.01."""


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
        self.world = job.world
        self.policy = policy
        self._scoring = scoring
        self._legs = legs
        self._rollouts = rollouts
        self._progress = progress
        self._start = start
        self._problems = job.stream() if job.stage.stage.problems is not None else None
        self._sampler: Sampler | None = None
        self._critic: Policy | None = None
        self._batch: tuple[int, list[Group]] = (-1, [])
        self._cost = Cost()
        self._metrics: dict[str, float] = {}
        self._has_scored = False

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

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        """The next problems, answered with the present weights and scored."""
        assert self._problems is not None, "the plan checks that the stage has problems"
        earlier = self._batch[1] if self._batch[0] == at.step else []
        problems = self._problems.take(prompts, step=at.position, total=at.length)
        # The same problem may come twice in a run: its place in the run makes it a problem of its own.
        places = range(len(earlier), len(earlier) + prompts)
        problems = [replace(p, id=f"{p.id}@{at.step}.{place}") for p, place in zip(problems, places, strict=True)]
        own = share(self.world, prompts)
        with self._scores(at, [samples] * len(own)) as batch:
            groups = self._sampled(
                at,
                [problems[i] for i in own],
                samples=samples,
                key=lambda i, sample: self.job.key("rollout", at.step, places[own[i]], sample),
                arrived=batch.add,
            )
            self._probe(groups)
            groups = batch.finish(groups)
        groups = whole(self.world.gather(groups))
        self._cost.add(ROLLOUTS, [rollout for group in groups for rollout in group.rollouts])
        self._batch = (at.step, [*earlier, *groups])
        self._rollouts.add(at.step, self._batch[1])
        return groups

    def greedy(self, at: At, problems: Sequence[Problem]) -> Floats:
        """The reward of one greedy answer to each problem."""
        own = [problems[i] for i in share(self.world, len(problems))]
        with self._scores(at, [1] * len(own)) as batch:
            groups = self._sampled(at, own, samples=1, temperature=0.0, key=lambda *place: 0, arrived=batch.add)
            groups = batch.finish(groups)
        groups = whole(self.world.gather(groups))
        self._cost.add("greedy", [group.rollouts[0] for group in groups])
        return np.array([float(group.rewards_G[0]) for group in groups])

    def _sampled(
        self,
        at: At,
        problems: Sequence[Problem],
        *,
        samples: int,
        key: Callable[..., int],
        arrived: Arrived,
        temperature: float | None = None,
    ) -> list[Group]:
        """Answers as the stage samples them, at its own temperature unless one is given."""
        sampling = self.job.stage.stage.sampling
        with self.sampler() as sampler:
            return sample_groups(
                sampler,
                self.policy,
                problems,
                samples=samples,
                max_new_tokens=sampling.max_new_tokens.at(at.position, at.length),
                temperature=sampling.temperature.at(at.position, at.length) if temperature is None else temperature,
                top_p=sampling.top_p,
                key=key,
                arrived=arrived,
            )

    def continuations(self, at: At, states: Sequence[tuple[Rollout, int]], *, samples: int) -> list[Floats]:
        """The rewards of `samples` answers that go on from each state."""
        sampling = self.job.stage.stage.sampling
        longest = sampling.max_new_tokens.at(at.position, at.length)
        places = share(self.world, len(states))
        own = [states[place] for place in places]
        requests = [
            SampleRequest(
                problem=rollout.problem,
                prompt_ids=rollout.prompt_ids,
                prefix_ids=rollout.completion_ids[:kept],
                keys=tuple(self.job.key("continuation", at.step, places[number], i) for i in range(samples)),
                samples=tuple(number * samples + i for i in range(samples)),
                max_new_tokens=max(1, longest - kept),
                temperature=sampling.temperature.at(at.position, at.length),
                top_p=sampling.top_p,
            )
            for number, (rollout, kept) in enumerate(own)
        ]
        with self._scores(at, [samples] * len(own)) as batch, self.sampler() as sampler:
            found: dict[int, Rollout] = {}
            for rollout in sampler.generate(requests):
                place = rollout.sample
                found[place] = counted(rollout, before=own[place // samples][1])
                batch.add(place, found[place])
            rollouts = [found[place] for place in sorted(found)]
            groups = batch.finish(
                [
                    Group(problem=rollout.problem, rollouts=tuple(rollouts[number * samples : (number + 1) * samples]))
                    for number, (rollout, _) in enumerate(own)
                ]
            )
        groups = whole(self.world.gather(groups))
        self._cost.add("continuations", [rollout for group in groups for rollout in group.rollouts])
        return [group.rewards_G for group in groups]

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

    def cursors(self) -> dict[str, int]:
        """How many problems were taken from each source."""
        return self._problems.cursors() if self._problems is not None else {}

    def skip(self, cursors: Mapping[str, int]) -> None:
        """Leave out the problems that an earlier process took."""
        if self._problems is not None:
            self._problems.skip(cursors)

    @contextlib.contextmanager
    def sampler(self) -> Iterator[Sampler]:
        """The stage's sampler with the present weights, which then rests."""
        if self._sampler is None:
            self._sampler = self.job.sampler(self.policy)
        else:
            self._sampler.sync(self.policy)
        yield self._sampler
        self._sampler.rest()

    def take_metrics(self) -> dict[str, float]:
        """What sampling and scoring measured since the last call."""
        scoring = self._scoring.metrics(self.world) if self._has_scored else {}
        taken = {**self._metrics, **self._cost.take(), **scoring}
        self._metrics, self._has_scored = {}, False
        return taken

    def _scores(self, at: At, sizes: Sequence[int]) -> Batch | Unscored:
        """Where answers are handed over as they come, to be scored where the stage has rewards."""
        if not self.job.stage.stage.rewards:
            return Unscored()
        self._has_scored = True
        return self._scoring.batch(sizes, step=at.position, total=at.length)

    def _probe(self, groups: Sequence[Group]) -> None:
        """Do sampler and policy have the same weights, on every rank? Silent disagreement trains on the wrong
        gradient."""
        own = [r for group in groups for r in group.rollouts if r.logprobs is not None and len(r.completion_ids)]
        probed = self.world.gather(own[:PROBE])
        if not any(probed):
            return
        sequences = [
            TrainSequence(ids=np.concatenate([r.prompt_ids, r.completion_ids]), start=len(r.prompt_ids), columns={})
            for rank in probed
            for r in rank
        ]
        trained = iter(self.policy.logprobs(sequences))
        gaps_R = [
            np.concatenate([np.abs(next(trained) - r.logprobs) for r in rank if r.logprobs is not None]).mean()
            for rank in probed
            if rank
        ]
        gap = float(np.max(gaps_R))  # NaN where one is
        self._metrics["sampler/logprob_gap"] = gap
        if not gap <= PROBE_BOUND:
            raise RefusedError(
                f"the sampler's log-probs differ from the policy's by {gap:.3g} nats a token (bound {PROBE_BOUND})",
                where=f"stages.{self.job.stage.id}",
                fix="the sampler has other weights than the policy: check its `sync`",
            )
