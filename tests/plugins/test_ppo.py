"""PPO's clip against other implementations' numbers, and advantages from sampled values of intermediate states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_batch import LENGTHS, golden, signals, total, view
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.ppo import MonteCarlo, PpoClip
from r1core.nn import TokenView
from r1core.types import Floats, GroupSignals


def clip(**options: float) -> PpoClip:
    return PpoClip(PpoClip.Config(**options))


# --- the clipped objective -----------------------------------------------------------------------


def test_the_batch_is_the_one_that_others_were_run_on() -> None:
    tables = golden()
    np.testing.assert_allclose(tables["old_logprob"][0], [-1.092513, -1.636444, -0.276955, -0.364061], atol=1e-6)
    np.testing.assert_allclose(tables["new"][0], [-1.140868, -1.604699, -0.005312, -0.642362], atol=1e-6)
    np.testing.assert_allclose(tables["ref_logprob"][0], [-1.136863, -1.640052, -0.212999, -0.264648], atol=1e-6)


@pytest.mark.parametrize(
    ("how", "wanted"), [("token_mean", -0.096924), ("sequence_mean", -0.01088), ("constant", -0.064616)]
)
def test_the_loss_is_that_of_other_implementations(how: str, wanted: float) -> None:
    assert total(clip(clip_low=0.2, clip_high=0.28), view(how)) == pytest.approx(wanted, abs=1e-6)


def test_the_constant_divisor_is_the_longest_answer() -> None:
    whole, half = (total(clip(), view("constant", longest)) for longest in (4, 8))
    assert whole == pytest.approx(2 * half)


def test_the_clipped_share_is_verls() -> None:
    seen = view("token_mean")
    clip(clip_low=0.2, clip_high=0.28)(seen)
    assert float(seen.recorded["clip_ratio/region_mean"]) / sum(LENGTHS) == pytest.approx(0.125)


def one(log_ratio: float, advantage: float, **options: float) -> tuple[float, float]:
    """The loss of one token and its gradient in the log-probability."""
    logprob = torch.tensor([log_ratio], dtype=torch.float64, requires_grad=True)
    columns = {"advantage": torch.full_like(logprob, advantage), "old_logprob": torch.zeros_like(logprob)}
    index = torch.zeros(1, dtype=torch.long)
    seen = TokenView(columns=columns, sequence=index, targets=index, given={"logprob": logprob})
    loss = clip(**options)(seen).sum()
    loss.backward()
    assert logprob.grad is not None
    return loss.item(), logprob.grad.item()


@given(st.floats(-3, 3), st.floats(-5, 5), st.floats(0, 0.9), st.floats(0, 10))
def test_the_clip_is_the_papers_minimum(log_ratio: float, advantage: float, low: float, high: float) -> None:
    ratio = np.exp(log_ratio)
    wanted = -min(ratio * advantage, float(np.clip(ratio, 1 - low, 1 + high)) * advantage)
    assert one(log_ratio, advantage, clip_low=low, clip_high=high)[0] == pytest.approx(wanted, abs=1e-6)


@given(st.floats(0.01, 5), st.booleans())
def test_beyond_the_clip_nothing_pushes_further(size: float, up: bool) -> None:
    bound = np.log(1.28) if up else np.log(0.8)
    advantage = size if up else -size
    assert one(bound + (0.01 if up else -0.01), advantage)[1] == 0
    assert one(-bound, advantage)[1] != 0, "the way back is open"
    assert one(0.0, advantage)[1] == pytest.approx(-advantage)


def test_a_dual_clip_bounds_what_a_bad_token_costs() -> None:
    for log_ratio, wanted in ((np.log(2), 2.0), (np.log(2.9), 2.9), (np.log(4), 3.0), (30.0, 3.0)):
        loss, slope = one(log_ratio, -1.0, dual_clip=3.0)
        assert loss == pytest.approx(wanted)
        assert (slope == 0) == (log_ratio > np.log(3))
        assert one(log_ratio, 1.0, dual_clip=3.0) == one(log_ratio, 1.0), "a good token has a bound already"
    assert one(np.log(4), -1.0)[0] == pytest.approx(4.0), "off unless it is set"
    with pytest.raises(ValidationError, match="greater than 1"):
        clip(dual_clip=1.0)


def test_the_share_of_tokens_beyond_the_dual_clip_is_told() -> None:
    seen = view("token_mean")
    clip(dual_clip=1.05)(seen)
    ratios, advantages = (seen.logprob.detach() - seen.columns["old_logprob"]).exp(), seen.columns["advantage"]
    clipped = ratios.clamp(min=0.8)  # below, the clip makes the token cost more
    assert float(seen.recorded["clip_ratio/dual_mean"]) == int(((advantages < 0) & (clipped > 1.05)).sum()) > 0


def test_a_ratio_out_of_range_stays_finite() -> None:
    for log_ratio in (-1e4, 1e4):
        for advantage in (-1.0, 1.0):
            assert all(np.isfinite(one(log_ratio, advantage)))


# --- Monte-Carlo advantages ----------------------------------------------------------------------


@st.composite
def groups(draw: Any) -> GroupSignals:
    """A group of answers, each cut at some places, every state valued."""
    lengths = draw(st.lists(st.integers(1, 20), min_size=1, max_size=5))
    cuts = [sorted(draw(st.sets(st.integers(1, n - 1), max_size=4))) if n > 1 else [] for n in lengths]
    number = st.floats(-3, 3)
    return signals(
        np.array([draw(number) for _ in lengths]),
        lengths,
        tuple(np.array([0, *own]) for own in cuts),
        tuple(np.array([draw(number) for _ in range(len(own) + 1)]) for own in cuts),
    )


def monte_carlo(given_: list[GroupSignals], **options: Any) -> list[list[Floats]]:
    return MonteCarlo(MonteCarlo.Config(**options))(given_)


@given(groups())
def test_the_steps_of_an_answer_add_up_to_what_it_gained(group: GroupSignals) -> None:
    assert group.states_GK is not None
    assert group.values_GK is not None
    (found,) = monte_carlo([group], whiten=False)
    for i, advantage_T in enumerate(found):
        assert advantage_T.shape == (group.lengths_G[i],)
        steps_K = advantage_T[group.states_GK[i]]
        assert steps_K.sum() == pytest.approx(group.rewards_G[i] - group.values_GK[i][0], abs=1e-6)


def test_every_token_of_a_step_gets_the_steps_advantage() -> None:
    group = signals(np.array([1.0]), [6], (np.array([0, 2, 5]),), (np.array([0.5, 0.25, 0.75]),))
    ((advantage_T,),) = monte_carlo([group], whiten=False)
    assert advantage_T.tolist() == [-0.25, -0.25, 0.5, 0.5, 0.5, 0.25]


def test_without_cuts_it_is_the_reward_against_the_prompts_value() -> None:
    group = signals(np.array([1.0, 0.0]), [2, 1], (np.array([0]),) * 2, (np.array([0.25]),) * 2)
    assert [a.tolist() for a in monte_carlo([group], whiten=False)[0]] == [[0.75, 0.75], [-0.25]]


@given(st.lists(groups(), min_size=1, max_size=4))
def test_whitened_advantages_have_mean_zero_and_spread_one_over_all_tokens(batch: list[GroupSignals]) -> None:
    plain, white = (np.concatenate([a for g in monte_carlo(batch, whiten=w) for a in g]) for w in (False, True))
    if plain.size > 1 and plain.std() > 0.1:
        assert white.mean() == pytest.approx(0, abs=1e-6)
        assert white.std(ddof=1) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(np.diff(white) * plain.std(ddof=1), np.diff(plain), atol=1e-5)


@given(st.lists(groups(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_advantages_follow_their_groups(batch: list[GroupSignals], random: Any) -> None:
    order = random.sample(range(len(batch)), len(batch))
    found, permuted = monte_carlo(batch), monte_carlo([batch[place] for place in order])
    tokens = np.concatenate([a for group in found for a in group])
    if tokens.size > 1 and np.isfinite(tokens).all():
        for place, group in zip(order, permuted, strict=True):
            for mine, theirs in zip(group, found[place], strict=True):
                np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_single_token_is_not_whitened() -> None:
    group = signals(np.array([1.0]), [1], (np.array([0]),), (np.array([0.25]),))
    assert monte_carlo([group])[0][0].tolist() == [0.75]
    assert monte_carlo([]) == []


def test_values_that_nobody_provided_are_a_bug() -> None:
    assert MonteCarlo.needs == {"rewards", "values"}
    with pytest.raises(ValueError, match="needs values"):
        monte_carlo([signals(np.array([1.0]), [1])])
