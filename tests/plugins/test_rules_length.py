"""Rewards of length and repetition at their extremes: monotone, clamped, and with the formulas' values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.rules import Length, Overlong, Repetition
from r1core.types import Problem, Response

SHAPES = ("linear", "cosine")


def length(tokens: int, **options: Any) -> float:
    response = replace(Response.parse("<think>a</think><answer>8</answer>"), tokens=tokens)
    return Length(Length.Config(**options)).score(Problem(id="p"), response).value


def overlong(tokens: int, *, longest: int, margin: int) -> float:
    response = replace(Response.parse("a"), tokens=tokens)
    return Overlong(Overlong.Config(longest=longest, margin=margin)).score(Problem(id="p"), response).value


def repetition(text: str, n: int = 3) -> float:
    return Repetition(Repetition.Config(n=n)).score(Problem(id="p"), Response.parse(text)).value


@pytest.mark.parametrize("shape", SHAPES)
@given(longest=st.integers(1, 40_000), tokens=st.integers(0, 100_000))
def test_a_cap_falls_from_one_to_nothing_and_stays_there(shape: str, longest: int, tokens: int) -> None:
    at = {
        tokens: length(tokens, longest=longest, shape=shape)
        for tokens in (0, 1, longest, longest + 1, tokens, tokens + 1)
    }
    assert (at[0], at[longest], at[longest + 1]) == (1.0, pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert at[tokens] >= at[tokens + 1]
    assert all(0.0 <= value <= 1.0 for value in at.values())


@pytest.mark.parametrize("shape", SHAPES)
@given(target=st.integers(1, 40_000), far=st.integers(0, 50_000))
def test_a_target_is_best_and_both_sides_fall_alike(shape: str, target: int, far: int) -> None:
    assert length(target, target=target, shape=shape) == 1.0
    assert length(0, target=target, shape=shape) == pytest.approx(0, abs=1e-12)
    above, further = (length(target + each, target=target, shape=shape) for each in (far, far + 1))
    assert 0.0 <= further <= above <= 1.0
    if far <= target:
        assert length(target - far, target=target, shape=shape) == pytest.approx(above)


@pytest.mark.parametrize("tokens", [0, 100, 250, 500, 999, 1000])
def test_the_cosine_is_that_of_the_paper(tokens: int) -> None:
    """CosFn(t, T, min, max) = min + (max - min) (1 + cos(t pi / T)) / 2, from 1 to 0."""
    assert length(tokens, longest=1000, shape="cosine") == pytest.approx((1 + math.cos(tokens * math.pi / 1000)) / 2)


def test_one_of_cap_and_target_is_needed() -> None:
    for options in ({}, {"longest": 10, "target": 5}):
        with pytest.raises(ValidationError, match="give one of both"):
            Length.Config(**options)


@given(st.integers(1, 5000), st.data())
def test_overlong_is_free_until_the_margin_then_falls_to_its_lowest(longest: int, data: st.DataObject) -> None:
    margin = data.draw(st.integers(1, longest))
    tokens = data.draw(st.integers(0, 3 * longest))
    now, then = (overlong(each, longest=longest, margin=margin) for each in (tokens, tokens + 1))
    assert -1.0 <= then <= now <= 0.0
    at = [overlong(each, longest=longest, margin=margin) for each in (0, longest - margin, longest, longest + 1, 10**9)]
    assert at == [0.0, 0.0, -1.0, -1.0, Overlong.lowest]


def test_a_text_that_nobody_counted_has_no_length() -> None:
    response = Response.parse("<think>a</think><answer>8</answer>")
    assert response.tokens is None
    for rule in (Length(Length.Config(longest=10)), Overlong(Overlong.Config(longest=10, margin=5))):
        score = rule.score(Problem(id="p"), response)
        assert (score.value, score.reason) == (0.0, "not_counted")


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=40), st.integers(1, 5))
def test_repetition_is_the_share_of_n_grams_that_came_before(words: list[str], n: int) -> None:
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    before = sum(gram in grams[:number] for number, gram in enumerate(grams))
    assert repetition(" ".join(words), n) == pytest.approx(-before / max(1, len(grams) - 1))


@given(st.integers(1, 10), st.integers(0, 200))
def test_a_loop_is_worth_the_lowest_and_a_list_of_different_words_nothing(n: int, more: int) -> None:
    assert repetition("again " * (n + 1 + more), n) == Repetition.lowest == -1.0
    assert repetition(" ".join(f"w{number}" for number in range(n + 1 + more)), n) == 0.0
    assert repetition("again " * n, n) == 0.0, "one n-gram repeats nothing"


@given(st.lists(st.sampled_from(["x", "y", "z"]), min_size=4, max_size=20))
def test_a_text_said_ten_times_over_is_nearly_worth_the_lowest(words: list[str]) -> None:
    """N = 10 m - 2 n-grams, of which no more than m are different."""
    assert repetition(" ".join(words * 10)) <= -0.89


def test_words_without_spaces_between_them_are_counted() -> None:
    assert repetition("我们先算一算二") == 0.0
    assert repetition("我们算我们算我们算") < -0.5
