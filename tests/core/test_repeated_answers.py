"""Several answers to each problem: the pass@k curve, the majority's answer, and the two error bars."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core.recipe.schema import EvalSet
from r1core.stages.estimates import pass_at_k
from r1core.stages.measured import measured
from r1core.stages.repeated import ballot, majority, points, repeated, standard_errors
from r1core.types import Response

# --- the curve -------------------------------------------------------------------------------------


def test_a_curve_has_the_powers_of_two_and_ends_with_all_answers() -> None:
    assert points(8) == [1, 2, 4, 8]
    assert points(6) == [1, 2, 4, 6]
    assert points(2) == [1, 2]


def test_a_curve_is_the_unbiased_pass_at_k_over_problems() -> None:
    marked_PG = [[("a", True)] * 1 + [("b", False)] * 3, [("a", False)] * 4]
    found = repeated("set", marked_PG, 4)
    assert found["set/k=1"] == pytest.approx(0.125)
    assert found["set/k=2"] == pytest.approx(0.25)
    assert found["set/k=4"] == pytest.approx(0.5)


def test_single_answers_have_neither_curve_nor_vote() -> None:
    assert repeated("set", [[("a", True)]], 1) == {}


def test_problems_without_a_verdict_count_nowhere() -> None:
    known = [("a", True), ("b", False)]
    assert repeated("set", [known, []], 2) == repeated("set", [known], 2)


# --- the vote --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "worth"),
    [
        ([("7", True), ("7", True), ("8", False)], 1.0),
        ([("8", False), ("8", False), ("7", True)], 0.0),
        ([("7", True), ("8", False)], 0.5),  # a tie is drawn by lot
        ([("7", True), ("8", False), ("9", False)], 1 / 3),
        ([("7", True), ("", False), ("", False)], 1.0),  # who says nothing casts no vote
        ([("", False)], 0.0),
        ([("7", True), ("7", False)], 0.5),  # a judge that is of two minds
    ],
)
def test_the_majority_is_worth_what_its_answer_is(answers: list[tuple[str, bool]], worth: float) -> None:
    assert majority(answers) == pytest.approx(worth)


def answer_row(said: str, right: bool, **more: Any) -> dict[str, Any]:
    """A row as an evaluation leaves it, of a text behind a think block."""
    text = f"<think>so</think>{said}"
    response = Response.parse(text)
    return {"id": "p", "text": text, "prefilled": "", "finish": "stop", "answer": response.answer, "tokens": 3,
            "parts": {"right": float(right)}, "status": "verdict", "domain": "", "language": "", "meta": {},
            **more}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "vote"),
    [
        (r"First \boxed{1}, no: it is \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("<answer> \uff17 b  C</answer>", "7 b c"),  # case, width and spaces say nothing
        (r"<answer>It is \boxed{7}.</answer>", "7"),
        ("a thought without a last line", ""),
        (r"\boxed{never closed", ""),
    ],
)
def test_an_answer_votes_for_its_last_box_or_what_stands_in_its_tags(said: str, vote: str) -> None:
    assert ballot(answer_row(said, False)) == vote


def cons(*rows: dict[str, Any]) -> float | None:
    sets = {"pass@1": EvalSet(problems="any", samples=len(rows))}
    return measured(sets, {"pass@1": rows}, correct_part="right").metrics.get(f"pass@1/cons={len(rows)}")


def test_boxed_answers_in_different_words_are_one_vote() -> None:
    worded = [answer_row(f"{words} \\boxed{{42}}.", True) for words in ("So it is", "Thus", "Therefore")]
    wrong = [answer_row(f"It is \\boxed{{{n}}}.", False) for n in (41, 41)]
    assert cons(*worded, *wrong) == 1.0


def test_votes_are_what_the_reward_says_it_read_and_nothing_else_where_it_says_so() -> None:
    half = [answer_row(text, True, extracts={"right": "1/2"}) for text in ("0.5", r"\frac12", "1/2")]
    wrong = [answer_row(r"\boxed{7}", False, extracts={"right": "7"})] * 2
    unread = [answer_row(r"\boxed{8}", False, extracts={})] * 4
    assert cons(*half, *wrong, *unread) == 1.0


def test_a_right_answer_without_a_vote_leaves_the_majority_unsaid() -> None:
    assert cons(answer_row("def f(): pass", True), answer_row("def g(): pass", False)) is None
    assert cons(answer_row("no idea", False), answer_row("none", False)) == 0.0


# --- error bars ------------------------------------------------------------------------------------


def test_error_bars_golden() -> None:
    # four answers to each of two problems, 1 and 3 right: p (1 - p) / 3 = 0.0625 each, so sqrt(0.125) / 2
    marked_PG = [[("a", i < right) for i in range(4)] for right in (1, 3)]
    found = standard_errors(np.array([0.25, 0.75]), marked_PG, k=1, samples=4)
    assert found["sampling"] == pytest.approx(math.sqrt(0.125) / 2)
    assert found["problem"] == pytest.approx(math.sqrt(0.125) / math.sqrt(2))


def test_single_answers_tell_nothing_of_sampling() -> None:
    assert list(standard_errors(np.array([0.0, 1.0]), [[("a", False)], [("a", True)]], k=1, samples=1)) == ["problem"]
    assert list(standard_errors(np.array([1.0]), [[("a", True)]], k=1, samples=1)) == []
    assert "sampling" not in standard_errors(np.array([1.0, 1.0]), [[("a", True)] * 4] * 2, k=4, samples=4)


@given(st.integers(3, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n - 1))))
def test_sampling_noise_is_the_jackknife_of_pass_at_k(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    marks = [i < correct for i in range(n)]
    left_out = [pass_at_k(n - 1, sum(marks) - mark, k) for mark in marks]
    spread = (n - 1) / n * sum((each - sum(left_out) / n) ** 2 for each in left_out)
    value = np.array([pass_at_k(n, correct, k)])
    found = standard_errors(value, [[("a", mark) for mark in marks]], k=k, samples=n)
    assert found["sampling"] == pytest.approx(math.sqrt(spread), abs=1e-12)


def test_sampling_noise_of_pass_at_1_is_what_repeating_the_sampling_gives() -> None:
    random, chances, samples = np.random.default_rng(0), np.array([0.1, 0.5, 0.9, 0.3]), 16
    means, told = [], []
    for _ in range(400):
        right_PG = random.random((4, samples)) < chances[:, None]
        means.append(right_PG.mean())
        marked_PG = [[("a", bool(right)) for right in right_G] for right_G in right_PG]
        told.append(standard_errors(right_PG.mean(axis=1), marked_PG, k=1, samples=samples)["sampling"])
    assert float(np.sqrt(np.mean(np.square(told)))) == pytest.approx(float(np.std(means)), rel=0.15)


def test_a_row_carries_both_error_bars_the_curve_and_the_vote() -> None:
    rows = [
        answer_row(f"<answer>{right}</answer>", bool(right), id=str(p))
        for p, right in itertools.product(range(2), (1, 0, 1))
    ]
    sets = {"pass@1": EvalSet(problems="any", samples=3)}
    found = measured(sets, {"pass@1": rows}, correct_part="right").row("m")["metrics"]
    assert found["pass@1_se_sampling"] == pytest.approx(math.sqrt(2 * (2 / 9) / 2) / 2)
    assert found["pass@1_se_problem"] == 0.0
    assert (found["pass@1/k=1"], found["pass@1/k=2"], found["pass@1/k=3"]) == pytest.approx((2 / 3, 1.0, 1.0))
    assert found["pass@1/cons=3"] == 1.0
