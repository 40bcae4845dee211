"""Intervals over seeds and problems: textbook values, known cases, and how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core.comparison.statistics import Estimate, crossed, rank_correlation, ranks, student_t

TRIALS = 600


@pytest.mark.parametrize(
    ("freedom", "wanted"),
    [
        (1, 12.7062),
        (2, 4.30265),
        (3, 3.18245),
        (5, 2.57058),
        (10, 2.22814),
        (30, 2.04227),
        (499, 1.96473),
        (1e9, 1.95996),
    ],
)
def test_student_t_is_the_textbooks(freedom: float, wanted: float) -> None:
    assert student_t(freedom) == pytest.approx(wanted, rel=3e-5)


def test_student_t_falls_with_the_degrees_of_freedom_and_rises_with_the_level() -> None:
    found = [student_t(freedom) for freedom in (1, 1.5, 2, 2.7, 4, 60, 70, 1e4)]
    assert found == sorted(found, reverse=True)
    assert student_t(4, 0.9) == pytest.approx(2.13185, rel=1e-4)


def test_one_seed_is_a_t_interval_over_problems_and_one_problem_one_over_seeds() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    half = student_t(4) * values.std(ddof=1) / math.sqrt(5)
    for table in (values[None, :], values[:, None]):
        found = crossed(table)
        assert (found.mean, found.half) == (pytest.approx(0.6), pytest.approx(half))


def test_seeds_that_agree_on_every_problem_leave_the_problems(rng: np.random.Generator) -> None:
    row = rng.normal(size=50)
    assert crossed(np.tile(row, (3, 1))).half == pytest.approx(crossed(row[None, :]).half, rel=0.01)


def test_problems_that_agree_for_every_seed_leave_the_seeds() -> None:
    column = np.array([0.2, 0.5, 0.35])
    found = crossed(np.tile(column[:, None], (1, 40)))
    assert found.half == pytest.approx(student_t(2) * column.std(ddof=1) / math.sqrt(3), rel=1e-6)


@given(st.integers(2, 5), st.integers(2, 12), st.integers(0, 99))
def test_it_is_never_narrower_than_over_seeds_or_over_problems_alone(seeds: int, problems: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 2, size=(seeds, problems)).astype(float)
    found = crossed(table)
    assert math.isnan(found.half) == (np.ptp(table) == 0)
    for alone in (table.mean(axis=0), table.mean(axis=1)) if np.ptp(table) else ():
        half = student_t(len(alone) - 1) * alone.std(ddof=1) / math.sqrt(len(alone))
        assert found.half >= half * (1 - 1e-9)


def test_what_some_seed_does_not_know_counts_for_none() -> None:
    table = np.array([[1.0, 0.0, np.nan], [1.0, 1.0, 0.0]])
    assert crossed(table).mean == crossed(table[:, :2]).mean == 0.75


@pytest.mark.parametrize("shape", [(0, 3), (1, 0)])
def test_nothing_is_unknown(shape: tuple[int, int]) -> None:
    assert math.isnan(crossed(np.zeros(shape)).mean)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 30)])
def test_numbers_without_a_spread_have_no_interval(shape: tuple[int, int]) -> None:
    found = crossed(np.full(shape, 0.5))
    assert found.mean == 0.5
    assert math.isnan(found.half)
    assert not found.is_clear


def test_an_interval_is_clear_where_it_excludes_zero() -> None:
    assert Estimate(mean=0.2, low=0.1, high=0.3).is_clear
    assert Estimate(mean=-0.2, low=-0.3, high=-0.1).is_clear
    assert not Estimate(mean=0.2, low=-0.1, high=0.5).is_clear


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("seeds", "of_seed", "of_problem", "of_both"), [(3, 0.05, 0.3, 0.4), (3, 0.2, 0.1, 0.3), (5, 0.1, 0.3, 0.1)]
)
def test_it_covers_the_truth_about_as_often_as_it_says(
    rng: np.random.Generator, seeds: int, of_seed: float, of_problem: float, of_both: float
) -> None:
    hits = 0
    for _ in range(TRIALS):
        table = 0.3 + rng.normal(size=(seeds, 1)) * of_seed + rng.normal(size=(1, 80)) * of_problem
        found = crossed(table + rng.normal(size=(seeds, 80)) * of_both)
        hits += found.low < 0.3 < found.high
    assert 0.92 < hits / TRIALS < 0.995


def test_an_interval_over_problems_alone_would_not(rng: np.random.Generator) -> None:
    """What makes the seeds worth their name: with their spread left out, intervals are wrong most of the time."""
    hits = 0
    for _ in range(TRIALS):
        table = 0.3 + rng.normal(size=(3, 1)) * 0.2 + rng.normal(size=(3, 80)) * 0.2
        found = crossed(table.reshape(1, -1))
        hits += found.low < 0.3 < found.high
    assert hits / TRIALS < 0.5


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=20))
def test_ranks_are_positions_and_equal_values_share_them(values: list[int]) -> None:
    found = ranks(np.array(values, dtype=float))
    assert found.sum() == pytest.approx(len(values) * (len(values) + 1) / 2)
    for value, rank in zip(values, found, strict=True):
        assert rank == sum(other < value for other in values) + (values.count(value) + 1) / 2


def test_rank_correlation_is_of_the_order_alone(rng: np.random.Generator) -> None:
    values = rng.normal(size=30)
    assert rank_correlation(values, np.exp(3 * values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert math.isnan(rank_correlation(values, np.zeros(30)))
