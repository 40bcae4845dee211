"""Reward models: a stage that trains one (trainer `reward_model`) and a reward that asks it (reward `reward_model`).

    helpful_rm:
      train: {use: reward_model, objective: pairwise, sees: answer, only: {domain: general}}
      model: dev3
      data: preference_data            # scored answers, filtered by `pairs`
    r1:
      rewards: [accuracy, {use: reward_model, model: helpful_rm, for: {domain: general}, active: last 400}]

Other people's models come in by an `import` stage, with `layout`. DeepSeek-R1 has two (v2, 3.1). Helpful: pairwise,
sees the final answer; 66,000 pairs, kept where four averaged judgements with swapped order differ by more than 1.
Safe: pointwise, sees all; 106,000 prompts. Both: the policy's architecture, a scalar head, batch 256, rate 6e-6.
"""

from __future__ import annotations

from r1_plugins.reward_models.reward import RewardModel
from r1_plugins.reward_models.trainer import RewardModelTrainer
from r1core.components import Reward, Trainer
from r1core.hookspecs import hookimpl

__all__ = ["RewardModel", "RewardModelTrainer", "r1_rewards", "r1_trainers"]


@hookimpl
def r1_trainers() -> list[type[Trainer]]:
    """The trainer `reward_model`."""
    return [RewardModelTrainer]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """The reward `reward_model`."""
    return [RewardModel]
