"""The reward `math`: what it pays for, where it looks for it, which references it refuses, and its two corpora."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from math_scored import T, boxed, problem, score

import r1_plugins.math
from r1_plugins.math import Math, r1_rewards
from r1core.cases import Case, judge_cases, read_cases
from r1core.plugins import PluginHost
from r1core.types import Score

DATA = Path(r1_plugins.math.__file__).parent


def test_the_module_registers_its_reward() -> None:
    assert [reward.name for reward in r1_rewards()] == ["math"]


# --- where the answer stands -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        (T + r"So \boxed{42}.", "either", "correct"),
        (T + "<answer>42</answer>", "either", "correct"),
        (T + r"<answer>\boxed{42}</answer>", "either", "correct"),
        (T + r"So \boxed{42}.", "boxed", "correct"),
        (T + "<answer>42</answer>", "boxed", "no_answer"),
        (T + r"<answer>\boxed{42}</answer>", "boxed", "correct"),
        (T + r"So \boxed{42}.", "tags", "format"),
        (T + "<answer>42</answer>", "tags", "correct"),
        (T + r"<answer>\boxed{42}</answer>", "tags", "correct"),
        (T + "42", "either", "no_answer"),
        (T, "either", "no_answer"),
        (r"\boxed{42}", "either", "format"),
        (r"<think>\boxed{42}</think>I do not know", "either", "no_answer"),
        (r"<think>\boxed{42}", "either", "format"),
        (T + r"\boxed{42} <answer>42</answer>", "either", "format"),
        (T + r"\boxed{42", "either", "format"),
        (T + r"\boxed{42} \boxed{41}", "either", "wrong"),
        (T + r"\boxed{42} \boxed{42.0}", "either", "correct"),
        (T + r"\boxed{1} " * 21, "either", "several_answers"),
    ],
)
def test_the_final_answer_is_looked_for_in_its_place_only(text: str, where: str, reason: str) -> None:
    found = score(text, where=where)
    assert (found.reason, found.value) == (reason, float(reason == "correct"))


def test_an_answer_cut_off_by_the_length_limit_is_truncated() -> None:
    assert score(T + r"\boxed{42}", finish="length") == Score(value=0.0, reason="truncated")


def test_boxes_of_one_value_each_are_together_what_a_list_asks_for() -> None:
    assert score(T + r"\boxed{2} and \boxed{1}", "1, 2").value == 1.0
    assert score(T + r"\boxed{2} and \boxed{3}", "1, 2").value == 0.0
    assert score(T + r"\boxed{2}", "1, 2").value == 0.0


# --- stated, not restated --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["2^{10}", r"\frac{2048}{2}", r"\sqrt{1048576}", r"1.024 \times 10^3", "4^5"])
def test_powers_roots_and_fractions_of_literals_state_a_value(answer: str) -> None:
    assert boxed(answer, "1024").reason == "correct"


@pytest.mark.parametrize(
    "answer", ["1000+24", r"512 \cdot 2", r"\frac{1000+24}{1}", r"\binom{1024}{1}", "2 * 2^9", r"\sum_{k=1}^{1024} 1"]
)
def test_sums_products_and_counting_do_not(answer: str) -> None:
    assert boxed(answer, "1024") == Score(value=0.0, reason="unevaluated")


def test_the_recipe_may_allow_what_is_unevaluated() -> None:
    assert boxed("1000+24", "1024", allow_unevaluated=True).reason == "correct"
    assert boxed("1000+25", "1024", allow_unevaluated=True).reason == "wrong"


def test_a_reference_that_is_unevaluated_itself_allows_its_own_operations() -> None:
    assert boxed(r"\frac{10!}{2}", r"\frac{10!}{2}").reason == "correct"
    assert boxed("1814400", r"\frac{10!}{2}").reason == "correct"
    assert boxed(r"\frac{2 \cdot 10!}{4}", r"\frac{10!}{2}").reason == "unevaluated"


def test_the_questions_own_expression_is_no_answer() -> None:
    question = r"Compute $\left( \frac{1}{2} \right)^3$."
    assert boxed(r"\left(\frac12\right)^3", r"\frac18", "How much?").reason == "correct"
    assert boxed(r"\left(\frac{1}{2}\right)^3", r"\frac18", question).reason == "restated"
    assert boxed(r"\frac{1}{8}", r"\frac18", question).reason == "correct"


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        (r"\sqrt{2+\sqrt{3}}", r"\frac{\sqrt6+\sqrt2}{2}", 1.0),
        (r"\sqrt{2+\sqrt{3}}", r"\frac{\sqrt6+\sqrt2}{2.0000000000000000000000001}", 0.0),
        (r"\log_2 3", r"\frac{\ln 3}{\ln 2}", 1.0),
        (r"\log_2 3", "1.5849625007211562", 0.0),
        (r"\sin 2x", r"2\sin x\cos x", 1.0),
        (r"\sin x", r"\sin x + 10^{-25}", 0.0),
        (r"\ln 4 - 2\ln 2", r"2\ln 3 - \ln 9", 1.0),
        (r"\ln 4 - 2\ln 2", r"\ln 3 - 2\ln 2", 0.0),
        (r"y = \sin x", r"2y - 2\sin x = 0", 1.0),
        (r"\sin x > y", r"-\sin x > -y", 0.0),
        (r"\sin x > y", r"-\sin x < -y", 1.0),
        (r"|x-1|", "x-1", 0.0),
        (r"\sqrt{x^2}", "x", 0.0),
    ],
)
def test_what_exact_arithmetic_does_not_decide_sympy_does(gold: str, answer: str, value: float) -> None:
    assert boxed(answer, gold).value == value


# --- around a box ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{42}. Final answer: 41",
        r"\boxed{42}. The answer is $41$.",
        r"The final answer is 41. \boxed{42}",
        "**Answer:** 41\n\\boxed{42}",
        r"\boxed{42}, i.e. 41",
        r"41 or \boxed{42}",
        r"either 41 or \boxed{42}",
        r"\boxed{42} \text{ or } 41",
        r"\boxed{42}? I do not know.",
        r"Perhaps \boxed{42}.",
        r"if it is not 41, then \boxed{42}",
        r"\boxed{42} would be wrong.",
        r"My second guess is \boxed{41}; my first was \boxed{42}",
    ],
)
def test_a_box_that_is_hedged_or_has_another_answer_beside_it_is_not_paid(text: str) -> None:
    assert score(T + text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{42}. The final answer is 42.",
        r"Final answer: $42$ marbles. \boxed{42}",
        r"\boxed{42}, i.e. $42.0$.",
        "$6 \\cdot 7 = 42$\n\n\\boxed{42}",
        r"Either way it is \boxed{42}.",
        r"It cannot be 41, which is prime. So \boxed{42}.",
        r"\boxed{42}: that is the answer to all of it.",
    ],
)
def test_a_box_in_its_sentence_is_paid(text: str) -> None:
    assert score(T + text).value == 1.0


# --- references ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "says"),
    [
        ("", "it is empty"),
        ("see above", "it is a sentence"),
        ("The midpoints form a regular hexagon.", "it is a sentence"),
        (r"\frac{1}{2", "brackets do not match"),
        (r"\frac{1}{0}", "divides by zero"),
        (r"\sum_{k=1}^n k", "a task"),
        (r"\boxed{1} or \boxed{2}", "several boxes"),
        ("(" * 60 + "1" + ")" * 60, "nested too deeply"),
        ("1" * 3000, "too long"),
        ("4 2", "no expression"),
        ("٤٢", "a sign that is not read"),
        (None, "no expression"),
        ([], "empty"),
        ({"a": 1}, "no expression"),
        (math.nan, "no expression"),
        (True, "no expression"),
        (["42", "see above"], "it is a sentence"),
    ],
)
def test_a_reference_that_cannot_be_compared_with_is_refused_and_never_a_silent_zero(gold: Any, says: str) -> None:
    assert says in Math(Math.Config()).refuses(problem(gold))
    scored = score(T + "<answer>42</answer>", gold)
    assert (scored.status, scored.reason) == ("infrastructure", "gold_unreadable")


def test_no_reference_of_the_corpora_is_refused() -> None:
    reward = Math(Math.Config())
    assert [reward.refuses(case.problem) for case in (*EQUIVALENT, *ADVERSARIAL) if reward.refuses(case.problem)] == []


@pytest.mark.parametrize(
    "gold", ["42", 42, 42.0, "$42$", "#### 42", r"so it is \boxed{42}.", ["41", "42"], "The answer is 42"]
)
def test_references_come_as_data_sets_write_them(gold: Any) -> None:
    assert Math(Math.Config()).refuses(problem(gold)) == ""
    assert boxed("42", gold).value == 1.0
    assert boxed("43", gold).value == 0.0


def test_the_sentinels_are_what_a_sound_grader_says() -> None:
    reward = Math(Math.Config())
    found = [(one.value, reward.score(one.problem, one.response).value) for one in reward.sentinels()]
    assert [expected for expected, _ in found] == [said for _, said in found]
    assert {expected for expected, _ in found} == {0.0, 1.0}


def test_a_patched_comparison_is_found_by_a_sentinel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to decide, forged: some sentinel then says something else."""
    for place, forged in (
        ("r1_plugins.math.exact.Exact.__eq__", lambda self, other: True),
        ("r1_plugins.math.trees.same_everywhere", lambda gold, answer: True),
        ("r1_plugins.math.trees.same_by_numbers", lambda gold, answer: True),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, forged)
            reward = Math(Math.Config())
            found = [reward.score(one.problem, one.response).value == one.value for one in reward.sentinels()]
            assert not all(found), place


