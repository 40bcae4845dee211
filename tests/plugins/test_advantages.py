"""Advantage estimators: the numbers that other implementations give, and what holds of each for any rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_rl import always, stage, train
from toy_training import LOST, group

from r1core.components import AdvantageEstimator
from r1core.errors import RecipeError
from r1core.plugins import PluginHost
from r1core.types import Floats, GroupSignals, Score

HOST = PluginHost.discover(allow=())
NAMES = sorted(c.name for c in HOST.components() if c.kind == "advantage")

# The batch on which verl 0.9.1, TRL 1.16.0, NeMo-RL and OpenRLHF were run: two problems, three answers each.
REWARDS = ([1.0, 0.0, 0.5], [0.0, 0.0, 1.0])
LENGTHS = ([4, 2, 3], [1, 4, 2])
GREEDY = (0.5, 0.0)
VALUES = (
    ([0.1, 0.2, 0.3, 0.4], [0.5, 0.4], [0.2, 0.2, 0.2]),
    ([0.3], [0.1, 0.1, 0.1, 0.1], [0.6, 0.7]),
)
GOLDEN: Sequence[tuple[str, dict[str, Any], list[float]]] = [
    ("grpo", {}, [0.999998, -0.999998, 0, -0.577349, -0.577349, 1.154698]),
    ("grpo", {"eps": 1e-4}, [0.9998, -0.9998, 0, -0.57725, -0.57725, 1.1545]),
    ("grpo", {"normalize_std": False}, [0.5, -0.5, 0, -0.333333, -0.333333, 0.666667]),
    ("dr_grpo", {}, [0.5, -0.5, 0, -0.333333, -0.333333, 0.666667]),
    ("rloo", {}, [0.75, -0.75, 0, -0.5, -0.5, 1.0]),
    ("opo", {}, [0.388889, -0.611111, -0.111111, -0.285714, -0.285714, 0.714286]),
    ("gpg", {"alpha": "rewards"}, [1, -1, 0, -0.666667, -0.666667, 1.333333]),
    ("reinforce_pp", {}, [1.144061, -1.009466, 0.067298, -1.009466, -1.009466, 1.144061]),
    ("reinforce_pp", {"ddof": 0}, [1.181582, -1.042572, 0.069505, -1.042572, -1.042572, 1.181582]),
    ("reinforce_pp_baseline", {}, [1.039402, -1.228384, -0.094491, -0.85042, -0.85042, 1.417367]),
    ("reinforce_pp_baseline", {"ddof": 0}, [1.07349, -1.26867, -0.09759, -0.87831, -0.87831, 1.46385]),
    ("remax", {}, [0.5, -0.5, 0, 0, 0, 1]),
    ("pass_at_k", {}, [0.999998, 0, 0, 0, 0, 1.732048]),
]
"""One advantage for each answer, its first token's."""


def estimator(name: str, **options: Any) -> AdvantageEstimator:
    cls = HOST.find("advantage", name)
    made: AdvantageEstimator = cls(cls.Config.model_validate(options))
    return made


def signals(rewards: Sequence[float], lengths: Sequence[int], **more: Any) -> GroupSignals:
    return GroupSignals(rewards_G=np.array(rewards, dtype=float), lengths_G=np.array(lengths), **more)


def batch() -> list[GroupSignals]:
    """The two problems, with all that any estimator reads of them."""
    return [
        signals(r, n, greedy=g, critic_GT=tuple(np.array(v) for v in own), components={"one": np.array(r)})
        for r, n, g, own in zip(REWARDS, LENGTHS, GREEDY, VALUES, strict=True)
    ]


def flat(advantages: Sequence[Sequence[Floats]]) -> Floats:
    return np.concatenate([own for each in advantages for own in each] or [np.zeros(0)])


# --- numbers of other implementations ------------------------------------------------------------


@pytest.mark.parametrize(("name", "options", "wanted"), GOLDEN)
def test_the_advantages_are_those_of_other_implementations(
    name: str, options: dict[str, Any], wanted: list[float]
) -> None:
    found = [float(own[0]) for each in estimator(name, **options)(batch()) for own in each]
    digits = 1e-5 if options.get("ddof") == 0 and name.endswith("baseline") else 1e-6  # printed with five digits
    np.testing.assert_allclose(found, wanted, atol=digits)


def test_gae_is_verls_but_for_its_padding() -> None:
    gae = estimator("gae", gamma=0.9, lam=0.95)
    advantages, returns = gae(batch()), gae.returns(batch())
    np.testing.assert_allclose(advantages[0][0], [1.204509, 1.207826, 1.244372, 1.319782], atol=1e-6)
    np.testing.assert_allclose(returns[0][0], [0.658727, 0.759915, 0.873, 1.0], atol=1e-6)
    np.testing.assert_allclose(advantages[1][2], [0.444194, 0.481899], atol=1e-6)
    np.testing.assert_allclose(returns[1][2], [0.8865, 1.0], atol=1e-6)


