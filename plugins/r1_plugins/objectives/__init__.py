"""Policy objectives beside PPO's clip: each a file with its formula and its source, swapped in one line of a recipe.

    train: {use: rl, preset: grpo, objective: gspo}

Notation: rho_t = pi(y_t) / pi_old(y_t), A_t the advantage, T the tokens of an answer, sg() no gradient.
Aggregation, KL, entropy and importance weights are the trainer's keys.
"""

from __future__ import annotations

from r1_plugins.objectives.cispo import Cispo
from r1_plugins.objectives.gmpo import Gmpo
from r1_plugins.objectives.gspo import Gspo
from r1_plugins.objectives.policy_gradient import PolicyGradient
from r1_plugins.objectives.sapo import Sapo
from r1core.components import Objective
from r1core.hookspecs import hookimpl

__all__ = ["Cispo", "Gmpo", "Gspo", "PolicyGradient", "Sapo", "r1_objectives"]


@hookimpl
def r1_objectives() -> list[type[Objective]]:
    """Those of this folder."""
    return [Cispo, Gmpo, Gspo, PolicyGradient, Sapo]
