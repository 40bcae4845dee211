"""Monte-Carlo values against values that are known, through the core's own sampling and scoring; and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import toy_coins
from rl_plans import planned
from toy_coins import HEADS, NEEDED, THROWS, value

from r1_plugins.ppo import MonteCarlo
from r1_plugins.rl.signals import Evidence, signals
from r1_plugins.rl.values import MonteCarloStates, valued
from r1core.cli.arithmetic import load_of
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.stages.base import Job
from r1core.stages.context import Context
from r1core.stages.legs import Legs
from r1core.stages.progress import Progress
from r1core.store.rollouts import RolloutsWriter
from r1core.types import At, Group

STANDARD_ERRORS = 4.0
PROMPTS, SAMPLES, CONTINUATIONS = 8, 4, 64
AT = At(step=0, position=0, length=1)
RECIPE = """\
r1: 1
name: coins
engines: {policy: COINS:Coin, sampler: COINS:SAMPLER}
stages:
  zero: {train: {use: rl, preset: ppo_mc}, model: {scratch: {}}, data: {use: COINS:Throws}, problems: COINS:Throws,
         rewards: [COINS:Heads]}
"""


class Estimate(NamedTuple):
    """One state: the mean reward of `n` answers sampled from it, and what it is worth."""

    found: float
    exact: float
    n: int


def within(estimates: list[Estimate]) -> bool:
    """Whether each estimate, and all of them together, lie within 4 standard errors of what is known."""
    gaps = np.array([each.found - each.exact for each in estimates])
    variances = np.array([each.exact * (1 - each.exact) / each.n for each in estimates])
    each = np.abs(gaps) <= STANDARD_ERRORS * np.sqrt(variances) + 1e-12
    together = abs(gaps.sum()) <= STANDARD_ERRORS * np.sqrt(variances.sum())
    return bool(each.all() and together)


@pytest.fixture
def coins(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Context]:
    """A stage that samples with the toy named by the test's parameter."""
    sampler = getattr(request, "param", "Thrower")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("COINS", str(Path(toy_coins.__file__))).replace("SAMPLER", sampler))
    plan = make_plan(resolve(path, "none"), PluginHost.discover())
    job = Job(plan=plan, stage=plan.stage("zero"), folder=tmp_path, artifacts={}, emit=print)
    with job.scoring() as scoring:
        record = RolloutsWriter(tmp_path, keep="none", last=1)
        yield Context(job, job.policy(), scoring, Legs(job), record, Progress(job), start=tmp_path)


def estimates(context: Context) -> tuple[list[Estimate], list[Group]]:
    """Every state of some answers, valued as the trainer does it."""
    groups = context.rollouts(AT, prompts=PROMPTS, samples=SAMPLES)
    options = MonteCarloStates(every=1, most=THROWS, continuations=CONTINUATIONS)
    states = valued(context, AT, groups, options)
    found = [Estimate(float(group.rewards_G.mean()), value(()), SAMPLES) for group in groups]
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        own = states[rollout.problem.id, rollout.sample]
        assert own.starts_K.tolist() == list(range(THROWS))
        for start, mean in zip(own.starts_K[1:], own.values_K[1:], strict=True):
            found.append(Estimate(float(mean), value(rollout.completion_ids[:start].tolist()), CONTINUATIONS))
    return found, groups


def test_the_toys_values_are_right() -> None:
    assert value([1] * NEEDED) == 1.0
    assert value([0] * (THROWS - NEEDED + 1)) == 0.0
    assert value([1, 1, 1, 0, 0]) == pytest.approx(HEADS)
    assert value([]) == pytest.approx(HEADS * value([1]) + (1 - HEADS) * value([0]))


def test_values_are_the_known_ones(coins: Context) -> None:
    found, _ = estimates(coins)
    assert len(found) == PROMPTS + PROMPTS * SAMPLES * (THROWS - 1)
    assert {0.0, 1.0} < {each.exact for each in found}, "states of every kind"
    assert within(found)


@pytest.mark.parametrize("coins", ["Hopeful", "Parrot"], indirect=True)
def test_the_test_above_notices_an_estimator_that_is_biased_or_surer_than_it_may_be(coins: Context) -> None:
    assert not within(estimates(coins)[0])


def test_a_throw_is_worth_what_it_changed(coins: Context) -> None:
    """The advantages of heads and tails, averaged over states, are those of the known values."""
    groups = coins.rollouts(AT, prompts=PROMPTS, samples=SAMPLES)
    options = MonteCarloStates(every=1, most=THROWS, continuations=CONTINUATIONS)
    shown = signals(groups, Evidence(states=valued(coins, AT, groups, options)))
    found = MonteCarlo(MonteCarlo.Config(whiten=False))(shown)
    for side in (0, 1):
        gaps = []
        for group, own in zip(groups, found, strict=True):
            for rollout, advantage_T in zip(group.rollouts, own, strict=True):
                throws = rollout.completion_ids.tolist()
                known = [value(throws[: t + 1]) - value(throws[:t]) for t in range(THROWS)]
                gaps += [advantage_T[t] - known[t] for t in range(1, THROWS) if throws[t] == side]
        assert np.mean(gaps) == pytest.approx(0, abs=STANDARD_ERRORS * np.std(gaps) / np.sqrt(len(gaps)))


# --- what they cost --------------------------------------------------------------------------------


def test_answers_and_tokens_sampled_for_values_are_counted(coins: Context) -> None:
    _, groups = estimates(coins)
    metrics = coins.take_metrics()
    states = [(rollout, cut) for group in groups for rollout in group.rollouts for cut in range(1, THROWS)]
    tokens = sum(CONTINUATIONS * (THROWS - cut) for _, cut in states)
    assert metrics["continuations/answers"] == len(states) * CONTINUATIONS
    assert metrics["continuations/tokens"] == tokens
    assert metrics["continuations/token_share"] == tokens / (tokens + PROMPTS * SAMPLES * THROWS)
    coins.rollouts(At(step=1, position=0, length=1), prompts=1, samples=1)
    assert not [name for name in coins.take_metrics() if name.startswith("continuations/")]


def test_the_plan_says_how_many_there_are_at_most(tmp_path: Path) -> None:
    def lines(options: str) -> tuple[str, ...]:
        plan = planned(tmp_path, options)
        return load_of(plan, plan.stage("zero")).lines[1:]

    # Two batches of 4 problems and 4 answers to each; by default 3 states of an answer, 4 continuations of each.
    assert lines("advantage: grpo") == ()
    assert lines("advantage: monte_carlo") == ("values: at most 384 answers more",)
    assert lines("advantage: monte_carlo, states: {most: 1}") == ("values: at most 128 answers more",)
    assert lines("advantage: remax, refill: {times: 2}") == (
        "refill: at most 64 answers more",
        "greedy: at most 8 answers more",
    )


def test_a_greedy_answer_is_the_likeliest(coins: Context) -> None:
    groups = coins.rollouts(AT, prompts=3, samples=1)
    assert coins.greedy(AT, [group.problem for group in groups]).tolist() == [1.0] * 3
    metrics = coins.take_metrics()
    assert (metrics["greedy/answers"], metrics["greedy/tokens"]) == (3, 3 * THROWS)
    assert metrics["greedy/token_share"] == 0.5
