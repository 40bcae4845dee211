"""What sampling costs a training step: tokens of rollouts, and what is sampled beside these, with its share of all.

    rollouts/tokens; continuations/answers, continuations/tokens, continuations/token_share

An estimator that has values sampled, or greedy answers, is compared with others at equal cost or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1core.types import Rollout

ROLLOUTS = "rollouts"


class Cost:
    """Counts by purpose, from one `take` to the next."""

    def __init__(self) -> None:
        self._answers: dict[str, int] = {}
        self._tokens: dict[str, int] = {}

    def add(self, purpose: str, rollouts: Sequence[Rollout]) -> None:
        """These were sampled for this purpose."""
        self._answers[purpose] = self._answers.get(purpose, 0) + len(rollouts)
        tokens = sum(len(rollout.completion_ids) for rollout in rollouts)
        self._tokens[purpose] = self._tokens.get(purpose, 0) + tokens

    def take(self) -> dict[str, float]:
        """The metrics of every purpose; of the rollouts the tokens alone, for the trainer knows the rest."""
        total = max(sum(self._tokens.values()), 1)
        metrics = {f"{name}/tokens": float(self._tokens[name]) for name in {ROLLOUTS} & self._tokens.keys()}
        for purpose in sorted(self._answers.keys() - {ROLLOUTS}):
            metrics[f"{purpose}/answers"] = float(self._answers[purpose])
            metrics[f"{purpose}/tokens"] = float(self._tokens[purpose])
            metrics[f"{purpose}/token_share"] = self._tokens[purpose] / total
        self._answers, self._tokens = {}, {}
        return metrics
