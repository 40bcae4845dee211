"""What the sampler `vllm` promises beside its suite: the present weights, answers by key, memory, and what it refuses.

Real engines, of vLLM's CPU build. Starting one takes seconds, so tests share those that they can.
"""

from __future__ import annotations

import functools
import gc
import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from vllm_parts import LONGEST, TINY, asked, gap, model

from r1_plugins import vllm
from r1_plugins.native import NativeSampler
from r1_plugins.transformers import TransformersPolicy
from r1_plugins.vllm import CPU_HEAD_SIZES, VllmSampler, _engine
from r1_plugins.vllm._surroundings import kept
from r1core.components import Policy, Sampler
from r1core.errors import SetupError
from r1core.estimates import ModelShape, shape_of
from r1core.losses import CrossEntropy
from r1core.testing import SamplerSuite
from r1core.types import Rollout, TrainSequence

AGREE = 1e-4
"""Nats: float32 engines."""


class TestVllm(SamplerSuite):
    """The suite's samplers are one, synced with one policy after the other."""

    component = "vllm"
    options = {"kv_cache_mib": 16}  # noqa: RUF012 - as suites are written
    policy = "transformers"
    architecture = {**TINY, "model_type": "qwen2"}  # noqa: RUF012
    source = "playground_corpus"
    tolerance = 1e-5

    def synced(self, policy: Policy) -> Sampler:
        sampler = shared("suite")
        sampler.sync(policy)
        return sampler


@functools.cache
def shared(shape: str) -> VllmSampler:
    """One sampler for each shape of model."""
    return VllmSampler(VllmSampler.Config(kv_cache_mib=16))


def opened(folder: Path, **architecture: Any) -> TransformersPolicy:
    config = TransformersPolicy.Config(device="cpu")
    return TransformersPolicy(config).open(model(folder / "model", **architecture), trainable=True)


def learn(policy: Policy) -> None:
    """Change every weight visibly."""
    row = TrainSequence(ids=np.arange(8, 32), start=4, columns={"weight": np.full(20, 1 / 20)})
    for _ in range(2):
        policy.update([row], CrossEntropy(), lr=3e-2)


def sampled(sampler: Sampler, policy: Policy, **how: Any) -> list[Rollout]:
    return sorted(sampler.generate(asked(policy, **how)), key=lambda rollout: rollout.sample)


# --- weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_after_every_sync_it_samples_with_the_present_weights(kind: str, tied: bool, tmp_path: Path) -> None:
    policy = opened(tmp_path, model_type=kind, tie_word_embeddings=tied)
    sampler = shared(f"{kind} {tied}")
    found = []
    for _ in range(4):
        sampler.sync(policy)
        found.append(sampled(sampler, policy))
        assert gap(policy, found[-1]) < AGREE
        learn(policy)
        assert gap(policy, found[-1]) > 100 * AGREE, "the update changed too little to tell"


def test_packed_copies_of_old_weights_are_what_would_be_used_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's own reloading leaves a tied head as it was on a CPU; without the second packing that would show."""
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    assert gap(policy, sampled(sampler, policy)) < AGREE
    learn(policy)
    with monkeypatch.context() as without:
        without.setattr(_engine, "repack", lambda worker: None)
        sampler.sync(policy)
        assert gap(policy, sampled(sampler, policy)) > 1000 * AGREE
    sampler.sync(policy)
    assert gap(policy, sampled(sampler, policy)) < AGREE


class OneBuffer(TransformersPolicy):
    """Gives all its weights through the same memory, one after the other."""

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        whole = list(super().weights())
        buffer = torch.empty(max(weight.numel() for _, weight in whole))
        for name, weight in whole:
            part = buffer[: weight.numel()].view(weight.shape)
            part.copy_(weight)
            yield name, part
        buffer.fill_(torch.nan)


def test_weights_that_come_through_one_buffer_arrive_whole(tmp_path: Path) -> None:
    """vLLM holds a layer's parts until it has all."""
    config = TransformersPolicy.Config(device="cpu")
    policy = OneBuffer(config).open(model(tmp_path / "model"), trainable=True)
    sampler = shared("llama True")
    sampler.sync(policy)
    assert gap(policy, sampled(sampler, policy)) < AGREE


def test_what_was_computed_with_old_weights_is_not_kept(tmp_path: Path) -> None:
    """A prompt of many blocks, sampled before and after a change: the second time nothing of the first is used."""
    policy, sampler = opened(tmp_path), shared("llama True")
    prompt = policy.document_ids([" ".join(["w3", "w5", "w7"] * 60)])[0]
    long = [replace(request, prompt_ids=prompt) for request in asked(policy)]
    sampler.sync(policy)
    list(sampler.generate(long))
    learn(policy)
    sampler.sync(policy)
    assert gap(policy, list(sampler.generate(long))) < AGREE


