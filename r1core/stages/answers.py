"""The answers that a trainer asks for: sampled with the present weights and scored, each rank its share.

What comes back is whole on every rank, in the order of what was asked; which rank did what changes nothing, for the
keys of answers do not tell.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from r1core.components import Policy, Sampler
from r1core.errors import RefusedError
from r1core.scoring import Batch, ScoringService
from r1core.stages.ahead import Ahead, Work
from r1core.stages.base import Job
from r1core.stages.cost import ROLLOUTS, Cost
from r1core.stages.sampling import Arrived, Unscored, counted, sample_groups
from r1core.types import At, Floats, Group, Problem, Rollout, SampleRequest, TrainSequence
from r1core.world import meet, share, whole

PROBE = 4
"""Answers of each rank's share whose log-probs the policy computes again, at every change of the weights."""
PROBE_TOKENS = 32
"""Longest answer sampled for that alone, where the batch itself comes only later."""
PROBE_BOUND = 0.5
"""Largest mean gap (nats a token) of sampler and policy: stale weights about 1, float32 engines 1e-6, bf16 0.01."""


class Answers:
    """What a train stage samples with, and how it scores."""

    def __init__(self, job: Job, policy: Policy, scoring: ScoringService) -> None:
        self.job = job
        self.policy = policy
        self.world = job.world
        self.ahead = Ahead()
        self._scoring = scoring
        self._sampler: Sampler | None = None
        self._cost = Cost()
        self._metrics: dict[str, float] = {}

    @contextlib.contextmanager
    def sampler(self) -> Iterator[Sampler]:
        """The stage's sampler with the present weights, which then rests."""
        sampler = self._synced()
        yield sampler
        sampler.rest()

    def rollouts(self, at: At, problems: Sequence[Problem], *, samples: int, first: int) -> list[Group]:
        """`samples` answers to each problem; the first of them is number `first` in its rollout batch."""
        own = share(self.world, len(problems))
        with self.sampler() as sampler, self._scores(at, [samples] * len(own)) as batch:
            groups = self._sampled(sampler, at, problems, own, samples=samples, first=first, arrived=batch.add)
            self._probe(self._telling(groups) or list(sampler.generate(self._probes(at, [problems[i] for i in own]))))
            groups = batch.finish(groups)
        return self.gathered(groups)

    def gathered(self, groups: Sequence[Group]) -> list[Group]:
        """The rollouts of all ranks."""
        groups = whole(self.world.gather(list(groups)))
        self._cost.add(ROLLOUTS, [rollout for group in groups for rollout in group.rollouts])
        return groups

    def starting(self, at: At, problems: Sequence[Problem], *, samples: int) -> Work:
        """The same as `rollouts`, to be done beside training: the sampler takes the present weights now."""
        own = share(self.world, len(problems))
        sampler = self._synced()
        self._probe(list(sampler.generate(self._probes(at, [problems[i] for i in own]))))

        def work() -> list[Group]:
            with self._scores(at, [samples] * len(own)) as batch:
                return batch.finish(
                    self._sampled(sampler, at, problems, own, samples=samples, first=0, arrived=batch.add)
                )

        return work

    def greedy(self, at: At, problems: Sequence[Problem]) -> Floats:
        """The reward of one greedy answer to each problem."""
        own = [problems[i] for i in share(self.world, len(problems))]
        sampling = self.job.stage.stage.sampling
        with self.sampler() as sampler, self._scores(at, [1] * len(own)) as batch:
            groups = sample_groups(
                sampler,
                self.policy,
                own,
                samples=1,
                max_new_tokens=sampling.max_new_tokens.at(at.position, at.length),
                temperature=0.0,
                top_p=sampling.top_p,
                key=lambda *place: 0,
                arrived=batch.add,
            )
            groups = batch.finish(groups)
        groups = whole(self.world.gather(groups))
        self._cost.add("greedy", [group.rollouts[0] for group in groups])
        return np.array([float(group.rewards_G[0]) for group in groups])

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
        with self.sampler() as sampler, self._scores(at, [samples] * len(own)) as batch:
            found: dict[int, Rollout] = {}
            for rollout in sampler.generate(requests):
                place = rollout.sample
                found[place] = counted(rollout, before=own[place // samples][1])
                batch.add(place, found[place])
            rollouts = [found[place] for place in sorted(found)]
            groups = [
                Group(problem=rollout.problem, rollouts=tuple(rollouts[number * samples : (number + 1) * samples]))
                for number, (rollout, _) in enumerate(own)
            ]
            groups = batch.finish(groups)
        groups = whole(self.world.gather(groups))
        self._cost.add("continuations", [rollout for group in groups for rollout in group.rollouts])
        return [group.rewards_G for group in groups]

    def take_metrics(self) -> dict[str, float]:
        """What sampling and scoring measured since the last call."""
        scoring = self._scoring.metrics(self.world) if self.job.stage.stage.rewards else {}
        taken = {**self._metrics, **self._cost.take(), **scoring}
        self._metrics = {}
        return taken

    def settle(self) -> None:
        """Let a batch that is sampled ahead be done, on every rank: servers that all ask get new weights only then."""
        if self.job.stage.stage.sampling.ahead:
            self.ahead.settle()
            meet(self.world)

    def _synced(self) -> Sampler:
        self.settle()
        if self._sampler is None:
            self._sampler = self.job.sampler(self.policy)
        else:
            self._sampler.sync(self.policy)
        return self._sampler

    def _sampled(
        self,
        sampler: Sampler,
        at: At,
        problems: Sequence[Problem],
        own: Sequence[int],
        *,
        samples: int,
        first: int,
        arrived: Arrived,
    ) -> list[Group]:
        """This rank's rollouts, as the stage samples them."""
        sampling = self.job.stage.stage.sampling

        def key(i: int, sample: int) -> int:
            return self.job.key("rollout", at.step, first + own[i], sample)

        return sample_groups(
            sampler,
            self.policy,
            [problems[i] for i in own],
            samples=samples,
            max_new_tokens=sampling.max_new_tokens.at(at.position, at.length),
            temperature=sampling.temperature.at(at.position, at.length),
            top_p=sampling.top_p,
            key=key,
            arrived=arrived,
        )

    def _scores(self, at: At, sizes: Sequence[int]) -> Batch | Unscored:
        """Where answers are handed over as they come, to be scored where the stage has rewards."""
        if not self.job.stage.stage.rewards:
            return Unscored()
        return self._scoring.batch(sizes, step=at.position, total=at.length)

    # --- whose weights are they? -----------------------------------------------------------------

    @staticmethod
    def _telling(groups: Sequence[Group]) -> list[Rollout]:
        """Some of the answers that say what the sampler thinks of them, of different problems where there are; none
        where they were not drawn as the policy would."""
        told = [r for group in groups for r in group.rollouts if r.logprobs is not None and len(r.completion_ids)]
        return told[:: max(1, len(told) // PROBE)][:PROBE]

    def _probes(self, at: At, problems: Sequence[Problem]) -> list[SampleRequest]:
        sampling = self.job.stage.stage.sampling
        return [
            SampleRequest(
                problem=problem,
                prompt_ids=self.policy.prompt_ids(problem.messages),
                keys=(self.job.key("probe", at.step, number),),
                samples=(number,),
                max_new_tokens=min(PROBE_TOKENS, sampling.max_new_tokens.at(at.position, at.length)),
                temperature=1.0,
                top_p=1.0,
            )
            for number, problem in enumerate(problems[:PROBE])
        ]

    def _probe(self, rollouts: Sequence[Rollout]) -> None:
        """Do sampler and policy have the same weights, on every rank? Silent disagreement trains on the wrong
        gradient."""
        told = [rollout for rollout in rollouts if rollout.logprobs is not None and len(rollout.completion_ids)]
        probed = self.world.gather(told)
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
