"""Log-probabilities of counted tokens: those of the model's own full forward, however they are batched and chunked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from r1core.nn import TokenReader, collate
from r1core.types import TrainSequence

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
FAMILIES = {
    "qwen2": ({}, True),
    "llama": ({}, True),
    "gemma2": ({"final_logit_softcapping": 3.0, "sliding_window": 4}, False),
    "granite": ({"logits_scaling": 4.0}, False),
    "cohere": ({"logit_scale": 0.25}, False),
}


def build(family: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SHAPE, **FAMILIES[family][0])).eval()


def sequences() -> list[TrainSequence]:
    random = np.random.default_rng(0)
    return [
        TrainSequence(ids=random.integers(1, 50, length), start=start, columns={"weight": np.ones(length - start)})
        for length, start in ((9, 4), (14, 1), (5, 0), (11, 10))
    ]


def expected(model: Any, sequence: TrainSequence) -> torch.Tensor:
    """The log-probabilities from the unpadded full forward."""
    ids = torch.from_numpy(sequence.ids)
    logs = torch.log_softmax(model(ids.unsqueeze(0), use_cache=False).logits[0].float(), dim=-1)
    first = max(sequence.start, 1)
    return logs[first - 1 : -1].gather(1, ids[first:, None]).squeeze(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_are_those_of_the_full_forward(family: str) -> None:
    model = build(family)
    reader = TokenReader(model)
    data = sequences()
    with torch.no_grad():
        found = reader.read(collate(data, range(4), device=model.device), {"logprob"})["logprob"]
        wanted = torch.cat([expected(model, sequence) for sequence in data])
    assert reader.plain_head == FAMILIES[family][1]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_entropy_is_that_of_the_logits() -> None:
    model = build("qwen2")
    given = TokenReader(model).read(collate(sequences(), range(4), device=model.device), {"entropy", "logits"})
    wanted = torch.distributions.Categorical(logits=given["logits"]).entropy()
    torch.testing.assert_close(given["entropy"], wanted, atol=1e-5, rtol=0)
    assert set(given) == {"entropy", "logits"}


def gradients(model: Any, chunk_tokens: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model.zero_grad()
    batch = collate(sequences(), range(4), device=model.device)
    given = TokenReader(model, chunk_tokens=chunk_tokens).read(batch, {"logprob", "entropy"})
    (given["logprob"] * torch.arange(len(batch.targets)) + given["entropy"]).sum().backward()
    return given["logprob"].detach(), [weight.grad.clone() for weight in model.parameters()]


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_chunks_change_neither_values_nor_gradients(family: str) -> None:
    model = build(family)
    whole, whole_gradients = gradients(model, 4096)
    chunked, chunked_gradients = gradients(model, 5)
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=0)
    for one, other in zip(whole_gradients, chunked_gradients, strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def test_a_loss_sees_only_what_it_declares() -> None:
    model = build("qwen2")
    view = TokenReader(model).view(collate(sequences(), [0], device=model.device), {"logprob"})
    assert view.logprob.shape == view.columns["weight"].shape
    with pytest.raises(KeyError, match="entropy"):
        _ = view.entropy
