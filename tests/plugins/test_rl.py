"""The RL loop: what it samples, what it learns from and what it leaves out. No model is needed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_rl import always, stage, train, used
from toy_training import LOST, ToyContext, group, problem, rollout

from r1_plugins.ppo import PpoClip
from r1_plugins.rl import Rl
from r1_plugins.rl.signals import shuffled
from r1core.errors import RecipeError
from r1core.types import Group, Score

# --- steps and shares ----------------------------------------------------------------------------


def test_every_step_samples_anew_by_default() -> None:
    context = stage(lambda at: [group("p", at.step, at.step + 0.5)])
    steps = train(context, steps=3, prompts=5, samples=2, lr=1e-3)
    assert [used(batch) for batch in context.policy.updates] == [[0, 0.5], [1, 1.5], [2, 2.5]]
    assert [(prompts, samples) for _, prompts, samples in context.asked] == [(5, 2)] * 3
    assert [step.metrics["learning_rate"] for step in steps] == [1e-3] * 3 == context.policy.rates
    assert all(step.metrics["loss"] == 0.25 for step in steps)


def test_a_rollout_batch_spans_its_updates() -> None:
    context = stage(lambda at: [group(f"{n}", *(10 * at.step + 4 * n + i for i in range(4))) for n in range(2)])
    train(context, steps=6, updates_per_rollout=3)
    assert [at.step for at, *_ in context.asked] == [0, 3]
    first, second = context.policy.updates[:3], context.policy.updates[3:]
    assert sorted(len(share) for share in first) == [2, 3, 3]
    assert sorted(a for share in first for a in used(share)) == list(range(8))
    assert sorted(a for share in second for a in used(share)) == list(range(30, 38))
    assert [used(share) for share in first] != [[0, 1, 2], [3, 4, 5], [6, 7]], "the shares are random"


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7))
def test_every_answer_is_learned_from_once(updates: int, groups: int, samples: int) -> None:
    context = stage(always(*(group(f"{n}", *(samples * n + i for i in range(samples))) for n in range(groups))))
    steps = train(context, steps=updates, updates_per_rollout=updates)
    assert len(steps) == updates
    assert len(context.asked) == 1
    assert sorted(a for batch in context.policy.updates for a in used(batch)) == list(range(groups * samples))


def test_a_share_without_answers_is_a_step_without_an_update() -> None:
    context = stage(always(group("p", 0.0, 1.0)))
    steps = train(context, steps=3, updates_per_rollout=3)
    assert len(context.policy.updates) == 2
    assert sorted(step.metrics["loss"] for step in steps) == [0.0, 0.25, 0.25]


def test_an_extension_begins_with_rollouts_of_its_own() -> None:
    context = stage(always(group("p", 0.0, 1.0, 2.0, 3.0)), extra=(2,))
    train(context, steps=3, updates_per_rollout=2, lr={"peak": 1.0, "decay": "linear"})
    assert [at.step for at, *_ in context.asked] == [0, 2, 3]
    assert context.policy.rates == pytest.approx([1, 2 / 3, 1 / 3, 1, 1 / 2])


def test_the_same_stage_trains_the_same_again() -> None:
    def updates() -> list[list[float]]:
        context = stage(always(group("p", *range(8))))
        train(context, steps=4, updates_per_rollout=4, shuffle_rewards=True)
        return [used(batch) for batch in context.policy.updates]

    assert updates() == updates()


def test_each_token_has_its_weight_in_the_step() -> None:
    made = group("p", 1.0, 2.0, tokens=[(5, 6, 7, 8), (5, 6)])
    weights = {}
    for how in ("token_mean", "sequence_mean", "constant"):
        context = stage(always(made))
        train(context, aggregation=how, longest=8)
        ((long, short),) = context.policy.updates
        assert (long.start, long.ids.tolist()) == (2, [1, 2, 5, 6, 7, 8])
        weights[how] = (long.columns["weight"].tolist(), short.columns["weight"].tolist())
    assert weights == {
        "token_mean": ([1 / 6] * 4, [1 / 6] * 2),
        "sequence_mean": ([1 / 8] * 4, [1 / 4] * 2),
        "constant": ([1 / 16] * 4, [1 / 16] * 2),
    }


# --- what is left out ----------------------------------------------------------------------------


def test_filters_drop_in_order() -> None:
    context = stage(always(group("a", 0.0, 1.0, 2.0), group("b", -1.0, 3.0), group("c", -1.0, -2.0)))
    train(context, filters=["positive", "zero_variance"])
    assert [used(batch) for batch in context.policy.updates] == [[1.0, 2.0]]
    assert [name for kind, name in context.chosen if kind == "filter"] == ["positive", "zero_variance"]


def test_the_estimator_sees_what_the_filters_left() -> None:
    context = stage(always(group("a", 0.0, 1.0, 3.0)))
    train(context, advantage={"use": "grpo", "normalize_std": False}, filters=["positive"])
    assert [used(batch) for batch in context.policy.updates] == [[-1.0, 1.0]]


@pytest.mark.parametrize("advantage", ["echo", "grpo", "batchwise"])
def test_a_lost_answer_is_not_learned_from(advantage: str) -> None:
    context = stage(always(group("a", 1.0, LOST, 0.0), group("b", LOST, LOST)))
    steps = train(context, advantage=advantage)
    ((one, other),) = context.policy.updates
    wanted = [-0.7071, 0.7071] if advantage == "grpo" else [0.0, 1.0]
    assert used([one, other]) == pytest.approx(wanted, abs=1e-4)
    assert all(np.isfinite(list(step.metrics.values())).all() for step in steps)
    assert steps[0].metrics["reward"] == 0.5


def test_a_lost_answer_does_not_move_its_group() -> None:
    batches = []
    for scores in ((1.0, LOST, 0.0, 0.25), (1.0, 0.0, 0.25)):
        context = stage(always(group("a", *scores)))
        train(context, advantage="grpo")
        batches += [used(batch) for batch in context.policy.updates]
    assert batches[0] == batches[1]


@pytest.mark.parametrize("scores", [(1.0, 1.0, 1.0), (0.0, 0.0), (LOST, LOST), (1.0, LOST, 1.0)])
def test_equal_rewards_are_a_step_without_an_update(scores: Any) -> None:
    context = stage(always(group("a", *scores)))
    (step,) = train(context, advantage="grpo", filters=["zero_variance"], kl={"coefficient": 0.1})
    assert context.policy.updates == []
    assert (step.metrics["loss"], step.metrics["grad_norm"]) == (0.0, 0.0)
    assert np.isfinite(list(step.metrics.values())).all()
    assert step.metrics["empty_batch"] == 1.0
    assert step.note.startswith("nothing to learn from: ")


@pytest.mark.parametrize("equal", [0.1, 0.7, 1 / 3])
def test_equal_rewards_have_an_advantage_of_exactly_nought(equal: float) -> None:
    context = stage(always(group("a", *[equal] * 7)))  # the mean of seven tenths is not a tenth
    (step,) = train(context, advantage="grpo")
    assert all((sequence.columns["advantage"] == 0).all() for sequence in context.policy.updates[0])
    assert step.metrics["empty_batch"] == 1.0


def test_a_step_says_why_it_had_nothing_to_learn_from() -> None:
    asked = problem("a")
    cut = tuple(rollout(asked, number, finish="length") for number in range(2))
    batches = [
        group("a", LOST, LOST),
        group("a", 1.0, 1.0),
        group("a", 1.0, 0.5, tokens=[(), ()]),
        group("a", -1.0, -2.0),
        Group(problem=asked, rollouts=cut, scores=(Score(value=0.0), Score(value=0.0))),
        group("a", 1.0, 2.0),
    ]
    context = stage(lambda at: [batches[at.step]])
    steps = train(context, advantage="grpo", steps=6, filters=["positive"])
    assert [step.note.removeprefix("nothing to learn from: ") for step in steps] == [
        "none of 2 answers has a verdict",
        "all answers are worth the same in 1 of 1 groups",
        "all 2 answers are empty",
        "the filters left none of 2 answers",
        "all answers are worth the same in 1 of 1 groups; 2 of 2 answers were cut off at the limit",
        "",
    ]
    assert [step.metrics["empty_batch"] for step in steps] == [1.0] * 5 + [0.0]


@pytest.mark.parametrize(("updates", "resumable"), [(1, [True] * 5), (2, [False, True, False, True, True])])
def test_only_the_last_step_on_a_rollout_batch_can_be_gone_on_from(updates: int, resumable: list[bool]) -> None:
    steps = train(stage(always(group("a", *range(4)))), steps=5, updates_per_rollout=updates)
    assert [step.resumable for step in steps] == resumable


def test_an_answer_without_tokens_is_left_out() -> None:
    context = stage(always(group("a", 1.0, 2.0, tokens=[(), (5,)])))
    train(context)
    assert [used(batch) for batch in context.policy.updates] == [[2.0]]


# --- the control with shuffled rewards -----------------------------------------------------------


def test_shuffled_rewards_go_to_other_answers() -> None:
    context = stage(always(*(group(f"{n}", *(8 * n + i for i in range(8))) for n in range(4))))
    (step,) = train(context, shuffle_rewards=True)
    (batch,) = context.policy.updates
    assert used(batch) == list(range(32))
    assert [float(s.columns["advantage"][0]) for s in batch] != list(range(32))
    assert step.metrics["reward"] == pytest.approx(15.5)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 2**64 - 1))
def test_a_shuffle_is_a_permutation_over_the_batch(sizes: list[int], key: int) -> None:
    groups = [group(f"{n}", *(10 * n + i for i in range(size))) for n, size in enumerate(sizes)]
    mixed = shuffled(groups, key=key)
    assert [[r.sample for r in g.rollouts] for g in mixed] == [list(range(size)) for size in sizes]
    before, after = (sorted(v for g in gs for v in g.rewards_G) for gs in (groups, mixed))
    assert before == after
    assert [g.scores for g in shuffled(groups, key=key)] == [g.scores for g in mixed]


# --- log-probabilities ---------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "wanted", "asked"), [("policy", -1.0, 2), ("sampler", -0.5, 0)])
def test_the_old_logprobs_are_the_policys_or_the_samplers(mode: str, wanted: float, asked: int) -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, old_logprobs=mode)
    ((one, other),) = context.policy.updates
    for sequence in (one, other):
        assert sequence.columns["old_logprob"].tolist() == [wanted] * 3
        assert "ref_logprob" not in sequence.columns
    assert context.policy.asked == asked
    assert context.references == 0


def test_old_logprobs_are_taken_before_the_first_update_of_the_batch() -> None:
    context = stage(always(group("a", *range(8))))
    trainer = Rl(Rl.Config.model_validate({"advantage": "echo", "steps": 4, "updates_per_rollout": 4}))
    for _ in trainer.run(context):
        context.policy.logprob -= 1.0
    assert {float(s.columns["old_logprob"][0]) for batch in context.policy.updates for s in batch} == {-1.0}


def reference_used(context: ToyContext) -> list[float]:
    return [float(batch[0].columns["ref_logprob"][0]) for batch in context.policy.updates]


def test_the_reference_is_the_start_unless_it_is_refreshed() -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, steps=5, kl={"coefficient": 0.1})
    assert (context.references, context.refreshed) == (1, [])
    assert reference_used(context) == [-11.0] * 5


def test_the_reference_is_refreshed_before_the_step_that_follows_so_many() -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, steps=5, kl={"coefficient": 0.1, "refresh_every": 2})
    assert context.refreshed == [2, 4]
    assert reference_used(context) == [-11.0, -11.0, -12.0, -12.0, -13.0]


def test_the_loss_is_the_objective_with_the_penalty() -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, objective={"use": "ppo_clip", "clip_high": 10}, kl={"coefficient": 0.1, "estimator": "k2"})
    (loss,) = context.policy.losses
    assert loss.objective.config.clip_high == 10
    assert (loss.kl.coefficient, loss.kl.estimator) == (0.1, "k2")
    assert loss.reads == PpoClip.reads


def test_the_loop_needs_no_torch() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import toy_rl as t, toy_training\n"
        "context = t.stage(t.always(toy_training.group('a', 1.0, 0.0)))\n"
        "t.train(context, advantage='grpo', kl={'coefficient': 0.1}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_samplers_logprobs_at_another_temperature_are_refused() -> None:
    unmeasured = [replace(r, logprobs=None) for r in group("a", 1.0, 0.0).rollouts]
    context = stage(always(replace(group("a", 1.0, 0.0), rollouts=tuple(unmeasured))))
    with pytest.raises(RecipeError, match="temperature 1") as caught:
        train(context, old_logprobs="sampler")
    assert "old_logprobs: policy" in caught.value.fix
    assert not context.policy.updates
