"""Log-probabilities of counted tokens: those of the model's own full forward, however they are batched and cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from r1core.nn import TokenReader, collate, head
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
    "llama": ({"tie_word_embeddings": True}, True),
    "gemma2": ({"final_logit_softcapping": 3.0, "sliding_window": 4}, False),
    "phi": ({}, True),
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


READS = [{"logprob"}, {"entropy"}, {"logprob", "entropy"}]


def gradients(
    model: Any, reads: set[str], *, whole_logits: int, into_grad: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    model.zero_grad()
    batch = collate(sequences(), range(4), device=model.device)
    given = TokenReader(model, whole_logits=whole_logits, into_grad=into_grad).read(batch, reads)
    assert set(given) == reads
    factor = {"logprob": torch.arange(len(batch.targets)), "entropy": torch.ones(())}
    torch.stack([(factor[name] * value).sum() for name, value in given.items()]).sum().backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return {name: value.detach() for name, value in given.items()}, found


@pytest.mark.parametrize("into_grad", [False, True])
@pytest.mark.parametrize("reads", READS, ids=["logprob", "entropy", "both"])
@pytest.mark.parametrize("family", ["qwen2", "llama", "phi", "gemma2"])
def test_tiles_and_chunks_change_neither_values_nor_gradients(
    family: str, reads: set[str], into_grad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The llama's head is its embedding; phi's has a bias; gemma2's logits are changed after it, and read in chunks."""
    monkeypatch.setitem(head.TILE_LOGITS, "cpu", 60)
    monkeypatch.setattr(head, "TILE_TOKENS", 5)
    model = build(family)
    for weight in model.parameters():
        weight.data.add_(0.01)  # no bias is nought
    whole, whole_gradients = gradients(model, reads, whole_logits=50 * 4096)
    parts, part_gradients = gradients(model, reads, whole_logits=50 * 5, into_grad=into_grad)
    assert TokenReader(model).tiles == (family != "gemma2")
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-5, rtol=0)
    assert part_gradients.keys() == whole_gradients.keys()
    for name, value in whole_gradients.items():
        torch.testing.assert_close(part_gradients[name], value, atol=1e-5 * float(value.abs().max()), rtol=1e-4)


def test_a_gradient_in_place_is_added_to_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two micro-batches make twice the gradient of one."""
    monkeypatch.setitem(head.TILE_LOGITS, "cpu", 60)
    model, batch = build("llama"), collate(sequences(), range(4), device=torch.device("cpu"))
    reader = TokenReader(model, whole_logits=50, into_grad=True)
    found = []
    for _ in range(2):
        reader.read(batch, {"logprob"})["logprob"].sum().backward()
        found.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], 2 * value, atol=1e-4, rtol=1e-4)


def test_a_head_whose_weight_is_not_trained_has_no_gradient() -> None:
    model, batch = build("qwen2"), collate(sequences(), range(4), device=torch.device("cpu"))
    model.get_output_embeddings().weight.requires_grad_(False)
    TokenReader(model, whole_logits=50, into_grad=True).read(batch, {"logprob"})["logprob"].sum().backward()
    assert model.get_output_embeddings().weight.grad is None
    assert model.model.layers[0].mlp.up_proj.weight.grad.abs().max() > 0


def test_a_loss_sees_only_what_it_declares() -> None:
    model = build("qwen2")
    view = TokenReader(model).view(collate(sequences(), [0], device=model.device), {"logprob"})
    assert view.logprob.shape == view.columns["weight"].shape
    with pytest.raises(KeyError, match="entropy"):
        _ = view.entropy