def test_the_critic_may_learn_with_a_lambda_of_its_own() -> None:
    decoupled = estimator("gae", lam=0.5, critic_lam=1.0)
    np.testing.assert_array_equal(flat(decoupled(batch())), flat(estimator("gae", lam=0.5)(batch())))
    np.testing.assert_allclose(flat(decoupled.returns(batch())), flat(estimator("gae", lam=1.0).returns(batch())))
    assert not np.allclose(flat(decoupled.returns(batch())), flat(estimator("gae", lam=0.5).returns(batch())))


def test_with_lambda_1_a_critic_learns_the_reward_that_is_still_to_come() -> None:
    wanted = [
        np.full(n, r)
        for rewards, lengths in zip(REWARDS, LENGTHS, strict=True)
        for r, n in zip(rewards, lengths, strict=True)
    ]
    np.testing.assert_allclose(flat(estimator("gae").returns(batch())), np.concatenate(wanted), atol=1e-12)
    np.testing.assert_allclose(flat(estimator("grpo").returns(batch())), np.concatenate(wanted), atol=1e-12)


# --- what only one of them does ------------------------------------------------------------------


def test_maxrl_is_the_gradient_of_the_log_pass_rate() -> None:
    (found,) = estimator("maxrl", eps=0)([signals([1, 0, 0, 0], [1] * 4)])
    assert np.ravel(found).tolist() == [3.0, -1.0, -1.0, -1.0]
    (none,) = estimator("maxrl")([signals([0, 0, 0], [1] * 3)])
    assert not np.any(none)


def test_gpg_makes_up_for_the_groups_that_say_nothing() -> None:
    told, silent = signals([1, 0], [1, 1]), signals([1, 1], [1, 1])
    alone, beside = (estimator("gpg")(each) for each in ([told], [told, silent, silent]))
    assert np.ravel(alone[0]).tolist() == [0.5, -0.5]
    assert np.ravel(beside[0]).tolist() == [1.5, -1.5]


@pytest.mark.parametrize(("one", "other"), [([1, 1, 0, 0], [0.4, 0, 0.4, 0]), ([0.9, 0, 0, 0], [0, 0.2, 0.2, 0.2])])
def test_gdpo_gives_each_reward_its_say_however_small(one: list[float], other: list[float]) -> None:
    def found(scale: float) -> Floats:
        parts = {"one": np.array(one), "other": np.array(other) * scale}
        group = signals(sum(parts.values()), [1] * 4, components=parts)
        return flat(estimator("gdpo", eps=0)([group]))

    np.testing.assert_allclose(found(1.0), found(0.01), atol=1e-9)


def test_gdpo_weighs_rewards_by_name() -> None:
    parts = {"one": np.array([1.0, 0.0]), "other": np.array([0.0, 1.0])}
    group = signals([1.0, 1.0], [1, 1], components=parts)
    assert not flat(estimator("gdpo")([group])).any()
    assert flat(estimator("gdpo", weights={"one": 2.0})([group])).tolist() == pytest.approx([0.707, -0.707], abs=1e-3)
    with pytest.raises(RecipeError, match="weighs 'none', which is no reward") as caught:
        estimator("gdpo", weights={"none": 1.0})([group])
    assert caught.value.fix == "rewards: one, other"


def test_gdpo_may_whiten_over_tokens_as_verl_does() -> None:
    found = estimator("gdpo", whiten="tokens", eps=1e-6)(batch())
    tokens = flat(found)
    assert [len(own) for each in found for own in each] == [4, 2, 3, 1, 4, 2]
    assert tokens.mean() == pytest.approx(0, abs=1e-9)
    assert tokens.std(ddof=1) == pytest.approx(1, abs=1e-6)


ONE = ["grpo", "dr_grpo", "rloo", "opo", "gpg", "gdpo", "reinforce_pp_baseline"]


@pytest.mark.parametrize("name", ONE)
def test_a_group_of_one_is_worth_nothing_or_its_reward(name: str) -> None:
    alone = signals([0.75], [3], components={"one": np.array([0.75])})
    assert not flat(estimator(name)([alone])).any()
    plain = {"gdpo": {"whiten": "none"}, "gpg": {"alpha": "groups"}}.get(name, {})
    kept = estimator(name, group_of_one="reward", **plain)([alone])
    if name == "reinforce_pp_baseline":  # whitened over its three equal tokens
        assert not flat(kept).any()
    else:
        assert float(kept[0][0][0]) == pytest.approx(0.75, abs=1e-3)


# --- penalties in the reward ---------------------------------------------------------------------

CHARGED = (np.array([0.1, 0.0, 0.3]), np.array([0.2]))


def charged() -> GroupSignals:
    """Two answers worth 1 and 0 before their tokens were charged."""
    rewards = np.array([1.0, 0.0]) - [own.sum() for own in CHARGED]
    return signals(
        rewards, [3, 1], penalties_GT=CHARGED, greedy=0.25, critic_GT=(np.array([0.5, 0.6, 0.7]), np.zeros(1))
    )


