"""A vLLM sampler whose weights do not arrive: what the probe is there for."""

from __future__ import annotations

from r1_plugins.vllm import VllmSampler
from r1_plugins.vllm._engine import Engine
from r1core.components import Policy


class Forgetful(VllmSampler):
    """Starts its engine, and leaves it with the weights that it began with."""

    name = "forgetful"

    def sync(self, policy: Policy) -> None:
        if self._engine is None:
            self._engine = Engine.started(self.config, policy)
        for _ in policy.weights():
            pass
        self.policy = policy
        self.weights_version += 1
