"""The decoder: exact against the unpadded model, and blind to what else is in the batch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, Lfm2Config

from r1core.nn import Decoded, Decoder, end_token_ids, unsupported_layers
from r1core.types import Problem, SampleRequest

END = 1
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "llama": {"num_key_value_heads": 1},
    "mistral": {"sliding_window": 5},
    "gemma2": {"sliding_window": 4, "final_logit_softcapping": 5.0},
    "gpt_neox": {"rotary_pct": 0.5},
    "gpt2": {"n_positions": 256},
}


@functools.cache
def build(family: str) -> Any:
    torch.manual_seed(1)
    shape = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16}
    special = {"bos_token_id": 2, "eos_token_id": END, "pad_token_id": 0, "initializer_range": 0.2}
    keys = {"num_key_value_heads": 2, "intermediate_size": 48, **shape, **special, **FAMILIES[family]}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **keys)).eval()


def request(number: int, *, samples: int = 4, limit: int = 24, **options: Any) -> SampleRequest:
    """Prompt `number`: 3 to 14 tokens."""
    random = np.random.default_rng(number)
    return SampleRequest(
        problem=Problem(id=str(number)),
        prompt_ids=random.integers(2, 40, random.integers(3, 15)),
        keys=tuple(int(key) for key in random.integers(0, 2**63, samples)),
        samples=tuple(range(samples)),
        max_new_tokens=limit,
        **options,
    )


def decode(
    requests: Sequence[SampleRequest],
    *,
    family: str = "qwen2",
    ends: Sequence[int] = (END,),
    max_rows: int = 64,
    compact_at: float = 0.25,
) -> dict[tuple[str, int], Decoded]:
    """Samples by (problem, key)."""
    decoder = Decoder(build(family), ends=ends, max_rows=max_rows, compact_at=compact_at)
    found: dict[tuple[str, int], Decoded] = {}
    for sample in decoder.decode(requests):
        asked = requests[sample.request]
        place = (asked.problem.id, asked.keys[sample.sample])
        assert place not in found
        found[place] = sample
    return found


def full_logprobs(model: Any, prompt: np.ndarray, completion: np.ndarray) -> np.ndarray:
    """Of the completion's tokens, from one unpadded forward."""
    ids = torch.from_numpy(np.concatenate([prompt, completion]))
    with torch.no_grad():
        logs = torch.log_softmax(model(ids[None], use_cache=False).logits[0].float(), dim=-1)
    return logs[len(prompt) - 1 : -1].gather(1, ids[len(prompt) :, None]).squeeze(1).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_are_those_of_the_unpadded_model(family: str) -> None:
    requests = [request(number) for number in range(6)]
    found = decode(requests, family=family, max_rows=12)
    lengths = {len(sample.ids) for sample in found.values()}
    assert len(found) == 24
    assert len(lengths) > 3, "rows must end unevenly for this to test anything"
    for sample in found.values():
        wanted = full_logprobs(build(family), requests[sample.request].prompt_ids, sample.ids)
        np.testing.assert_allclose(sample.logprobs, wanted, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True),
    st.integers(4, 40),
    st.sampled_from([0.01, 0.25, 0.6, 1.0]),
)
def test_a_sample_does_not_depend_on_its_company(numbers: list[int], max_rows: int, compact_at: float) -> None:
    found = decode([request(number) for number in numbers], max_rows=max_rows, compact_at=compact_at)
    assert set(found) == {place for place in alone() if int(place[0]) in numbers}
    for place, sample in found.items():
        assert sample.ids.tolist() == alone()[place].ids.tolist()
        np.testing.assert_allclose(sample.logprobs, alone()[place].logprobs, atol=1e-5)


@functools.cache
def alone() -> dict[tuple[str, int], Decoded]:
    """Ten prompts, each decoded by itself."""
    return {place: sample for number in range(10) for place, sample in decode([request(number)]).items()}


def test_a_key_draws_the_same_tokens_again_and_another_key_others() -> None:
    once, again = decode([request(3)]), decode([request(3)])
    assert [s.ids.tolist() for s in once.values()] == [s.ids.tolist() for s in again.values()]
    assert len({tuple(sample.ids.tolist()) for sample in once.values()}) > 1


