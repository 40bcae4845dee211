"""Rejection filters: what is kept, the reasons of what is not, and mistakes that must not pass quietly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.rejection import AtMost, Correct, OneLanguage, r1_filters
from r1core.errors import RecipeError
from r1core.types import Group, Problem, Response, Rollout, Score

PROBLEM = Problem(id="p7")
LOST = Score(value=float("nan"), status="infrastructure", reason="worker_died")


def rollout(sample: int, length: int = 3) -> Rollout:
    return Rollout(
        problem=PROBLEM,
        sample=sample,
        prompt_ids=np.array([1]),
        completion_ids=np.arange(length),
        logprobs=None,
        response=Response.parse("<think></think><answer> 8</answer>"),
    )


def group(*scores: Score, lengths: tuple[int, ...] | None = None) -> Group:
    sizes = lengths or (3,) * len(scores)
    return Group(problem=PROBLEM, rollouts=tuple(rollout(i, n) for i, n in enumerate(sizes)), scores=scores)


def score(accuracy: float, language: float = 1.0) -> Score:
    return Score(value=accuracy + language, parts={"accuracy": accuracy, "language": language})


def reasons(filter_: Correct | AtMost, judged: Group) -> list[str]:
    """The reason of each rejection, `kept` for what is kept."""
    return ["kept" if verdict.keep else verdict.reason for verdict in filter_.judge(judged)]


def at_most(**options: Any) -> AtMost:
    return AtMost(AtMost.Config.model_validate(options))


def test_the_module_registers_its_filters() -> None:
    names = {filter_.name for filter_ in r1_filters()}
    assert names >= {"correct", "one_language", "no_long_paragraphs", "no_code", "no_repetition", "at_most"}


def test_correct_keeps_right_answers_only() -> None:
    judged = group(score(1.0), score(0.0), LOST, score(0.5))
    assert reasons(Correct(Correct.Config()), judged) == ["kept", "incorrect", "not_scored", "incorrect"]


def test_correct_says_why_an_answer_was_not_found_and_nothing_of_one_that_is_wrong() -> None:
    lost = [replace(score(0.0), reason=reason) for reason in ("format", "truncated", "wrong", "test 3 of 10: wrong")]
    other = Score(value=0.0, reason="format", parts={"format": 0.0, "accuracy": 0.0})  # the reason is another part's
    assert reasons(Correct(Correct.Config()), group(*lost, other)) == [
        "incorrect (format)", "incorrect (truncated)", "incorrect", "incorrect", "incorrect",
    ]  # fmt: skip


def test_correct_can_read_another_part_and_threshold() -> None:
    config = Correct.Config(part="language", min=0.5)
    assert reasons(Correct(config), group(score(0.0, 0.5), score(1.0, 0.4))) == ["kept", "incorrect"]


def test_one_language_keeps_thinking_that_does_not_mix() -> None:
    judged = group(score(1.0, 1.0), score(1.0, 0.99), score(1.0, 0.98))
    assert reasons(OneLanguage(OneLanguage.Config()), judged) == ["kept", "kept", "mixed_language"]


def test_a_part_that_is_not_a_number_is_rejected() -> None:
    assert reasons(Correct(Correct.Config()), group(score(float("nan")))) == ["incorrect"]


def test_a_missing_part_stops_the_run_and_names_those_present() -> None:
    with pytest.raises(RecipeError) as caught:
        Correct(Correct.Config(part="tests_pass")).judge(group(score(1.0)))
    assert "no score part 'tests_pass'; present: accuracy, language" in str(caught.value)
    assert "filter 'correct'" in str(caught.value)
    assert "`rewards`" in str(caught.value)


@pytest.mark.parametrize("filter_", [Correct(Correct.Config()), at_most(k=1, rank_by="score")])
def test_unscored_rollouts_stop_the_run(filter_: Correct | AtMost) -> None:
    unscored = Group(problem=PROBLEM, rollouts=(rollout(0), rollout(1)))
    with pytest.raises(RecipeError, match=r"'p7' has 2 rollouts and 0 scores"):
        filter_.judge(unscored)


def test_at_most_keeps_the_first_samples_without_any_score() -> None:
    unscored = Group(problem=PROBLEM, rollouts=tuple(rollout(i) for i in (4, 1, 9)))
    assert reasons(at_most(k=2), unscored) == ["kept", "kept", "more_than_k"]


def test_at_most_prefers_short_answers_and_earlier_ones_on_a_tie() -> None:
    judged = group(score(1), score(1), score(1), score(1), lengths=(9, 4, 7, 4))
    assert reasons(at_most(k=2, rank_by="shortest"), judged) == ["more_than_k", "kept", "more_than_k", "kept"]
    assert reasons(at_most(k=1, rank_by="shortest"), judged).index("kept") == 1


def test_at_most_prefers_high_scores_and_takes_lost_ones_last() -> None:
    judged = group(LOST, score(0.2), score(0.9), score(0.5))
    assert reasons(at_most(k=2, rank_by="score"), judged) == ["more_than_k", "more_than_k", "kept", "kept"]
    assert reasons(at_most(k=4, rank_by="score"), judged) == ["kept"] * 4


def test_at_most_can_rank_by_one_reward_and_takes_what_it_did_not_judge_last() -> None:
    """The combined score says otherwise: 2.9, 2.5 and 1.1."""
    judged = group(score(2.0, 0.9), score(2.0, 0.5), LOST, score(2.0, float("nan")), score(0.1, 1.0))
    ranked = reasons(at_most(k=2, rank_by="part", part="language"), judged)
    assert ranked == ["kept", "more_than_k", "more_than_k", "more_than_k", "kept"]
    with pytest.raises(RecipeError, match="no score part 'helpful'; present: accuracy, language"):
        at_most(k=2, rank_by="part", part="helpful").judge(judged)


@given(
    values=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=8),
    k=st.integers(1, 10),
    rank_by=st.sampled_from(["order", "shortest", "score"]),
)
def test_at_most_keeps_k_or_all_and_none_worse_than_one_left_out(values: list[float], k: int, rank_by: str) -> None:
    judged = group(*(score(value) for value in values))
    verdicts = at_most(k=k, rank_by=rank_by).judge(judged)
    kept = [v for v, verdict in zip(values, verdicts, strict=True) if verdict.keep]
    left = [v for v, verdict in zip(values, verdicts, strict=True) if not verdict.keep]
    assert len(kept) == min(k, len(values))
    if rank_by == "score" and left and kept:
        assert max(left) <= min(kept)


@pytest.mark.parametrize(
    "options",
    [{}, {"k": 0}, {"k": 2, "rank_by": "longest"}, {"k": 2, "rank_by": "part"}, {"k": 2, "part": "accuracy"}],
)
def test_at_most_refuses_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        at_most(**options)


def test_filters_say_whether_they_read_scores() -> None:
    assert Correct(Correct.Config()).needs == OneLanguage(OneLanguage.Config()).needs == {"scores"}
    assert at_most(k=1, rank_by="score").needs == {"scores"}
    assert at_most(k=1, rank_by="part", part="accuracy").needs == {"scores"}
    assert at_most(k=1).needs == at_most(k=1, rank_by="shortest").needs == set()
