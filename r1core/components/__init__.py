"""The contracts: what a policy, sampler, reward, estimator, objective, filter, trainer or source is.

A component is a class with a `name`, a nested pydantic `Config` and few methods. The core builds it
from (name, config) in every process that needs it, never from a pickle. Modules that define
components must import without torch: heavy imports belong inside methods.

    class Exact(Reward):
        '''1 when the answer is the reference, else 0.'''
        name = "exact"
        class Config(Reward.Config):
            case: bool = Field(True, description="whether case matters")
        def score(self, problem, response):
            return Score(value=float(response.answer == problem.reference))
"""

from __future__ import annotations

from collections.abc import Mapping

from r1core.components.base import NAME, Component
from r1core.components.engines import Loss, Policy, Sampler
from r1core.components.judging import AdvantageEstimator, DataFilter, Objective, Reward
from r1core.components.sources import ProblemSource
from r1core.components.training import Trainer
from r1core.types import Head

__all__ = [
    "CONTRACTS",
    "NAME",
    "AdvantageEstimator",
    "Component",
    "DataFilter",
    "Head",
    "Loss",
    "Objective",
    "Policy",
    "ProblemSource",
    "Reward",
    "Sampler",
    "Trainer",
]

CONTRACTS: Mapping[str, type[Component]] = {
    contract.kind: contract
    for contract in (Policy, Sampler, Reward, AdvantageEstimator, Objective, DataFilter, Trainer, ProblemSource)
}
