"""From a rollout batch to what is learned from: log-probs, what the estimator needs and nothing else, advantages.

The order matters: penalties for leaving the reference policy are part of the rewards, so log-probs come before
the estimator; a group without a baseline is left out before anything is computed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r1core.components import AdvantageEstimator, Policy
from r1core.contexts import TrainContext
from r1core.types import At, Group, TrainSequence

from .critic import Critic
from .greedy import with_greedy
from .logprobs import weighed, with_logprobs
from .signals import Evidence, estimated, sequences, signals
from .values import valued

if TYPE_CHECKING:
    from .config import RlConfig


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """The groups that are learned from, a sequence of each of their answers, and what was measured on the way."""

    groups: list[Group]
    sequences: list[TrainSequence]
    metrics: dict[str, float]


class Estimation:
    """One stage's estimator, with those who provide what it needs."""

    def __init__(self, context: TrainContext, config: RlConfig) -> None:
        self._context = context
        self._config = config
        self.estimator: AdvantageEstimator = context.build(config.advantage, "advantage")
        self.critic = Critic(context, config.critic) if "critic" in self.estimator.needs else None

    def __call__(self, at: At, groups: Sequence[Group], reference: Policy | None) -> Estimated:
        """The batch of `groups` with its advantages."""
        c, context, needs = self._config, self._context, self.estimator.needs
        kept, greedy = with_greedy(context, at, groups, self.estimator)
        batch = with_logprobs(sequences(kept), context.policy, reference, whose=c.old_logprobs)
        evidence = Evidence(
            states=valued(context, at, kept, c.states) if "values" in needs else None,
            greedy=greedy,
            critic=self.critic.values(batch) if self.critic is not None else None,
            penalties=c.kl.penalties(batch) if c.kl.in_reward else None,
        )
        shown = signals(kept, evidence)
        batch = estimated(batch, shown, self.estimator)
        if self.critic is not None:
            batch = self.critic.taught(batch, shown, self.estimator)
        batch, metrics = weighed(batch, c)
        return Estimated(groups=kept, sequences=batch, metrics=metrics)
