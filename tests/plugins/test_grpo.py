"""GRPO: the values of the other implementations, and what must not change an advantage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from toy_training import LOST, group

from r1_plugins.grpo import Grpo, ZeroVariance
from r1core.types import Floats, GroupSignals

REWARDS = st.lists(st.floats(-10, 10), min_size=1, max_size=16).map(np.array)

# Two prompts, three answers each, rewards [1, 0, .5 | 0, 0, 1], as other implementations value them.
GOLDEN = {
    "verl 0.9.1, GRPO": ({}, [0.999998, -0.999998, 0, -0.577349, -0.577349, 1.154698]),
    "TRL 1.16.0, GRPO": ({"eps": 1e-4}, [0.9998, -0.9998, 0, -0.57725, -0.57725, 1.1545]),
    "verl 0.9.1, Dr.GRPO": ({"normalize_std": False}, [0.5, -0.5, 0, -0.333333, -0.333333, 0.666667]),
}


def signals(rewards: Any) -> GroupSignals:
    rewards_G = np.array(rewards, dtype=np.float64)
    return GroupSignals(rewards_G=rewards_G, lengths_G=np.full(len(rewards_G), 3))


def advantages(rewards: Any, **options: Any) -> Floats:
    (found,) = Grpo(Grpo.Config(**options))([signals(rewards)])
    assert all(sample.shape == (1,) for sample in found)
    return np.concatenate(found)


@pytest.mark.parametrize(("options", "wanted"), GOLDEN.values(), ids=GOLDEN)
def test_the_values_are_those_of_other_implementations(options: dict[str, Any], wanted: list[float]) -> None:
    found = [*advantages([1, 0, 0.5], **options), *advantages([0, 0, 1], **options)]
    tolerance = 5e-5 if "eps" in options else 1e-6  # TRL's were noted with five digits
    np.testing.assert_allclose(found, wanted, atol=tolerance)


@given(REWARDS, st.floats(-10, 10), st.booleans())
def test_a_shift_of_all_rewards_changes_nothing(rewards: Floats, shift: float, normalize: bool) -> None:
    assume(np.ptp(rewards) > 1e-3 or np.ptp(rewards) == 0)
    found = advantages(rewards + shift, normalize_std=normalize)
    np.testing.assert_allclose(found, advantages(rewards, normalize_std=normalize), atol=1e-6)


@given(REWARDS, st.floats(0.01, 100))
def test_a_scale_of_all_rewards_changes_nothing(rewards: Floats, scale: float) -> None:
    assume(np.ptp(rewards) > 1e-3)
    np.testing.assert_allclose(advantages(rewards * scale, eps=0), advantages(rewards, eps=0), atol=1e-6)


@given(REWARDS, st.floats(0.01, 100))
def test_without_the_standard_deviation_the_scale_stays(rewards: Floats, scale: float) -> None:
    one, scaled = (advantages(r, normalize_std=False) for r in (rewards, rewards * scale))
    np.testing.assert_allclose(scaled, scale * one, atol=1e-6)


@given(REWARDS, st.randoms(use_true_random=False), st.booleans())
def test_advantages_follow_their_answers(rewards: Floats, random: Any, normalize: bool) -> None:
    assume(np.ptp(rewards) > 1e-3 or np.ptp(rewards) == 0)
    order = random.sample(range(len(rewards)), len(rewards))
    permuted = advantages(rewards[order], normalize_std=normalize)
    np.testing.assert_allclose(permuted, advantages(rewards, normalize_std=normalize)[order], atol=1e-6)


@given(st.floats(-10, 10), st.integers(1, 16), st.booleans())
def test_equal_rewards_teach_nothing(reward: float, count: int, normalize: bool) -> None:
    np.testing.assert_allclose(advantages([reward] * count, normalize_std=normalize), 0, atol=1e-6)


@given(REWARDS)
def test_a_group_teaches_as_much_down_as_up(rewards: Floats) -> None:
    found = advantages(rewards)
    assert found.sum() == pytest.approx(0, abs=1e-6)
    clear = np.abs(found) > 1e-6
    assert (np.sign(found) == np.sign(rewards - rewards.mean()))[clear].all()


def test_a_groups_neighbours_do_not_matter() -> None:
    together = Grpo(Grpo.Config())([signals([1, 0, 0.5]), signals([0, 0, 100])])
    assert [a.tolist() for a in together[0]] == [[a] for a in advantages([1, 0, 0.5])]


# --- zero variance -------------------------------------------------------------------------------


def kept(*scores: Any, **options: Any) -> list[bool]:
    verdicts = ZeroVariance(ZeroVariance.Config(**options)).judge(group("p", *scores))
    assert {verdict.reason for verdict in verdicts} <= {"", "zero_variance"}
    assert all(verdict.keep == (not verdict.reason) for verdict in verdicts)
    return [verdict.keep for verdict in verdicts]


@given(st.floats(-10, 10), st.integers(1, 16))
def test_groups_of_equal_answers_are_dropped_whole(reward: float, count: int) -> None:
    assert kept(*[reward] * count) == [False] * count


@given(REWARDS)
def test_groups_with_a_spread_are_kept_whole(rewards: Floats) -> None:
    assume(np.ptp(rewards) > 1e-6)
    assert kept(*rewards.tolist()) == [True] * len(rewards)


def test_the_tolerance_is_the_largest_spread_that_counts_as_none() -> None:
    assert kept(0.0, 0.25, tolerance=0.25) == [False, False]
    assert kept(0.0, 0.3, tolerance=0.25) == [True, True]


def test_a_lost_answer_is_no_spread() -> None:
    assert kept(1.0, LOST, 1.0) == [False] * 3
    assert kept(LOST, LOST) == [False] * 2
    assert kept(1.0, LOST, 0.0) == [True] * 3


def test_the_variance_of_a_group_is_that_of_its_scores() -> None:
    assert ZeroVariance(ZeroVariance.Config()).needs == {"scores"}
