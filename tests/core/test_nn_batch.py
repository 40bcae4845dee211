"""Micro-batches: every sequence once, within the budget, and its counted tokens where they belong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1core.nn import collate, micro_batches
from r1core.types import TrainSequence

CPU = torch.device("cpu")


def sequence(length: int, start: int) -> TrainSequence:
    counted = np.arange(start, length, dtype=np.float64)
    return TrainSequence(ids=np.arange(100, 100 + length), start=start, columns={"weight": counted})


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 300))
def test_every_sequence_is_in_one_micro_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    sequences = [sequence(length, 0) for length in lengths]
    batches = micro_batches(sequences, padded_tokens=budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget
    assert batches == micro_batches(sequences, padded_tokens=budget)


def test_a_short_sequence_does_not_ride_in_the_padding_of_long_ones() -> None:
    sequences = [sequence(length, 0) for length in (40, 10, 40, 10)]
    assert micro_batches(sequences, padded_tokens=400) == [[0, 2], [1, 3]]


def test_counted_tokens_point_at_the_state_before_them() -> None:
    batch = collate([sequence(3, 1), sequence(5, 3)], [1, 0], device=CPU)
    assert batch.ids.tolist() == [[100, 101, 102, 103, 104], [100, 101, 102, 0, 0]]
    assert batch.predictors.tolist() == [2, 3, 5, 6]
    assert batch.targets.tolist() == [103, 104, 101, 102]
    assert batch.sequence.tolist() == [0, 0, 1, 1]
    assert batch.columns["weight"].tolist() == [3, 4, 1, 2]


def test_the_first_token_of_a_document_is_not_counted() -> None:
    batch = collate([sequence(4, 0)], [0], device=CPU)
    assert batch.targets.tolist() == [101, 102, 103]
    assert batch.columns["weight"].tolist() == [1, 2, 3]


def tabled() -> list[TrainSequence]:
    """Three sequences with columns of one and of two dimensions, of whole numbers and others."""
    found = []
    for length, start in ((6, 2), (4, 0), (5, 4)):
        own = np.arange(start, length)
        columns = {"weight": np.ones(len(own)), "ids": np.stack([own, own + 100], 1), "there": own % 2 == 0}
        found.append(TrainSequence(ids=np.arange(length) + 10, start=start, columns=columns))
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_columns_keep_their_shape_and_whole_numbers_stay_whole(packed: bool) -> None:
    """Row for row beside the counted tokens; what nothing predicts is left out of all of them."""
    batch = collate(tabled(), range(3), device=torch.device("cpu"), packed=packed)
    assert batch.columns["ids"].dtype == torch.int64
    assert batch.columns["weight"].dtype == batch.columns["there"].dtype == torch.float32
    assert torch.equal(batch.columns["ids"][:, 0], batch.targets - 10)
    assert torch.equal(batch.columns["ids"][:, 1], batch.targets + 90)
    assert torch.equal(batch.columns["there"] == 1, batch.targets % 2 == 0)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "keep", [[True] * 8, [False] * 4 + [True] * 4, [False, True] * 4, [False] * 7 + [True], [False] * 8]
)
def test_taking_some_tokens_keeps_what_predicts_them(keep: list[bool], packed: bool) -> None:
    """Rows without any of them go, but where they are packed; each predictor still stands before its target."""
    batch, mask = collate(tabled(), range(3), device=torch.device("cpu"), packed=packed), torch.tensor(keep)
    taken = batch.take(mask)
    assert torch.equal(taken.targets, batch.targets[mask])
    assert torch.equal(taken.sequence, batch.sequence[mask])
    assert torch.equal(taken.columns["ids"], batch.columns["ids"][mask])
    assert torch.equal(taken.ids.flatten()[taken.predictors], batch.ids.flatten()[batch.predictors[mask]])
    assert torch.equal(taken.ids.flatten()[taken.predictors] + 1, taken.targets)
    assert len(taken.ids) == (int(mask.any()) if packed else len(set(taken.sequence.tolist())))