def test_greedy_is_what_generate_gives() -> None:
    requests = [request(number, samples=1, temperature=0.0) for number in range(6)]
    for sample in decode(requests).values():
        prompt = torch.from_numpy(requests[sample.request].prompt_ids)[None]
        config = GenerationConfig(do_sample=False, max_new_tokens=24, eos_token_id=END, pad_token_id=0)
        wanted = build("qwen2").generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
        assert sample.ids.tolist() == wanted[0, prompt.shape[1] :].tolist()
        logprobs = full_logprobs(build("qwen2"), requests[sample.request].prompt_ids, sample.ids)
        np.testing.assert_allclose(sample.logprobs, logprobs, atol=1e-5)


def test_an_answer_ends_with_any_end_token_or_at_its_limit() -> None:
    ends = (END, 7, 20)
    found = decode([request(number, samples=8, limit=limit) for number, limit in enumerate((1, 6, 30))], ends=ends)
    for (problem, _), sample in found.items():
        assert not set(ends) & set(sample.ids[:-1].tolist())
        stopped = int(sample.ids[-1]) in ends
        assert sample.finish == ("stop" if stopped else "length")
        assert stopped or len(sample.ids) == (1, 6, 30)[int(problem)]
    assert len({int(sample.ids[-1]) for sample in found.values() if sample.finish == "stop"}) > 1
    assert {sample.finish for sample in found.values()} == {"stop", "length"}


def test_a_prefix_is_gone_on_from() -> None:
    (found,) = decode([request(2, samples=1, temperature=0.0)], ends=()).values()
    whole = found.ids
    going_on = request(2, samples=1, limit=21, temperature=0.0, prefix_ids=whole[:3])
    (rest,) = decode([going_on], ends=()).values()
    assert rest.ids.tolist() == whole[3:].tolist()


def test_rows_of_one_batch_keep_their_own_temperature_and_limit() -> None:
    requests = [request(0, temperature=0.0), request(1, temperature=0.5, limit=5), request(2, top_p=0.5)]
    together = decode(requests)
    for one in requests:
        for place, sample in decode([one]).items():
            assert together[place].ids.tolist() == sample.ids.tolist()


def test_never_more_rows_than_allowed_and_prompts_computed_once() -> None:
    seen: list[tuple[int, int]] = []
    hook = build("qwen2").register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        decode([request(number) for number in range(6)], max_rows=8)
    finally:
        hook.remove()
    assert sum(rows for rows, width in seen if width > 1) == 6
    assert max(rows for rows, width in seen if width == 1) <= 8
    steps = [rows for rows, width in seen if width == 1]
    assert any(later < earlier for earlier, later in itertools.pairwise(steps))


def test_a_request_of_more_samples_than_rows_is_cut() -> None:
    found = decode([request(0, samples=11)], max_rows=4)
    wanted = decode([request(0, samples=11)])
    assert {p: s.ids.tolist() for p, s in found.items()} == {p: s.ids.tolist() for p, s in wanted.items()}


def test_long_answers_outgrow_the_first_buffers() -> None:
    requests = [request(number, samples=1, limit=150) for number in range(3)]
    for sample in decode(requests, ends=()).values():
        assert len(sample.ids) == 150
        wanted = full_logprobs(build("qwen2"), requests[sample.request].prompt_ids, sample.ids)
        np.testing.assert_allclose(sample.logprobs, wanted, atol=1e-5)


def test_an_empty_prompt_is_refused() -> None:
    empty = SampleRequest(
        problem=Problem(id="x"), prompt_ids=np.zeros(0, np.int64), keys=(1,), samples=(0,), max_new_tokens=4
    )
    with pytest.raises(ValueError, match="prompt of 0 tokens"):
        decode([empty])


def test_no_requests_no_samples() -> None:
    assert decode([]) == {}


def test_end_tokens_come_from_both_configs() -> None:
    module = SimpleNamespace(
        config=SimpleNamespace(eos_token_id=5), generation_config=SimpleNamespace(eos_token_id=[6, 7])
    )
    assert end_token_ids(module) == {5, 6, 7}


def test_models_with_other_memory_than_keys_and_values_are_named() -> None:
    config = Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"])
    assert "keep more than keys and values" in unsupported_layers(SimpleNamespace(config=config))
    assert unsupported_layers(build("mistral")) == ""
