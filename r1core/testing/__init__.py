"""What plugin authors inherit to test their components: one suite for each kind, collected by pytest.

    from r1core.testing import RewardSuite

    class TestSmiles(RewardSuite):
        component = "chem/smiles"      # as a recipe says it
        cases = "cases.jsonl"          # beside the component's code

The built-in components pass the same suites. The engine `echo` (policy, sampler and source) runs whole
recipes in seconds without torch. Suites are imported when first named, so that only they need pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1core.testing.advantages import AdvantageSuite
    from r1core.testing.filters import FilterSuite
    from r1core.testing.objectives import ObjectiveSuite
    from r1core.testing.policies import PolicySuite
    from r1core.testing.remote_samplers import RemoteSamplerSuite
    from r1core.testing.rewards import RewardSuite
    from r1core.testing.samplers import SamplerSuite
    from r1core.testing.sources import SourceSuite
    from r1core.testing.teachers import TeacherSuite
    from r1core.testing.trainers import TrainerSuite

_WHERE = {
    "AdvantageSuite": "r1core.testing.advantages",
    "FilterSuite": "r1core.testing.filters",
    "ObjectiveSuite": "r1core.testing.objectives",
    "PolicySuite": "r1core.testing.policies",
    "RemoteSamplerSuite": "r1core.testing.remote_samplers",
    "RewardSuite": "r1core.testing.rewards",
    "SamplerSuite": "r1core.testing.samplers",
    "SourceSuite": "r1core.testing.sources",
    "TeacherSuite": "r1core.testing.teachers",
    "TrainerSuite": "r1core.testing.trainers",
}

__all__ = [
    "AdvantageSuite",
    "FilterSuite",
    "ObjectiveSuite",
    "PolicySuite",
    "RemoteSamplerSuite",
    "RewardSuite",
    "SamplerSuite",
    "SourceSuite",
    "TeacherSuite",
    "TrainerSuite",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'r1core.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