# --- the corpora -----------------------------------------------------------------------------------------------

EQUIVALENT = read_cases(DATA / "math_equivalent.jsonl")
ADVERSARIAL = read_cases(DATA / "math_adversarial.jsonl")


def judged(cases: list[Case]) -> list[tuple[Case, Score]]:
    """What the reward says in a real worker."""
    loaded = PluginHost.discover().load("reward", "math", DATA)
    return [(one.case, one.score) for one in judge_cases(loaded, {}, cases)]


def test_no_adversarial_answer_is_paid() -> None:
    assert len(ADVERSARIAL) >= 150
    assert {case.expect for case in ADVERSARIAL} == {0.0}
    found = judged(ADVERSARIAL)
    assert [(case.line, case.response.text) for case, scored in found if scored.value != 0.0] == []
    assert {scored.status for _, scored in found} == {"verdict"}


def test_equivalent_forms_are_recognised() -> None:
    assert len(EQUIVALENT) >= 300
    assert {case.expect for case in EQUIVALENT} == {1.0}
    found = judged(EQUIVALENT)
    missed = [(case.line, case.response.text) for case, scored in found if scored.value != 1.0]
    assert len(missed) <= 0.03 * len(found), missed


def test_the_corpora_are_varied_and_without_doubles() -> None:
    for name in ("math_equivalent", "math_adversarial"):
        rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
        assert len({json.dumps(row, sort_keys=True) for row in rows}) == len(rows)
        assert len({row["why"] for row in rows}) >= 15
        assert len({str(row["gold"]) for row in rows}) >= 50


# --- weight ------------------------------------------------------------------------------------------------------


WEIGHED = r"""
import sys
from r1_plugins.math import Math
from r1core.types import Problem, Response
reward = Math(Math.Config())
for gold, answer in [("42", "42.0"), (r"\frac12", "0.5"), (r"2\sqrt3", r"\sqrt{12}"), ("[1,2)", r"1 \le x < 2"),
                     ("x^2-1", "(x-1)(x+1)"), ("1, 2", "x = 2 or x = 1")]:
    response = Response.parse(f"<think>a</think><answer>{answer}</answer>")
    assert reward.score(Problem(id="p", reference=gold), response).value == 1.0, answer
print(sorted({"sympy", "math_verify", "latex2sympy2_extended"} & set(sys.modules)))
"""


def test_ordinary_answers_touch_neither_sympy_nor_math_verify() -> None:
    """What R1 answers most: numbers, fractions, roots, intervals, polynomials."""
    done = subprocess.run([sys.executable, "-c", WEIGHED], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_what_is_missing_is_said_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Math.check() == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (missing,) = Math.check()
    assert "math-verify is not installed" in missing
    assert "r1core[train]" in missing
