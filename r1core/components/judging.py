"""What an answer is worth, and what is made of that: reward, advantage estimator, objective, data filter."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from r1core.components.base import Component
from r1core.types import Floats, Group, GroupSignals, Problem, Response, Score, Sentinel, Verdict

if TYPE_CHECKING:
    import torch

    from r1core.contexts import RewardContext
    from r1core.nn import TokenView


class Reward(Component):
    """Scores one answer. Runs in a killable worker process (`runs = "worker"`): time-outs, crashes are the core's."""

    kind = "reward"
    timeout_s: ClassVar[float] = 3.0
    lowest: ClassVar[float] = 0.0
    """What an answer that broke the check is worth."""
    sees: ClassVar[Literal["response", "answer"]] = "response"
    """What it is shown. A `Config` with an option `sees` lets the recipe choose."""
    runs: ClassVar[Literal["worker", "stage"]] = "worker"
    remote: ClassVar[bool] = False
    memory_mib: ClassVar[int] = 2048
    """Most address space of a worker that it runs in, MiB."""
    totals: ClassVar[frozenset[str]] = frozenset()
    """Keys of its `metrics` that several ranks add up; of others the mean is taken."""
    judges_form: ClassVar[bool] = False
    """Whether it judges how an answer is written, its tags: unknown, in an evaluation, of an answer that an endpoint
    sends apart from its thinking."""
    gold_form: ClassVar[str] = ""
    """What a problem's reference looks like, for whoever writes the data; `r1 explain` shows it."""

    @abc.abstractmethod
    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict on one answer."""

    def score_all(self, asked: Sequence[tuple[Problem, Response]]) -> list[Score]:
        """The verdicts on many answers, in order. What runs in the stage (`runs = "stage"`) is asked so, for whole
        groups, and may judge those together; a `remote` one in a thread, for those that are complete while others are
        still sampled: how many groups come at once is not promised."""
        return [self.score(problem, response) for problem, response in asked]

    def refuses(self, problem: Problem) -> str:
        """Why nothing can be said of answers to this problem (a gold that it cannot read), "" where it can. Asked, in
        a worker, of a data set's problems before any compute; what refuses one then is said with its row."""
        return ""

    def sentinels(self) -> Sequence[Sentinel]:
        """Answers whose worth is known, one right and one wrong at least. Workers are asked about them at their start
        and every so often; another value means that the grader is broken or forged, and stops the run."""
        return ()

    def prepare(self, context: RewardContext) -> None:
        """Once, before the stage's first answer, where it runs in the stage: check what it depends on, open its record.
        Raises RefusedError when it must not be trusted."""

    def metrics(self) -> dict[str, float]:
        """What it measured since it was asked last, where it runs in the stage; logged as `verifier/<reward>/<key>`."""
        return {}


class AdvantageEstimator(Component):
    """A pure function of one group, or, with `scope = "batch"`, of all groups of a rollout batch."""

    kind = "advantage"
    scope: ClassVar[Literal["group", "batch"]] = "group"
    needs: ClassVar[frozenset[str]] = frozenset({"rewards"})
    """Of "rewards", "components", "values", "greedy", "critic": made only where needed; others the plan refuses."""

    @abc.abstractmethod
    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        """For each group (one, unless the scope is "batch") and each sample a (1,) or (T,) array."""

    def returns(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        """What the critic that it needs should have said, (T,) for each sample: by default the reward still to come."""
        return [[rewards_T[::-1].cumsum()[::-1] for rewards_T in group.token_rewards_GT()] for group in groups]


class Objective(Component):
    """The per-token policy loss, before aggregation. Aggregation, clipping and KL are separate keys of the trainer."""

    kind = "objective"
    reads: ClassVar[frozenset[str]] = frozenset({"logprob"})

    @abc.abstractmethod
    def __call__(self, view: TokenView) -> torch.Tensor:
        """The loss of each counted token, (N,). Columns: `advantage`, `old_logprob`, `weight`."""


class DataFilter(Component):
    """Verdicts over the rollouts of a group, the same online and offline. Sees what earlier filters kept.

    A reason is a word, and what is told of one answer alone stands behind it: "duplicate (of p7.0)". Reasons are
    counted without that.
    """

    kind = "filter"

    @property
    def needs(self) -> frozenset[str]:
        """Of "scores": what it reads of a group beside the answers; the plan refuses what nobody provides."""
        return frozenset()

    @abc.abstractmethod
    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout, in order."""

    def learned(self) -> bytes:
        """What it has come to remember since it was asked last, for a memory that grows with the data: a sample stage
        keeps each piece beside its unit, once, and a new process gives them all back (`relearn`). What is small
        belongs into `state`. A train stage has no such units: the plan refuses a filter that overrides this there."""
        return b""

    def relearn(self, piece: bytes) -> None:
        """Remember a piece again; they come in the order in which they were given out, before the first group."""
