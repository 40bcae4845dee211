"""Micro-batches: every sequence once, within the budget, and its counted tokens where they belong."""

from __future__ import annotations

import numpy as np
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
