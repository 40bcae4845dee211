"""Where problems come from: one source, several by step, several mixed; and datasets in a balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from r1core.choices import Use
from r1core.components import ProblemSource
from r1core.recipe.schema import ProblemsInput
from r1core.stages.problems import ProblemStream, balanced, first_of, interleaved
from r1core.types import Problem


class Letters(ProblemSource):
    """As many problems as it is told, a0, a1, ..."""

    name = "letters"

    def __init__(self, letter: str, count: int) -> None:
        self.letter = letter
        self.count = count

    def problems(self, *, seed: int) -> Iterator[Problem]:
        return (Problem(id=f"{self.letter}{n}") for n in range(self.count))


def build(use: Use) -> ProblemSource:
    return Letters(use.use, use.options.get("count", 1000))


def schedule(value: Any) -> Any:
    return TypeAdapter(ProblemsInput).validate_python(value)


def mix(**weights: float) -> dict[str, Any]:
    return {"mix": [{"problems": {"use": name}, "weight": weight} for name, weight in weights.items()]}


def taken(stream: ProblemStream, *counts: int, start: int = 0, total: int = 100) -> list[list[str]]:
    return [[p.id for p in stream.take(count, step=start + i, total=total)] for i, count in enumerate(counts)]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.integers(0, 200))
def test_every_prefix_of_a_mix_holds_the_shares(weights: list[float], count: int) -> None:
    order = interleaved(weights, count)
    for length in range(count + 1):
        had = Counter(order[:length])
        for number, weight in enumerate(weights):
            assert abs(had[number] - weight / sum(weights) * length) < len(weights)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 40), st.integers(0, 40))
def test_a_mix_goes_on_where_it_was(weights: list[int], one: int, other: int) -> None:
    first = interleaved(weights, one)
    had = [first.count(number) for number in range(len(weights))]
    assert first + interleaved(weights, other, taken=had) == interleaved(weights, one + other)


def test_a_batch_is_mixed_and_each_source_is_taken_in_order() -> None:
    stream = ProblemStream(schedule(mix(a=3, b=1)), build, seed=0)
    assert taken(stream, 4, 4) == [["a0", "a1", "b0", "a2"], ["a3", "a4", "b1", "a5"]]


def test_a_mix_that_begins_later_has_its_own_shares_from_there_on() -> None:
    stream = ProblemStream(schedule({0: {"use": "a"}, 2: mix(a=1, b=1)}), build, seed=0)
    assert taken(stream, 2, 2, 4) == [["a0", "a1"], ["a2", "a3"], ["a4", "b0", "a5", "b1"]]


@pytest.mark.parametrize("stop", range(4))
def test_a_stream_that_is_gone_on_with_gives_what_it_would_have_given(stop: int) -> None:
    points = {0: {"use": "a", "count": 3}, 2: mix(a=2, b=1)}
    whole = taken(ProblemStream(schedule(points), build, seed=0), 2, 2, 5, 4)
    begun = ProblemStream(schedule(points), build, seed=0)
    taken(begun, *(2, 2, 5, 4)[:stop])
    again = ProblemStream(schedule(points), build, seed=0)
    again.skip(begun.cursors())
    assert taken(again, *(2, 2, 5, 4)[stop:], start=stop) == whole[stop:]


def test_a_finite_mix_leaves_out_what_has_run_out() -> None:
    point = schedule({"mix": [{"problems": {"use": "a", "count": 2}, "weight": 1}, *mix(b=1)["mix"]]})
    found = first_of(point.at(0, 1), 8, build, seed=0)
    assert [problem.id for problem in found] == ["a0", "b0", "a1", "b1", "b2", "b3"]


# --- balance -----------------------------------------------------------------------------------------


def numbered(letter: str, count: int) -> list[Problem]:
    return [Problem(id=f"{letter}{n}") for n in range(count)]


@pytest.mark.parametrize(
    ("sizes", "weights", "kept"),
    [
        ((300, 100), (3, 1), (300, 100)),
        ((300, 90), (3, 1), (270, 90)),
        ((90, 100), (3, 1), (90, 30)),
        ((5, 0), (1, 1), (0, 0)),
    ],
)
def test_the_scarcest_set_decides(sizes: tuple[int, int], weights: tuple[int, int], kept: tuple[int, int]) -> None:
    mixed = balanced([numbered("a", sizes[0]), numbered("b", sizes[1])], weights)
    had: Mapping[str, int] = Counter(problem.id[0] for problem in mixed)
    assert (had["a"], had["b"]) == kept
    assert len({problem.id for problem in mixed}) == len(mixed)


def test_what_is_left_out_is_spread_evenly_and_the_sets_are_mixed() -> None:
    mixed = [problem.id for problem in balanced([numbered("a", 12), numbered("b", 2)], (2, 1))]
    assert mixed == ["a0", "b0", "a3", "a6", "b1", "a9"]
