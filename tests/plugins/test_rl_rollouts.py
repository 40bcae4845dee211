"""What a rollout batch tells the RL loop: values of intermediate states, signals of groups, and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toy_rl import Batchwise, always, stage, train
from toy_training import LOST, group, problem, rollout

from r1_plugins.rl.metrics import rollout_metrics
from r1core.types import Floats, Group, Score

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


def test_cuts_may_come_after_every_so_many_tokens() -> None:
    assert states_of([A, B, DOT, A, B, B, A], every=3)[0] == [3, 6]
    assert states_of([A, B, DOT], every=3)[0] == []
    assert states_of([A] * 9, every=1, most=3)[0] == [1, 5, 8]


def test_many_cuts_are_thinned_evenly() -> None:
    answer = [A, DOT] * 9 + [B]
    assert states_of(answer, most=20)[0] == list(range(2, 20, 2))
    assert states_of(answer, most=3)[0] == [2, 10, 18]
    assert states_of(answer, most=1)[0] == [2]


def test_a_state_whose_continuations_are_all_lost_is_left_out_not_worth_nothing() -> None:
    context = stage(always(group("a", 1.0, 0.0, tokens=[(A, DOT, B), (B,)])))
    context.continuation_reward = lambda rollout, kept: np.array([np.nan, np.nan])
    train(context, advantage={"use": "monte_carlo", "whiten": False})
    (batch,) = context.policy.updates
    # the prompt is worth 0.5, the answers 1 and 0: one step each, as if nothing had been cut
    assert [list(sequence.columns["advantage"]) for sequence in batch] == [[0.5, 0.5, 0.5], [-0.5]]


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
    gaps = {name for name in step.metrics if name.startswith("sampler/")}
    assert set(step.metrics) - gaps == TRL_NAMES | parts_names | {"empty_batch", "learned_tokens"}


def test_only_tokens_of_an_update_count_as_learned() -> None:
    kept = {"filters": ["zero_variance"]}
    (step,) = train(stage(always(group("a", 1.0, 0.0), group("b", 1.0, 1.0), group("c", 0.0, 0.0))), **kept)
    assert step.metrics["num_tokens"] == 18
    assert step.metrics["learned_tokens"] == 6, "the filter leaves out groups in which all are worth the same"
    (step,) = train(stage(always(group("a", 1.0, 1.0))), **kept)
    assert (step.metrics["num_tokens"], step.metrics["learned_tokens"]) == (6, 0)


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


def test_the_mean_of_nothing_is_left_out_rather_than_nought() -> None:
    lost = rollout_metrics([group("a", LOST, LOST)])
    assert "reward" not in lost
    assert lost["completions/mean_length"] == 3
    assert rollout_metrics([]) == {"num_tokens": 0.0}


def test_a_step_shows_another_problem_each_time() -> None:
    context = stage(always(group("a", 1.0, 0.0), group("b", 2.0, 0.0)))
    shown = [(step.sample, step.score) for step in train(context, steps=3)]
    assert [(s.problem.id, score.value) for s, score in shown if s and score] == [("a", 1.0), ("b", 2.0), ("a", 1.0)]
    (step,) = train(stage(always()))
    assert (step.sample, step.score) == (None, None)
