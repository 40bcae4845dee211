"""The arithmetic of memory against what it speaks of: what autograd keeps, what models and caches hold."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import write_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from r1_plugins.deepspeed import DeepSpeedPolicy
from r1_plugins.native import NativeSampler
from r1_plugins.playground.sources import PlaygroundCorpus
from r1_plugins.transformers import TransformersPolicy
from r1core.estimates import Load, Memory, ModelShape, Range, shape_of
from r1core.estimates import arithmetic as a
from r1core.estimates.folders import shape_in
from r1core.nn import add_adapters, checkpoint_gradients, head, load_tokenizer, recomputing, tokens, trained
from r1core.nn.heap import FREE_BYTES
from r1core.nn.kv import KVCache

ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 300,
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}
ROWS, LONG = 3, 64


def model(kind: str = "llama", dtype: torch.dtype = torch.float32, **changed: Any) -> Any:
    config = AutoConfig.for_model(kind, **{**ARCHITECTURE, **changed})
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def shape(**changed: Any) -> ModelShape:
    found = shape_of({**ARCHITECTURE, **changed})
    assert isinstance(found, ModelShape)
    return found


def saved_bytes(module: Any, *, cast: bool = False) -> float:
    """Bytes a token that autograd keeps of one forward of the body, weights and their casts left out."""
    ids = torch.randint(0, 100, (ROWS, LONG))
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    sizes = {tuple(parameter.shape) for parameter in module.parameters() if parameter.dim() == 2}
    sizes |= {size[::-1] for size in sizes}
    seen: dict[int, int] = {}
    kept = []  # so that no storage is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tuple(tensor.shape) not in sizes:
            seen[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    casting = torch.autocast("cpu", dtype=torch.bfloat16) if cast else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), casting:
        module.base_model(input_ids=ids, use_cache=False)
    return sum(seen.values()) / (ROWS * LONG)


@pytest.mark.parametrize(
    ("form", "dtype", "cast"),
    [(a.FLOAT32, torch.float32, False), (a.HALF, torch.bfloat16, False), (a.CAST, torch.float32, True)],
    ids=["float32", "bfloat16 weights", "cast to bfloat16"],
)
def test_activations_are_what_autograd_keeps(form: a.Format, dtype: torch.dtype, cast: bool) -> None:
    expected = a.activations(shape(), Range.exactly(1), form=form, recomputed=False).expected
    assert expected == pytest.approx(saved_bytes(model(dtype=dtype), cast=cast), rel=0.03)


@pytest.mark.parametrize(("kind", "rel"), [("qwen2", 0.03), ("qwen3", 0.03), ("mistral", 0.03)])
def test_a_folder_tells_weights_and_norms_that_its_config_does_not(kind: str, rel: float, tmp_path: Path) -> None:
    module = model(kind)
    module.save_pretrained(tmp_path)
    found = shape_in(tmp_path)
    assert isinstance(found, ModelShape)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    expected = a.activations(found, Range.exactly(1), form=a.FLOAT32, recomputed=False).expected
    assert expected == pytest.approx(saved_bytes(module), rel=rel)


def test_checkpointed_activations_are_the_layers_inputs_and_one_layer() -> None:
    module = model(num_hidden_layers=8)
    checkpoint_gradients(module)
    with recomputing(module):
        inputs = saved_bytes(module)
    several = a.activations(shape(num_hidden_layers=8), Range.exactly(1), form=a.FLOAT32, recomputed=True).expected
    whole = a.activations(shape(num_hidden_layers=8), Range.exactly(1), form=a.FLOAT32, recomputed=False).expected
    assert several - whole / 8 == pytest.approx(inputs, rel=0.3)
    assert several < whole / 3


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_counted_as_the_model_has_them(tied: bool) -> None:
    module = model(tie_word_embeddings=tied)
    assert shape(tie_word_embeddings=tied).parameters == sum(p.numel() for p in module.parameters())


def test_adapters_are_counted_as_they_are_added() -> None:
    for targets in ((), ("q_proj", "up_proj")):
        module = model()
        module.requires_grad_(False)
        add_adapters(module, rank=4, alpha=8.0, targets=targets)
        learning = sum(parameter.numel() for parameter in trained(module).values())
        assert a.adapter_weights(shape(), rank=4, targets=targets) == learning


def test_logits_are_bounded_where_the_policies_bound_them() -> None:
    assert (a.WHOLE_LOGITS, a.TILE_LOGITS) == (tokens.WHOLE_LOGITS, head.TILE_LOGITS)

    def held(vocabulary: int, *, on_gpu: bool = False) -> Range:
        return a.logits(shape(vocab_size=vocabulary), Range.exactly(100), trained=True, scores=False, on_gpu=on_gpu)

    assert held(1000) == Range.exactly(a.COPIES * 4 * 100 * 1000)
    assert held(10**6) == Range.exactly(a.COPIES * 4 * a.TILE_LOGITS["cpu"])
    assert held(10**6, on_gpu=True) == Range.exactly(a.COPIES * 4 * a.TILE_LOGITS["cuda"])


def test_a_cache_is_as_large_as_its_buffers() -> None:
    cache = KVCache(ARCHITECTURE["num_hidden_layers"])
    module = model()
    with torch.no_grad():
        module(input_ids=torch.zeros((2, 10), dtype=torch.long), past_key_values=cache, use_cache=True)
    held = sum(buffer.nbytes for layer in cache.own for buffer in layer.buffers)
    assert a.cache_bytes(shape(), number_bytes=4) * 20 == held


def test_the_tiny_worlds_source_knows_its_vocabulary(tmp_path: Path) -> None:
    source = PlaygroundCorpus(PlaygroundCorpus.Config())
    source.write_tokenizer(tmp_path)
    assert source.vocabulary == len(load_tokenizer(tmp_path))


def test_what_is_too_little_to_be_given_back_is_counted() -> None:
    kept = Range.exactly(100.0)
    on_cpu, on_gpu = a.holes(kept, on_gpu=False), a.holes(kept, on_gpu=True)
    assert on_cpu.high - on_gpu.high == FREE_BYTES
    assert on_gpu == a.UNUSED * 100


# --- what engines tell ------------------------------------------------------------------------------

LENGTH = Range.exactly(128)
TRAINING = Load(length=LENGTH, update_tokens=Range.exactly(4096), samples=64, trained=True)


def told(policy: TransformersPolicy | DeepSpeedPolicy, load: Load = TRAINING) -> Memory:
    return policy.memory(shape(), load)


def plain(**options: Any) -> TransformersPolicy:
    return TransformersPolicy(TransformersPolicy.Config(**options))


def zero(**options: Any) -> DeepSpeedPolicy:
    return DeepSpeedPolicy(DeepSpeedPolicy.Config(**options))


def test_a_policy_holds_weights_gradients_and_two_moments_in_float32() -> None:
    count, memory = shape().parameters, told(plain())
    assert memory.stays == Range.exactly(16 * count)
    frozen = told(plain(), Load(length=LENGTH))
    assert (frozen.stays, frozen.optimizer.high) == (Range.exactly(4 * count), 0)
    assert told(plain(dtype="bfloat16"), Load(length=LENGTH)).weights == Range.exactly(2 * count)


def test_the_tensors_of_a_policy_after_an_update_are_what_it_told(tmp_path: Path) -> None:
    """Against the thing itself: all that a trained policy holds between steps."""
    from r1core.losses import CrossEntropy
    from r1core.types import TrainSequence

    write_tokenizer(tmp_path)
    policy = plain(device="cpu")
    policy.create(tmp_path, {"model_type": "llama", **ARCHITECTURE, "vocab_size": 1000}, seed=0)
    policy.open(tmp_path, trainable=True)
    weight = {"weight": np.full(8, 0.1)}
    policy.update([TrainSequence(ids=np.arange(8), start=0, columns=weight)], CrossEntropy(), lr=1e-3)
    parameters = list(policy.module().parameters())
    state = policy._opened_engine.optimizer.state  # type: ignore[attr-defined]
    moments = [state[parameter][name] for parameter in parameters for name in ("exp_avg", "exp_avg_sq")]
    held = sum(t.nbytes for t in [*parameters, *(p.grad for p in parameters), *moments])
    assert policy.memory(shape(vocab_size=1000), TRAINING).stays.expected == held


def test_the_optimizer_is_spread_over_ranks_and_weights_too_at_stage_3() -> None:
    count = shape().parameters
    one, four = told(zero(stage=2)), told(zero(stage=2, ranks=4))
    assert (one.optimizer.expected, four.optimizer.expected) == (12 * count, 3 * count)
    assert one.weights == four.weights
    assert told(zero(stage=3, ranks=4)).weights.expected == count
    assert told(zero(stage=3, ranks=4, dtype="bfloat16")).weights.expected == count / 2


def test_what_is_offloaded_lies_in_the_hosts_memory() -> None:
    assert told(zero(stage=2)).host.high == 0
    offloaded = told(zero(stage=3, ranks=2, offload="weights"))
    assert offloaded.host == offloaded.weights + offloaded.optimizer


def test_a_micro_batch_is_no_larger_than_the_step() -> None:
    few = Load(length=LENGTH, update_tokens=Range.exactly(256), trained=True)
    assert told(plain(), few).activations.expected == pytest.approx(told(plain()).activations.expected / 16)
    small = told(plain(micro_batch_tokens=256))
    assert small.activations == told(plain(), few).activations


def test_adapters_leave_the_weights_alone() -> None:
    count, memory = shape().parameters, told(plain(lora={"rank": 4}))
    learning = a.adapter_weights(shape(), rank=4, targets=())
    assert memory.weights.expected == 4 * (count + learning)
    assert memory.gradients.expected == 4 * learning
    assert memory.optimizer.expected == 8 * learning


def test_a_sampler_keeps_rows_that_it_decodes_at_a_time() -> None:
    def cache(rows: int, policy: TransformersPolicy) -> float:
        sampler = NativeSampler(NativeSampler.Config(max_rows=rows))
        return sampler.memory(shape(), TRAINING, policy=policy).cache.expected

    assert cache(32, plain()) * 2 == cache(64, plain()) == cache(1000, plain())
    assert cache(32, plain(dtype="bfloat16")) * 2 == cache(32, plain())