def test_penalties_fall_where_they_are_caused() -> None:
    rewards = charged().token_rewards_GT()
    np.testing.assert_allclose(rewards[0], [-0.1, 0.0, 0.7], atol=1e-12)
    np.testing.assert_allclose(rewards[1], [-0.2], atol=1e-12)
    assert CHARGED[0].tolist() == [0.1, 0.0, 0.3]


def test_gae_and_remax_charge_a_token_for_what_follows_it_alone() -> None:
    remax = estimator("remax")([charged()])[0]
    np.testing.assert_allclose(remax[0], [0.6 - 0.25, 0.7 - 0.25, 0.7 - 0.25], atol=1e-12)
    ahead = estimator("gae", lam=0.0, whiten=False)([charged()])[0]
    np.testing.assert_allclose(ahead[0], [-0.1 + 0.6 - 0.5, 0.7 - 0.6, 0.7 - 0.7], atol=1e-12)
    returns = estimator("gae").returns([charged()])[0]
    np.testing.assert_allclose(returns[0], [0.6, 0.7, 0.7], atol=1e-12)


def test_reinforce_pp_whitens_what_is_still_to_come() -> None:
    ((one, other),) = estimator("reinforce_pp")([charged()])
    tokens = np.array([0.6, 0.7, 0.7, -0.2])
    np.testing.assert_allclose([*one, *other], (tokens - tokens.mean()) / tokens.std(ddof=1), atol=1e-6)


# --- all of them ---------------------------------------------------------------------------------


@st.composite
def groups(draw: Any) -> GroupSignals:
    """Any group that may reach an estimator: equal rewards, answers without tokens, a single answer."""
    size = draw(st.integers(1, 5))
    reward = st.one_of(st.sampled_from([0.0, 1.0, 0.1]), st.floats(-1e6, 1e6))
    rewards = np.array([draw(reward) for _ in range(size)])
    lengths = [draw(st.integers(0, 4)) for _ in range(size)]
    return signals(
        rewards,
        lengths,
        components={"one": rewards / 2, "other": rewards / 2},
        greedy=draw(reward),
        critic_GT=tuple(np.array([draw(reward) for _ in range(n)], dtype=float) for n in lengths),
        states_GK=(np.array([0]),) * size,
        values_GK=tuple(np.array([draw(reward)]) for _ in range(size)),
    )


@pytest.mark.parametrize("name", NAMES)
@given(batch=st.lists(groups(), min_size=1, max_size=3))
@settings(max_examples=60)
def test_no_group_makes_an_advantage_that_is_not_finite(name: str, batch: list[GroupSignals]) -> None:
    made = estimator(name)
    asked = [batch] if made.scope == "batch" else [[each] for each in batch]
    for own in asked:
        found = made(own)
        assert [len(each) for each in found] == [len(each.rewards_G) for each in own]
        assert np.isfinite(flat(found)).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("monte_carlo", "gae", "remax")])
@given(st.sampled_from([0.1, 0.7, 1 / 3, -2.0]), st.integers(1, 9))
def test_equal_rewards_are_worth_exactly_nothing(name: str, reward: float, size: int) -> None:
    equal = signals([reward] * size, [2] * size, components={"one": np.full(size, reward)})
    assert not flat(estimator(name)([equal])).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_loop_trains_with_each_on_answers_that_were_lost_or_empty(name: str) -> None:
    one, other, third = (Score(value=value, parts={"accuracy": value}) for value in (1.0, 0.0, 0.5))
    answers = group("a", one, LOST, other, third, tokens=[(5, 6), (5,), (6, 7, 8), ()])
    context = stage(always(answers, group("b", LOST, LOST)))
    (step,) = train(context, advantage=name, samples=4)
    ((long, short),) = context.policy.updates
    assert [len(s.columns["advantage"]) for s in (long, short)] == [2, 3]
    assert all(np.isfinite(s.columns["advantage"]).all() for s in (long, short))
    assert long.columns["advantage"].any()
    assert np.isfinite(list(step.metrics.values())).all()


def test_greedy_answers_are_sampled_for_remax_alone_and_a_group_without_one_is_left_out() -> None:
    context = stage(always(group("a", 1.0, 0.0), group("b", 1.0, 0.5)))
    context.greedy_reward = lambda problem: float("nan") if problem.id == "a" else 0.25
    train(context, advantage="remax")
    assert context.greedily == ["a", "b"]
    ((one, other),) = context.policy.updates
    assert (one.columns["advantage"].tolist(), other.columns["advantage"].tolist()) == ([0.75] * 3, [0.25] * 3)
    train(context, advantage="rloo")
    assert context.greedily == ["a", "b"]


def test_what_a_reward_gave_without_tokens_is_no_bug() -> None:
    assert [a.shape for a in estimator("remax")([signals([1.0, 0.0], [0, 2], greedy=0.5)])[0]] == [(0,), (2,)]


@pytest.mark.parametrize(
    ("name", "missing"), [("remax", "greedy"), ("gae", "critic"), ("monte_carlo", "values"), ("gdpo", "one by one")]
)
def test_what_nobody_provided_is_a_bug_that_says_so(name: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        estimator(name)([signals([1.0, 0.0], [1, 1])])