def test_half_precision_follows_the_policys(tmp_path: Path) -> None:
    """And what becomes of this engine is nothing to the others of the process."""
    config = TransformersPolicy.Config(device="cpu", dtype="bfloat16")
    policy = TransformersPolicy(config).open(model(tmp_path / "model"), trainable=True)
    sampler = VllmSampler(VllmSampler.Config(kv_cache_mib=16))
    sampler.sync(policy)
    assert sampler._engine is not None
    assert sampler._engine.engine.model_config.dtype == torch.bfloat16
    for _ in range(2):
        assert AGREE < gap(policy, sampled(sampler, policy)) < 0.5
        learn(policy)
        sampler.sync(policy)
    ended = weakref.ref(sampler._engine.engine.model_executor.driver_worker.worker)
    del sampler
    gc.collect()
    assert ended() is None
    other, another = opened(tmp_path / "other"), shared("llama True")
    another.sync(other)
    assert gap(other, sampled(another, other)) < AGREE


# --- answers -----------------------------------------------------------------------------------------


def test_greedy_answers_are_those_of_the_native_sampler(tmp_path: Path) -> None:
    policy, sampler, native = opened(tmp_path), shared("llama True"), NativeSampler(NativeSampler.Config())
    for each in (sampler, native):
        each.sync(policy)
    ours, theirs = (sampled(each, policy, samples=1, temperature=0.0) for each in (sampler, native))
    for one, other in zip(ours, theirs, strict=True):
        assert one.completion_ids.tolist() == other.completion_ids.tolist()
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=AGREE)
        assert one.response == other.response


def test_logprobs_are_of_the_distribution_that_was_drawn_from(tmp_path: Path) -> None:
    """At another temperature and with top-p cut, as the contract says, and as the native sampler does."""
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    changed = 0
    for rollout in sampled(sampler, policy, temperature=0.7, top_p=0.8):
        ids = np.concatenate([rollout.prompt_ids, rollout.completion_ids])
        with torch.no_grad():
            logits = policy.module()(torch.tensor(ids)[None]).logits[0, len(rollout.prompt_ids) - 1 : -1]
        for token, row, told in zip(rollout.completion_ids, logits.double() / 0.7, rollout.logprobs, strict=True):
            probs, order = row.softmax(-1).sort(descending=True)
            kept = (probs.cumsum(-1) - probs) < 0.8
            place = int((order == int(token)).nonzero())
            assert kept[place], "a token that top-p cuts off was drawn"
            assert told == pytest.approx(float((probs[place] / probs[kept].sum()).log()), abs=AGREE)
            changed += bool((~kept).any())
    assert changed, "top-p cut nothing off"


def test_an_answer_keeps_its_end_token(tmp_path: Path) -> None:
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    end = int(policy.completion_ids("")[-1])
    finishes = set()
    for rollout in sampled(sampler, policy, samples=16):
        finish = rollout.response.finish
        finishes.add(finish)
        assert (int(rollout.completion_ids[-1]) == end) == (finish == "stop")
        assert end not in rollout.completion_ids[:-1]
        assert finish == "stop" or len(rollout.completion_ids) == LONGEST
    assert finishes == {"stop", "length"}, "the test asks for both ends"


def test_they_come_as_they_finish(tmp_path: Path) -> None:
    """A short answer does not wait for a long one."""
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    requests = asked(policy, count=2, samples=1)
    requests = [replace(requests[0], max_new_tokens=200), replace(requests[1], max_new_tokens=1)]
    assert next(iter(sampler.generate(requests))).problem.id == requests[1].problem.id


def test_answers_that_nobody_waits_for_are_dropped(tmp_path: Path) -> None:
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    requests = asked(policy)
    whole = {rollout.sample: rollout.completion_ids.tolist() for rollout in sampler.generate(requests)}
    running = sampler.generate(requests)
    next(running)
    with pytest.raises(SetupError, match="old weights"):
        sampler.sync(policy)
    running.close()
    sampler.sync(policy)
    assert {rollout.sample: rollout.completion_ids.tolist() for rollout in sampler.generate(requests)} == whole


def test_more_prompts_at_once_than_fit_into_a_step(tmp_path: Path) -> None:
    """One that would have to be cut in two waits instead, and its answers are those it has alone."""
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    requests = asked(policy, count=16, samples=8)
    assert sum(len(request.prompt_ids) * len(request.keys) for request in requests) > 2048
    many = {rollout.sample: rollout.completion_ids.tolist() for rollout in sampler.generate(requests)}
    for request in requests[::5]:
        for rollout in sampler.generate([request]):
            assert many[rollout.sample] == rollout.completion_ids.tolist()


# --- rest ----------------------------------------------------------------------------------------------


