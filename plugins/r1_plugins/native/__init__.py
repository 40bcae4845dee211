"""`native`: samples with the policy's own module, in the same process, without a copy of the weights.

For tiny and middle-sized models that fit beside their optimizer on one device. The plan refuses it where a policy that
spreads its weights over ranks (ZeRO 3) trains: those need a sampler with weights of its own. Prompts are computed once
for all their samples; see `r1core.nn.decode`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

from pydantic import Field

from r1core.components import Policy, Sampler
from r1core.errors import SetupError
from r1core.estimates import Load, Memory, ModelShape, Range
from r1core.estimates.arithmetic import cache_bytes
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Rollout, SampleRequest

DISTRIBUTIONS = 3
"""Arrays of a number for each row and token of the vocabulary that a draw needs: logits, chances, their sums."""


class NativeSampler(Sampler):
    """Continuous batching on the policy's Hugging Face module."""

    name = "native"
    extra = "train"
    shares_module = True

    class Config(Sampler.Config):
        """How much is decoded at a time."""

        max_rows: int = Field(256, ge=1, description="samples decoded at the same time")
        compact_at: float = Field(
            0.25, gt=0, le=1, description="share of finished rows at which they leave the batch and new ones come in"
        )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.policy: Policy | None = None
        self.weights_version = 0

    @classmethod
    def check(cls) -> list[str]:
        """Whether torch is installed."""
        absent = importlib.util.find_spec("torch") is None
        return ["torch not installed: pip install 'r1core[train]'"] if absent else []

    def memory(self, shape: ModelShape, load: Load, *, policy: Policy) -> Memory:
        """Keys and values of all rows, and their next-token distributions; the weights are the policy's own."""
        half = isinstance(policy, HuggingFacePolicy) and policy.config.dtype == "bfloat16"
        rows = min(self.config.max_rows, load.samples)
        a_token = cache_bytes(shape, number_bytes=2 if half else 4)
        # A buffer that is full is copied into a larger one, a layer at a time.
        return Memory(
            cache=load.length * (rows * a_token * (1 + 1 / shape.layers)),
            logits=Range.exactly(DISTRIBUTIONS * 4 * rows * shape.vocabulary),
        )

    def sync(self, policy: Policy) -> None:
        """Share the policy's module. Its weights change in place, so this only counts."""
        from r1core.nn.forward import unsupported_layers

        reason = unsupported_layers(policy.module())
        if reason:
            raise SetupError(
                f"this model cannot be decoded: {reason}", where="sampler native", fix="choose another sampler"
            )
        self.policy = policy
        self.weights_version += 1

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Yield rollouts as they finish."""
        from r1core.nn.decode import Decoder, end_token_ids

        if self.policy is None:
            raise SetupError("it has no weights yet", where="sampler native", fix="call sync(policy) first")
        module = self.policy.module()
        decoder = Decoder(
            module,
            ends=end_token_ids(module),
            max_rows=self.config.max_rows,
            compact_at=self.config.compact_at,
        )
        starts = [self.start_of(self.policy, request) for request in requests]
        for decoded in decoder.decode(requests):
            yield self.rollout_of(
                self.policy,
                requests[decoded.request],
                decoded.sample,
                start=starts[decoded.request],
                ids=decoded.ids,
                logprobs=decoded.logprobs,
                finish=decoded.finish,
                weights_version=self.weights_version,
            )


@hookimpl
def r1_samplers() -> list[type[Sampler]]:
    """The native sampler."""
    return [NativeSampler]
