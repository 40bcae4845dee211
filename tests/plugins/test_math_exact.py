"""The exact arithmetic below the reward `math`, and the reward against an oracle that knows no verifier."""

from __future__ import annotations

import cmath
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_pairs import pair

from r1_plugins.math import Math
from r1_plugins.math.exact import EULER, IMAGINARY, PI, Exact, UndecidedError
from r1_plugins.math.grammar import tree_of
from r1_plugins.math.tokens import tokens_of
from r1_plugins.math.values import value_of
from r1core.types import Problem, Response

BASES = {PI: cmath.pi, EULER: cmath.e, IMAGINARY: 1j}


def exact(text: str) -> Exact:
    return value_of(tree_of(tokens_of(text)))


def approximately(number: Exact) -> complex:
    """By floats: another way to the same number."""
    total = 0j
    for monomial, coefficient in number.terms.items():
        product = complex(coefficient)
        for base, exponent in monomial:
            product *= complex(BASES.get(base, base)) ** float(exponent)
        total += product
    return total


numbers = st.builds(
    lambda a, b, n, m: Exact.of(a) + Exact.of(b) * Exact.of(n).power(Fraction(1, m)),
    st.fractions(-20, 20, max_denominator=12),
    st.fractions(-20, 20, max_denominator=12),
    st.integers(1, 60),
    st.sampled_from([1, 2, 2, 3]),
)


@settings(max_examples=150, deadline=None)
@given(numbers, numbers, numbers)
def test_it_is_a_ring_and_floats_agree(a: Exact, b: Exact, c: Exact) -> None:
    assert a + b == b + a
    assert a * b == b * a
    assert a * (b + c) == a * b + a * c
    assert (a + b) + c == a + (b + c)
    assert (a + -a).terms == {}
    assert approximately(a * b + c) == pytest.approx(
        approximately(a) * approximately(b) + approximately(c), rel=1e-9, abs=1e-7
    )


@settings(max_examples=150, deadline=None)
@given(numbers)
def test_what_can_be_divided_by_divides(a: Exact) -> None:
    if a.terms:
        try:
            assert a * a.inverse() == Exact.of(1)
        except UndecidedError:
            assert any(exponent.denominator > 2 for monomial in a.terms for _, exponent in monomial)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\sqrt{12}", r"2\sqrt{3}"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        (r"\frac{4}{\sqrt{5}-1}", r"1+\sqrt{5}"),
        (r"\frac{1}{1+\sqrt{2}+\sqrt{3}}", r"\frac{2+\sqrt{2}-\sqrt{6}}{4}"),
        (r"(1+i)^2", "2i"),
        (r"\frac{1}{i}", "-i"),
        (r"\frac{1+i}{1-i}", "i"),
        (r"\sqrt{-4}", "2i"),
        (r"8^{2/3}", "4"),
        (r"\sqrt[3]{108}", r"3\sqrt[3]{4}"),
        (r"\sqrt{\frac{\pi^2}{4}}", r"\frac{\pi}{2}"),
        (r"e^{2}\cdot e^{-3}", r"\frac{1}{e}"),
        (r"\frac{2004!}{2003!}", "2004"),
        ("3.2e5", "320000"),
        (r"3\frac12", "3.5"),
        (r"(1+\sqrt{2})^{-2}", r"3-2\sqrt{2}"),
    ],
)
def test_equal_numbers_have_one_form(left: str, right: str) -> None:
    assert exact(left) == exact(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\frac{1}{2004!}", r"\frac{1}{2005!}"),
        (r"2^{-3000}", "0"),
        (r"\sqrt{2}", r"\frac{665857}{470832}"),
        (r"\sqrt{2}+\sqrt{3}", r"\frac{49087}{15601}"),
        (r"\pi", r"\frac{103993}{33102}"),
        (r"10^{300}+1", r"10^{300}"),
    ],
)
def test_what_floats_cannot_tell_apart_is_told_apart(left: str, right: str) -> None:
    assert exact(left) != exact(right)


@pytest.mark.parametrize(
    "text", ["10^{10^{10}}", "(10^9)!", r"2^{100000}", r"(1+\sqrt{2})^{100000}", r"\sqrt{3+2\sqrt{2}}", "x"]
)
def test_what_has_no_short_exact_form_is_left_undecided(text: str) -> None:
    with pytest.raises(UndecidedError):
        exact(text)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_the_verdict_is_the_oracles(seed: int) -> None:
    """Random pairs of a reference and an answer; tests/benchmarks/bench_math.py asks about 100,000 of them."""
    drawn = pair(random.Random(seed))
    response = Response.parse(f"<think>hm</think>\\boxed{{{drawn.answer}}}")
    score = Math(Math.Config()).score(Problem(id="p", reference=drawn.gold), response)
    assert (score.value == 1.0) == drawn.equal, (drawn, score.reason)


def test_the_oracle_draws_equal_and_different_pairs_of_every_kind() -> None:
    rng = random.Random(0)
    drawn = [pair(rng) for _ in range(400)]
    assert {(one.kind, one.equal) for one in drawn} == {
        (kind, equal) for kind in ("rational", "large", "root", "polynomial") for equal in (True, False)
    }
