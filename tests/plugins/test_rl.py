"""The RL loop: what it samples, what it learns from, what it leaves out, and what it logs. No model is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_training import LOST, ToyContext, group, problem, rollout

from r1_plugins.grpo import Grpo, ZeroVariance
from r1_plugins.ppo import MonteCarlo, PpoClip
from r1_plugins.rl import Rl
from r1_plugins.rl.metrics import rollout_metrics
from r1_plugins.rl.signals import shuffled
from r1core.components import AdvantageEstimator, DataFilter
from r1core.types import At, Floats, Group, GroupSignals, Score, Step, TrainSequence, Verdict


class Echo(AdvantageEstimator):
    """The advantage is the reward, so that an update shows whose reward it used."""

    name = "echo"

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        return [list(group.rewards_G[:, None]) for group in groups]


class Batchwise(Echo):
    """Sees all groups at once."""

    name = "batchwise"
    scope = "batch"
    seen: list[Sequence[GroupSignals]]

    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        Batchwise.seen = [*getattr(Batchwise, "seen", []), groups]
        return super().__call__(groups)


class Positive(DataFilter):
    """Keeps answers with a reward above zero."""

    name = "positive"

    def judge(self, group: Group) -> list[Verdict]:
        return [Verdict(keep=value > 0) for value in group.rewards_G]


BUILT = (Grpo, MonteCarlo, PpoClip, ZeroVariance, Echo, Batchwise, Positive)


def stage(groups: Callable[[At], list[Group]], **options: Any) -> ToyContext:
    return ToyContext(groups, built=BUILT, **options)


def train(context: ToyContext, **options: Any) -> list[Step]:
    trainer = Rl(Rl.Config.model_validate({"advantage": "echo", "steps": 1, **options}))
    return list(trainer.run(context))


def always(*groups: Group) -> Callable[[At], list[Group]]:
    return lambda at: list(groups)


def used(batch: Sequence[TrainSequence]) -> list[float]:
    """The advantage of each sequence of an update, sorted."""
    assert all(np.ptp(sequence.columns["advantage"]) == 0 for sequence in batch)
    return sorted(float(sequence.columns["advantage"][0]) for sequence in batch)


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
    assert context.snapshots == []


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
    assert context.snapshots == [-1]
    assert reference_used(context) == [-11.0] * 5


def test_the_reference_is_refreshed_after_every_so_many_steps() -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, steps=5, kl={"coefficient": 0.1, "refresh_every": 2})
    assert context.snapshots == [-1, 1, 3]
    assert reference_used(context) == [-11.0, -11.0, -12.0, -12.0, -13.0]


def test_the_loss_is_the_objective_with_the_penalty() -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, objective={"use": "ppo_clip", "clip_high": 10}, kl={"coefficient": 0.1, "estimator": "k2"})
    (loss,) = context.policy.losses
    assert loss.objective.config.clip_high == 10
    assert (loss.coefficient, loss.estimator) == (0.1, "k2")
    assert loss.reads == PpoClip.reads


def test_k1_is_not_offered() -> None:
    with pytest.raises(ValidationError, match="estimator"):
        Rl.Config.model_validate({"kl": {"coefficient": 0.1, "estimator": "k1"}})


# --- Monte-Carlo values --------------------------------------------------------------------------

DOT, A, B = ord("."), ord("a"), ord("b")


def test_values_are_sampled_only_for_an_estimator_that_needs_them() -> None:
    answers = [(A, DOT, B), (A, DOT, B)]
    for advantage, asked in (("echo", 0), ("grpo", 0), ("monte_carlo", 2)):
        context = stage(always(group("a", 1.0, 0.0, tokens=answers)))
        train(context, advantage=advantage)
        assert len(context.states) == asked


def states_of(tokens: Sequence[int], **options: Any) -> tuple[list[int], Floats]:
    """Where one answer is cut, and its advantage; a state is worth the number of tokens it keeps."""
    context = stage(always(group("a", 100.0, 0.0, tokens=[tokens, (A,)])))
    context.continuation_reward = lambda rollout, kept: np.array([kept - 1.0, np.nan, kept + 1.0])
    train(context, advantage={"use": "monte_carlo", "whiten": False}, states=options)
    (batch,) = context.policy.updates
    return [kept for _, kept in context.states], batch[0].columns["advantage"]


def test_answers_are_cut_after_a_boundary_and_valued_by_their_continuations() -> None:
    cuts, advantage_T = states_of([A, A, DOT, B, DOT, B, B])
    assert cuts == [3, 5]
    assert advantage_T.tolist() == [3 - 50] * 3 + [5 - 3] * 2 + [100 - 5] * 2


def test_nothing_is_cut_off_at_the_end_of_an_answer() -> None:
    assert states_of([A, B, DOT])[0] == []
    assert states_of([DOT])[0] == []
    assert states_of([DOT, DOT])[0] == [1]


def test_boundaries_are_an_option() -> None:
    assert states_of([A, B, DOT, A, B, B], boundaries=["b"])[0] == [2, 5]


def test_many_cuts_are_thinned_evenly() -> None:
    answer = [A, DOT] * 9 + [B]
    assert states_of(answer, most=20)[0] == list(range(2, 20, 2))
    assert states_of(answer, most=3)[0] == [2, 10, 18]
    assert states_of(answer, most=1)[0] == [2]


def test_lost_continuations_leave_a_number() -> None:
    context = stage(always(group("a", 1.0, 0.0, tokens=[(A, DOT, B), (B,)])))
    context.continuation_reward = lambda rollout, kept: np.array([np.nan, np.nan])
    train(context, advantage="monte_carlo")
    (batch,) = context.policy.updates
    assert all(np.isfinite(sequence.columns["advantage"]).all() for sequence in batch)


def test_an_estimator_of_the_batch_sees_all_groups_at_once() -> None:
    Batchwise.seen = []
    train(stage(always(group("a", 1.0, 0.0), group("b", 2.0))), advantage="batchwise")
    (groups,) = Batchwise.seen
    assert [signals.rewards_G.tolist() for signals in groups] == [[1.0, 0.0], [2.0]]
    assert [signals.lengths_G.tolist() for signals in groups] == [[3, 3], [3]]


# --- what is logged ------------------------------------------------------------------------------

TRL_NAMES = {
    "loss",
    "grad_norm",
    "learning_rate",
    "num_tokens",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "completions/mean_length",
    "completions/min_length",
    "completions/max_length",
    "completions/mean_terminated_length",
    "completions/clipped_ratio",
    "entropy",
}


def test_metrics_have_trls_names() -> None:
    parts = Score(value=1.1, parts={"accuracy": 1.0, "format": 0.1})
    (step,) = train(stage(always(group("a", parts, Score(value=0.0, parts={"accuracy": 0.0, "format": 0.0})))))
    parts_names = {f"rewards/{name}/{what}" for name in ("accuracy", "format") for what in ("mean", "std")}
    assert set(step.metrics) == TRL_NAMES | parts_names


def test_metrics_are_of_the_whole_rollout_batch() -> None:
    asked = problem("a")
    answers = (
        rollout(asked, 0, (5, 6), logprob=-1.0),
        rollout(asked, 1, (5, 6, 7, 8), logprob=-0.25, finish="length"),
    )
    scores = (Score(value=1.0, parts={"accuracy": 1.0}), Score(value=0.0, parts={"accuracy": 0.0}))
    found = rollout_metrics([Group(problem=asked, rollouts=answers, scores=scores), group("b", 3.0, 3.0)])
    assert found["reward"] == 1.75
    assert found["reward_std"] == 0.25
    assert found["frac_reward_zero_std"] == 0.5
    assert (found["completions/min_length"], found["completions/max_length"]) == (2, 4)
    assert found["completions/mean_length"] == 3.0
    assert found["completions/mean_terminated_length"] == pytest.approx(8 / 3)
    assert found["completions/clipped_ratio"] == 0.25
    assert found["num_tokens"] == 12
    assert found["entropy"] == pytest.approx((2 * 1.0 + 4 * 0.25 + 6 * 0.5) / 12)
    assert (found["rewards/accuracy/mean"], found["rewards/accuracy/std"]) == (0.5, 0.5)


def test_a_reward_of_some_problems_only_is_averaged_over_these() -> None:
    general = Score(value=2.0, parts={"helpful": 2.0, "format": 0.0})
    found = rollout_metrics([group("a", Score(value=1.0, parts={"accuracy": 1.0})), group("b", general, LOST)])
    assert found["rewards/accuracy/mean"] == 1.0
    assert found["rewards/helpful/mean"] == 2.0
    assert "rewards/helpful/std" in found


def test_a_batch_without_answers_has_numbers_all_the_same() -> None:
    for groups in ([], [group("a", LOST, LOST)]):
        assert np.isfinite(list(rollout_metrics(groups).values())).all()


def test_a_step_shows_another_problem_each_time() -> None:
    context = stage(always(group("a", 1.0, 0.0), group("b", 2.0, 0.0)))
    shown = [(step.sample, step.score) for step in train(context, steps=3)]
    assert [(s.problem.id, score.value) for s, score in shown if s and score] == [("a", 1.0), ("b", 2.0), ("a", 1.0)]
    (step,) = train(stage(always()))
    assert (step.sample, step.score) == (None, None)


def test_the_loop_needs_no_torch() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_rl as t\n"
        "context = t.stage(t.always(t.group('a', 1.0, 0.0)))\n"
        "t.train(context, advantage='grpo', kl={'coefficient': 0.1}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
