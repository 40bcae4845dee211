"""vLLM's engine inside this process: started with the policy's architecture, filled from memory, stepped by hand.

It starts with made-up weights, so that no weights are ever written to a file, and gets the real ones like any later
ones, through vLLM's own reloading. What it keeps of old weights is dropped: packed copies, and the cache of prefixes.
"""

from __future__ import annotations

import itertools
import tempfile
import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from r1_plugins.vllm import CPU_CACHE_MIB, unfit_for_cpu
from r1_plugins.vllm._surroundings import join, kept
from r1core.components import Policy
from r1core.errors import SetupError
from r1core.nn import Decoded
from r1core.types import SampleRequest

if TYPE_CHECKING:
    from r1_plugins.vllm import VllmSampler

WHERE = "sampler vllm"
MIB = 2**20
DISCARD = 2
"""vLLM's sleep level: the weights are not kept, since the next ones come before it samples again."""


class Engine:
    """A running engine of one model."""

    def __init__(self, engine: Any, *, can_sleep: bool) -> None:
        self.engine = engine
        # vLLM compiles small functions even then, which takes a compiler and, the first time, half a minute
        self._stance = "force_eager" if engine.model_config.enforce_eager else "default"
        self._can_sleep = can_sleep
        self._is_asleep = False
        self._names = map(str, itertools.count())
        engine.engine_core._finalizer.detach()  # it would take down the process group, which is the policy's, too
        weakref.finalize(self, _stop, engine.engine_core.engine_core)

    @classmethod
    def started(cls, config: VllmSampler.Config, policy: Policy) -> Self:
        """An engine for the policy's model; its weights are still to come."""
        with kept(), tempfile.TemporaryDirectory() as folder:
            from vllm.engine.arg_utils import EngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.llm_engine import LLMEngine

            policy.module().config.save_pretrained(folder)
            is_cpu = current_platform.is_cpu()
            can_sleep = config.sleep and not is_cpu
            try:
                arguments = EngineArgs(
                    folder,
                    load_format="dummy",
                    skip_tokenizer_init=True,
                    enable_sleep_mode=can_sleep,
                    disable_log_stats=True,
                    logprobs_mode="processed_logprobs",  # of the distribution drawn from, as the contract says
                    **_options(config, policy, is_cpu=is_cpu),
                    **join(policy.world.size),
                )
                model = arguments.create_model_config()
                if is_cpu and (reason := unfit_for_cpu(model.get_head_size())):
                    raise ValueError(reason)
                return cls(LLMEngine.from_engine_args(arguments), can_sleep=can_sleep)
            except (ValueError, NotImplementedError, torch.OutOfMemoryError) as error:
                raise _refusal(error) from error

    # --- weights -------------------------------------------------------------------------------------

    def load(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Take new weights, to the last. vLLM holds those of a layer until it has them all, and the policy may write
        into them before: each is copied."""
        self._wake("weights")
        copies = ((name, weight.detach().clone()) for name, weight in weights)
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": copies})
        self.engine.collective_rpc(repack)
        self._wake("kv_cache")
        self._is_asleep = False
        if not self.engine.reset_prefix_cache():
            raise SetupError(
                "its cache still holds answers of the old weights",
                where=WHERE,
                fix="take all that `generate` yields, or close it, before the next `sync`",
            )

    def sleep(self) -> None:
        """Free the GPU's memory, where it may."""
        if self._can_sleep and not self._is_asleep:
            self.engine.sleep(level=DISCARD)
            self._is_asleep = True

    def _wake(self, what: str) -> None:
        if self._is_asleep:
            self.engine.wake_up([what])

    # --- sampling ------------------------------------------------------------------------------------

    def sample(self, requests: Sequence[SampleRequest], *, ends: Collection[int]) -> Iterator[Decoded]:
        """Every sample of every request once, as they finish."""
        waiting = dict(self._ask(requests, ends=ends))
        try:
            while waiting:
                if not self.engine.has_unfinished_requests():
                    raise RuntimeError(f"vLLM lost {len(waiting)} answers")
                for output in self._step():
                    if output.finished:
                        yield _decoded(output.outputs[0], *waiting.pop(output.request_id), ends=ends)
        finally:
            if waiting:
                self.engine.abort_request(list(waiting))

    def _step(self) -> Sequence[Any]:
        with torch.compiler.set_stance(self._stance):
            done: Sequence[Any] = self.engine.step()
        return done

    def _ask(
        self, requests: Sequence[SampleRequest], *, ends: Collection[int]
    ) -> Iterator[tuple[str, tuple[int, int]]]:
        """Hand over each sample as a request of its own, with its own seed: (its name, its place)."""
        contexts = [_context(request) for request in requests]
        for request, context in zip(requests, contexts, strict=True):
            self._refuse_long(request, context)
        for number, (request, context) in enumerate(zip(requests, contexts, strict=True)):
            for sample, key in enumerate(request.keys):
                name = next(self._names)
                self.engine.add_request(name, {"prompt_token_ids": context}, _parameters(request, key, ends))
                yield name, (number, sample)

    def _refuse_long(self, request: SampleRequest, context: Sequence[int]) -> None:
        most = self.engine.model_config.max_model_len
        if len(context) + request.max_new_tokens > most:
            raise SetupError(
                f"a prompt of {len(context)} tokens and an answer of up to {request.max_new_tokens} do not fit into "
                f"{most} tokens, which its model and cache allow (problem {request.problem.id!r})",
                where=WHERE,
                fix="ask for shorter answers, set max_model_len, or give it more memory (kv_cache_mib)",
            )


def _context(request: SampleRequest) -> list[int]:
    """What the answer goes on from."""
    given = () if request.prefix_ids is None else request.prefix_ids.tolist()
    return [*request.prompt_ids.tolist(), *given]


def _parameters(request: SampleRequest, key: int, ends: Collection[int]) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p if request.temperature > 0 else 1.0,
        seed=key % 2**63,
        max_tokens=request.max_new_tokens,
        stop_token_ids=sorted(ends),
        ignore_eos=True,  # the ends are the policy's, given above
        detokenize=False,
        logprobs=0,  # of the token that was drawn, and of no other
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _decoded(output: Any, request: int, sample: int, *, ends: Collection[int]) -> Decoded:
    ids = np.array(output.token_ids, dtype=np.int64)
    if output.finish_reason not in ("stop", "length") or not len(ids):
        raise RuntimeError(f"vLLM ended an answer of {len(ids)} tokens with {output.finish_reason!r}")
    said = [among[int(token)].logprob for among, token in zip(output.logprobs, ids, strict=True)]
    return Decoded(
        request=request,
        sample=sample,
        ids=ids,
        logprobs=np.array(said, dtype=np.float64),
        finish="stop" if int(ids[-1]) in ends else "length",
    )


def _stop(core: Any) -> None:
    """What vLLM's own end of an engine does, but for the processes that train together, and other engines here."""
    core.structured_output_manager.clear_backend()
    core.model_executor.shutdown()
    core.scheduler.shutdown()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --- what vLLM must be told, and what it must not be trusted with -------------------------------------


def repack(worker: Any) -> None:
    """Make packed copies of weights anew. On a CPU vLLM multiplies by a copy in another layout; where it also keeps the
    plain weight, which is so for embeddings, and where the head shares it (tied), reloading leaves the old copy."""
    for layer in worker.get_model().modules():
        if getattr(layer, "cpu_linear", None) is not None and layer.weight.numel():
            layer.quant_method.process_weights_after_loading(layer)


def _options(config: VllmSampler.Config, policy: Policy, *, is_cpu: bool) -> dict[str, Any]:
    cache_mib = config.kv_cache_mib or (CPU_CACHE_MIB if is_cpu else None)
    return {
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "kv_cache_memory_bytes": None if cache_mib is None else cache_mib * MIB,
        "max_model_len": config.max_model_len or -1,
        "max_num_seqs": config.max_num_seqs,
        "enable_prefix_caching": config.prefix_caching,
        "enable_chunked_prefill": False if is_cpu else None,  # cutting a prompt rewinds its seed: not on a CPU
        "enforce_eager": config.enforce_eager or is_cpu,
        "dtype": _dtype(policy) if config.dtype == "auto" else config.dtype,
    }


def _dtype(policy: Policy) -> str:
    """The format of the policy's weights as it computes. Ranks go through them together, to the end."""
    formats = [weight.dtype for _, weight in policy.weights()]
    return str(formats[0]).removeprefix("torch.")


def _refusal(error: Exception) -> SetupError:
    """vLLM's reason, which is long, as a sentence."""
    import vllm

    found = error.errors()[0]["msg"] if hasattr(error, "errors") else str(error)
    reason = found.removeprefix("Value error, ").partition(". ")[0].partition("\n")[0]
    return SetupError(
        f"vLLM {vllm.__version__} does not start with this model and these options: {reason}",
        where=WHERE,
        fix="change its options (`r1 explain vllm`), or choose another sampler",
    )