def test_on_a_cpu_it_stays_awake(tmp_path: Path) -> None:
    policy, sampler = opened(tmp_path), shared("llama True")
    VllmSampler(VllmSampler.Config()).rest()
    sampler.sync(policy)
    before = sampled(sampler, policy)
    sampler.rest()
    after = sampled(sampler, policy)
    assert [a.completion_ids.tolist() for a in before] == [b.completion_ids.tolist() for b in after]


def test_where_it_can_sleep_it_wakes_for_the_next_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of a GPU's calls, on an engine whose worker has nothing to give back: asleep it samples nothing."""
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    engine = sampler._engine
    assert engine is not None
    monkeypatch.setattr(engine, "_can_sleep", True)
    calls: list[tuple[str, Any]] = []
    worker = engine.engine.model_executor.driver_worker.worker
    monkeypatch.setattr(worker, "sleep", lambda level=1: calls.append(("sleep", level)))
    monkeypatch.setattr(worker, "wake_up", lambda tags=None: calls.append(("wake", tags)))
    for _ in range(2):
        learn(policy)
        sampler.rest()
        sampler.rest()
        assert engine.engine.is_sleeping()
        sampler.sync(policy)
        assert not engine.engine.is_sleeping()
        assert gap(policy, sampled(sampler, policy)) < AGREE
    assert calls == [("sleep", 2), ("wake", ["weights"]), ("wake", ["kv_cache"])] * 2


# --- what it refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ({"hidden_size": 32}, {}, "heads of 16 but of 32, 64"),
        ({}, {"max_model_len": 100_000}, "max_model_len"),
        ({"model_type": "xglm", "d_model": 64, "attention_heads": 2, "num_layers": 1}, {}, "XGLMForCausalLM"),
    ],
)
def test_what_vllm_does_not_take_is_an_error_with_advice(
    architecture: dict[str, Any], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    policy = opened(tmp_path, **architecture)
    with pytest.raises(SetupError, match=said) as refused:
        VllmSampler(VllmSampler.Config(kv_cache_mib=16, **options)).sync(policy)
    assert refused.value.where == "sampler vllm"
    assert "choose another sampler" in refused.value.fix
    assert len(refused.value.what) < 400


def test_an_answer_that_may_not_fit_is_refused_before_any_is_sampled(tmp_path: Path) -> None:
    policy, sampler = opened(tmp_path), shared("llama True")
    sampler.sync(policy)
    requests = asked(policy)
    requests[-1] = replace(requests[-1], max_new_tokens=250)
    with pytest.raises(SetupError, match=r"up to 250 do not fit into 256 tokens.*problem '0-3'"):
        next(iter(sampler.generate(requests)))
    assert len(list(sampler.generate(requests[:-1]))) == 12


def test_before_the_first_sync_it_says_what_to_call() -> None:
    with pytest.raises(SetupError, match="no weights yet"):
        next(iter(VllmSampler(VllmSampler.Config()).generate([])))


@pytest.mark.parametrize("options", [{"gpu_memory_utilization": 0}, {"max_num_seqs": 0}, {"tensor_parallel": 2}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VllmSampler.Config(**options)


def test_the_plan_refuses_what_would_fail_at_the_first_token() -> None:
    with kept():  # its warnings
        from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
    assert list(CPU_HEAD_SIZES) == CPUAttentionBackend.get_supported_head_sizes()
    policy = TransformersPolicy(TransformersPolicy.Config(device="cpu"))
    shapes = [shape_of({**TINY, "vocab_size": 40, "head_dim": size}) for size in (32, 48)]
    good, bad = [shape for shape in shapes if isinstance(shape, ModelShape)]
    sampler = VllmSampler(VllmSampler.Config(max_model_len=257))
    assert [found.option for found in sampler.misfits(good, policy=policy)] == ["max_model_len"]
    assert ["heads of 48" in found.message for found in sampler.misfits(bad, policy=policy)] == [True, False]
    assert not VllmSampler(VllmSampler.Config(max_model_len=256)).misfits(good, policy=policy)


def test_it_tells_which_vllm_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert VllmSampler.check() == []
    assert re.fullmatch(r"vLLM 0\.3\d\S*, built for CPUs", VllmSampler.report()[0])
    monkeypatch.setattr(vllm, "_installed", lambda: ("vllm", "0.28.1"))
    assert re.match(r"vllm 0\.28\.1 is not .*pip install 'r1core\[vllm\]'", VllmSampler.check()[0])
    assert VllmSampler.report() == ["vLLM 0.28.1, built for GPUs"]
    monkeypatch.setattr(vllm, "_installed", lambda: None)
    assert VllmSampler.check() == ["vllm not installed: pip install 'r1core[vllm]'"]
    assert VllmSampler.report() == []
