"""Packed micro-batches: no padding, the same numbers; a model whose sequences would see each other is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_transformers_policy import Reinforce, make, policy, sequences, weights
from tiny_model import write_tokenizer

from r1core.errors import SetupError
from r1core.nn import collate, micro_batches
from r1core.types import TrainSequence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("model"))


def test_a_packed_batch_has_no_padding_and_positions_that_begin_anew() -> None:
    data = sequences(3)
    batch = collate(data, [2, 0, 1], device=torch.device("cpu"), packed=True)
    assert batch.ids.tolist() == [np.concatenate([data[place].ids for place in (2, 0, 1)]).tolist()]
    assert batch.positions is not None
    assert batch.positions.tolist() == [[i for place in (2, 0, 1) for i in range(len(data[place].ids))]]
    assert batch.ids[0, batch.predictors + 1].tolist() == batch.targets.tolist()


@given(st.lists(st.integers(2, 90), max_size=40), st.integers(10, 120))
def test_packed_batches_hold_everything_once_and_keep_the_budget(lengths: list[int], budget: int) -> None:
    data = [TrainSequence(ids=np.zeros(length, dtype=np.int64), start=1, columns={}) for length in lengths]
    batches = micro_batches(data, padded_tokens=budget, packed=True)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    sizes = [sum(lengths[place] for place in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    small = [size for size in sizes if size <= budget // 2]
    assert len(small) <= 1, "two half-empty batches would have been one"


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}, {"lora": {"rank": 2}}])
def test_packing_changes_no_number(folder: Path, options: dict[str, Any]) -> None:
    packed, padded = (
        policy(packing=packing, micro_batch_tokens=64, **options).open(folder, trainable=True)
        for packing in (True, False)
    )
    seen = []
    packed.module().model.register_forward_pre_hook(
        lambda _, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    for ours, theirs in zip(packed.logprobs(sequences()), padded.logprobs(sequences()), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    reports = [each.update(sequences(), Reinforce(), lr=1e-3) for each in (packed, padded)]
    assert reports[0] == pytest.approx(reports[1], rel=1e-5)
    for name, tensor in weights(padded).items():
        torch.testing.assert_close(weights(packed)[name], tensor, atol=1e-5, rtol=1e-5)
    tokens = sum(len(sequence.ids) for sequence in sequences())
    assert {rows for rows, _ in seen} == {1}
    assert sum(length for _, length in seen) == 2 * tokens, "each token once for the log-probs and once for the update"


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_would_mix_sequences_is_refused(tmp_path: Path) -> None:
    """bloom's attention is biased by distance and asks for no positions."""
    write_tokenizer(tmp_path)
    shape = {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.2}
    policy().create(tmp_path, shape, seed=0)
    policy().open(tmp_path, trainable=True)
    with pytest.raises(SetupError, match="'bloom' do not keep packed sequences apart") as caught:
        policy(packing=True).open(tmp_path, trainable=True)
    assert caught.value.fix == "packing: false"


def test_sequences_that_see_each_other_would_be_found(folder: Path) -> None:
    """The check can fail: the same model, its positions thrown away."""
    opened = policy(packing=True).open(folder, trainable=False)
    body = opened.module().model
    plain = body.forward
    body.forward = lambda input_ids, position_ids=None, **given: plain(input_ids=input_ids, **given)
    mixed = opened.logprobs(sequences())
    apart = policy().open(folder, trainable=False).logprobs(sequences())
    assert max(float(np.abs(one - other).max()) for one, other in zip(mixed, apart, strict=True)) > 0.1
