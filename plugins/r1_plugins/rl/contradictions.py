"""Options of `rl` that exclude each other: each alone is sound, together they train on something nobody meant.

Found with the plan, before any compute. What belongs to one key alone is checked where that key is (kl.py,
importance.py); what a component needs of the loop is the core's to check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import RlConfig

GROUP_BASELINES = frozenset(
    {"grpo", "dr_grpo", "rloo", "opo", "gpg", "pass_at_k", "maxrl", "gdpo", "reinforce_pp_baseline"}
)
"""Estimators that compare an answer with others to the same problem."""
NEVER_ALONE = frozenset({"pass_at_k", "maxrl"})
"""Those of them that nobody gives a meaning for one answer."""
BY_TOKEN = frozenset({"monte_carlo", "gae"})
"""Estimators whose advantage changes within an answer."""
BLIND_TO_PENALTIES = {
    "monte_carlo": "its values are of continuations, whose rewards have no penalty",
    "gdpo": "it reads each reward by itself, not their sum",
}


def contradictions(c: RlConfig) -> Iterator[str]:
    """What is wrong, as sentences that say what to set."""
    advantage, objective = c.advantage.use, c.objective.use
    if c.updates_per_rollout > c.prompts * c.samples:
        yield (
            f"updates_per_rollout is {c.updates_per_rollout}, of a batch of {c.prompts} x {c.samples} answers: some "
            "steps would have none; lower it, or raise prompts or samples"
        )
    if c.importance.mode != "none" and c.old_logprobs == "sampler":
        yield (
            f"importance.mode: {c.importance.mode} weighs the policy's log-probs against the sampler's, and "
            "old_logprobs: sampler takes the sampler's for both; set old_logprobs: policy"
        )
    if c.critic.warmup_steps >= c.steps:
        yield (
            f"critic.warmup_steps is {c.critic.warmup_steps}, of {c.steps} steps: the policy would never learn; lower "
            "it, or raise steps"
        )
    if c.samples == 1:
        yield from _group_of_one(c)
    if c.kl.in_reward and advantage in BLIND_TO_PENALTIES:
        yield (
            f"advantage {advantage} would not see kl.placement: reward ({BLIND_TO_PENALTIES[advantage]}); set "
            "kl.placement: loss, or choose another estimator"
        )
    if objective == "gmpo" and advantage in BY_TOKEN:
        yield (
            f"objective gmpo has one ratio and one advantage for each answer, {advantage} one for each token: what "
            "tells its tokens apart would be averaged away; choose objective ppo_clip or gspo"
        )


def _group_of_one(c: RlConfig) -> Iterator[str]:
    advantage = c.advantage.use
    if advantage in GROUP_BASELINES and c.advantage.options.get("group_of_one") != "reward":
        theirs = "" if c.numerics == "verl" or advantage in NEVER_ALONE else "; with numerics: verl one is its reward"
        yield (
            f"samples is 1, and advantage {advantage} compares an answer with others to the same problem: all would be "
            f"worth 0; raise samples, or choose an estimator without a group (reinforce_pp, remax, gae){theirs}"
        )
    if any(use.use == "zero_variance" for use in c.filters):
        yield "samples is 1, and filter zero_variance drops every group of one; raise samples, or remove the filter"
