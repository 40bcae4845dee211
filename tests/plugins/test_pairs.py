"""The filter `pairs`: which two answers are kept, why others are not, and that chosen answers grow no longer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.rejection import r1_filters
from r1_plugins.rejection.pairs import Pairs
from r1core.errors import RecipeError
from r1core.types import Group, Problem, Response, Rollout, Score

LOST = Score(value=float("nan"), status="infrastructure", reason="worker_died")


def group(*answers: tuple[float | Score, str], domain: str = "general", scored: bool = True) -> Group:
    """One rollout for each (score, what was written)."""
    asked = Problem(id="p", domain=domain)
    ids = np.zeros(1, dtype=np.int64)
    rollouts = tuple(
        Rollout(
            problem=asked, sample=i, prompt_ids=ids, completion_ids=ids, logprobs=None, response=Response.parse(text)
        )
        for i, (_, text) in enumerate(answers)
    )
    scores = tuple(value if isinstance(value, Score) else Score(value=value) for value, _ in answers)
    return Group(problem=asked, rollouts=rollouts, scores=scores if scored else ())


def says(answer: str, thinking: str = "") -> str:
    return f"<think>{thinking}</think>{answer}"


def pairs(**options: Any) -> Pairs:
    return Pairs(Pairs.Config.model_validate(options))


def reasons(judge: Pairs, judged: Group) -> list[str]:
    """The reason of each rejection, `kept` for what is kept."""
    return ["kept" if verdict.keep else verdict.reason for verdict in judge.judge(judged)]


def test_it_is_registered_and_reads_scores() -> None:
    assert Pairs in r1_filters()
    assert pairs().needs == {"scores"}


def test_the_best_and_the_worst_are_kept() -> None:
    judged = group((0.5, says("a")), (1.0, says("b")), (0.0, says("c")), (1.0, says("d")), (LOST, says("e")))
    assert reasons(pairs(), judged) == ["not_chosen", "kept", "kept", "not_chosen", "not_scored"]


def test_scores_must_differ_by_more_than_the_margin() -> None:
    judged = group((1.0, says("a")), (0.5, says("b")), (1.0, says("c")))
    assert reasons(pairs(margin=0.5), judged) == ["no_margin"] * 3
    assert reasons(pairs(margin=0.4), judged) == ["kept", "kept", "not_chosen"]
    assert reasons(pairs(), group((1.0, says("a")))) == ["no_margin"]
    assert reasons(pairs(), group((LOST, says("a")), (LOST, says("b")))) == ["not_scored"] * 2


def test_what_cannot_be_told_apart_is_no_pair() -> None:
    judged = group((1.0, says("a", "x")), (0.0, says("a", "y")), (0.5, "<think> no end"))
    assert reasons(pairs(), judged) == ["same_text", "same_text", "no_answer"]
    assert reasons(pairs(sees="response"), judged) == ["kept", "kept", "not_chosen"]


def test_other_problems_pass_as_they_are() -> None:
    judged = group((1.0, says("a")), (1.0, says("b")), domain="math")
    assert reasons(pairs(only={"domain": "general"}), judged) == ["kept", "kept"]
    assert reasons(pairs(only={"domain": "math"}), judged) == ["no_margin", "no_margin"]


LONGER = group((1.0, says("a long answer")), (0.0, says("b")))
SHORTER = group((1.0, says("a")), (0.0, says("a long answer")))


def test_a_pair_that_would_widen_the_gap_is_passed_over() -> None:
    judge = pairs(slack=2)
    given = [LONGER, LONGER, LONGER, SHORTER, LONGER, LONGER]
    found = [reasons(judge, judged)[0] for judged in given]
    assert found == ["kept", "kept", "unbalanced", "kept", "kept", "unbalanced"]
    assert judge.state() == {"longer": 2}


def test_the_count_is_remembered() -> None:
    judge, fresh = pairs(slack=1), pairs(slack=1)
    assert reasons(judge, LONGER) == ["kept", "kept"]
    fresh.load(judge.state())
    assert reasons(fresh, LONGER) == reasons(judge, LONGER) == ["unbalanced", "unbalanced"]


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=5), max_size=30),
    st.integers(1, 4),
)
def test_lengths_stay_balanced_and_pairs_in_order(groups: list[list[tuple[int, int]]], slack: int) -> None:
    judge, gap = pairs(slack=slack), 0
    for rows in groups:
        judged = group(*((float(score), says("x" * length)) for score, length in rows))
        kept = [row for row, verdict in zip(rows, judge.judge(judged), strict=True) if verdict.keep]
        assert len(kept) in (0, 2)
        if kept:
            best, worst = sorted(kept, reverse=True)
            assert (best[0], worst[0]) == (max(rows)[0], min(rows)[0])
            assert best[0] > worst[0]
            gap += int(np.sign(best[1] - worst[1]))
        assert abs(gap) <= slack


def test_unscored_rollouts_stop_the_run() -> None:
    with pytest.raises(RecipeError, match="2 rollouts and 0 scores"):
        pairs().judge(group((1.0, "a"), (1.0, "b"), scored=False))


@pytest.mark.parametrize("options", [{"margin": -1}, {"slack": 0}, {"sees": "thinking"}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        pairs(**options)
