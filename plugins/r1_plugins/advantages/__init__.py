"""Advantage estimators beside GRPO: each a file with its formula and its source, swapped in one line of a recipe.

    train: {use: rl, preset: grpo, advantage: rloo}

Notation: group g of G answers to one problem, r_i the reward of answer i, T_i its tokens; mean_g and
std_g over the group (divisor G - 1). What a group of one is worth is said in each file. A group without
answers never comes: the trainer leaves it out.
"""

from __future__ import annotations

from r1_plugins.advantages.dr_grpo import DrGrpo
from r1_plugins.advantages.gae import Gae
from r1_plugins.advantages.gdpo import Gdpo
from r1_plugins.advantages.gpg import Gpg
from r1_plugins.advantages.maxrl import MaxRl
from r1_plugins.advantages.opo import Opo
from r1_plugins.advantages.pass_at_k import PassAtK
from r1_plugins.advantages.reinforce_pp import ReinforcePp, ReinforcePpBaseline
from r1_plugins.advantages.remax import Remax
from r1_plugins.advantages.rloo import Rloo
from r1core.components import AdvantageEstimator
from r1core.hookspecs import hookimpl

__all__ = [
    "DrGrpo",
    "Gae",
    "Gdpo",
    "Gpg",
    "MaxRl",
    "Opo",
    "PassAtK",
    "ReinforcePp",
    "ReinforcePpBaseline",
    "Remax",
    "Rloo",
    "r1_advantages",
]


@hookimpl
def r1_advantages() -> list[type[AdvantageEstimator]]:
    """Those of this folder."""
    return [DrGrpo, Gae, Gdpo, Gpg, MaxRl, Opo, PassAtK, ReinforcePp, ReinforcePpBaseline, Remax, Rloo]
