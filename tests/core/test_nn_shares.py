"""A batch shared out among ranks: everything once, like loads, the same on every rank."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from r1core.nn import shares

LENGTHS = st.lists(st.integers(1, 2000), max_size=60)


@given(LENGTHS, st.integers(1, 9))
def test_every_sequence_has_one_rank(lengths: list[int], ranks: int) -> None:
    found = shares(lengths, ranks)
    assert len(found) == ranks
    assert sorted(place for own in found for place in own) == list(range(len(lengths)))
    assert found == shares(lengths, ranks)


@given(LENGTHS, st.integers(1, 9))
def test_no_rank_has_more_than_another_by_more_than_one_sequence(lengths: list[int], ranks: int) -> None:
    """The rank that got a sequence last had the fewest tokens then."""
    loads = [sum(lengths[place] for place in own) for own in shares(lengths, ranks)]
    assert max(loads) - min(loads) <= max(lengths, default=0)


def test_the_longest_are_spread_first() -> None:
    assert shares([10, 90, 20, 80], 2) == [[1, 0], [3, 2]]
