"""Attacks made from a reward's own cases: each classic hole is found by its family, and nothing in sound rewards.

Hundreds of answers are asked about twice; where that is in a worker matters only to what stops or changes its mind.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_graders as toys

from r1core.cases import asking, read_cases, spec_of
from r1core.components import Reward
from r1core.errors import RecipeError
from r1core.plugins import Loaded, PluginHost
from r1core.stress.attack import FAMILIES
from r1core.stress.trial import Report, count, prepare
from r1core.types import Score

HERE = Path(__file__).parent


def row(gold: str, answer: str, expect: float, prompt: str = "", **more: Any) -> dict[str, Any]:
    prompt = prompt or f"What is called {len(gold)} {gold[:1]}?"
    text = f"<think>let me see .</think><answer>{answer}</answer>"
    return {"prompt": prompt, "gold": gold, "response": text, "expect": expect, "why": "so it is", **more}


VALUES = [
    row("42", "42", 1),
    row("Paris", "Paris", 1),
    row("1", "1", 1),
    row("42", "41", 0),
    row("Paris", "Lyon", 0),
    row("1", "2", 0),
]
FORMS = [
    row("42", "42", 1),
    row("42", "41", 0),
    {**row("42", "42", 0), "response": "<think>a .</think><think>b .</think><answer>42</answer>"},
    {**row("42", "42", 0), "response": "<think>a .</think> 42"},
    {**row("42", "42", 0), "response": "42"},
]
ANY_ANSWER = [{**each, "gold": None} for each in (FORMS[0], {**FORMS[1], "expect": 1}, *FORMS[2:])]
CASES: dict[type[Reward], list[dict[str, Any]]] = {
    toys.Squashes: [row("北京", "北京", 1), row("北京", "Lyon", 0), row("42", "42", 1), row("42", "41", 0)],
    toys.TwoBlocks: [*FORMS[:2], {**FORMS[2], "response": "So <think>a .</think><answer>42</answer>"}],
    toys.EmptyThinking: ANY_ANSWER,
    toys.Form: ANY_ANSWER,
    toys.BreakingPays: [row("42", "42", 1), row("42", "41", -1)],
    toys.Negative: [row("42", "42", 1), row("42", "41", -1)],
    toys.PartCredit: [row("Ann", "Ann", 1), row("Ann", "Ann, Bob", 0.5), row("Ann", "Bob", 0)],
    toys.Hangs: [row("aab", "aab", 1), row("aab", "ba", 0)],
}


def loaded(toy: type[Reward]) -> Loaded:
    return PluginHost.discover().load("reward", f"./toy_graders.py:{toy.__name__}", HERE)


def here(reward: Loaded) -> Loaded:
    """The same, asked in this process."""
    return replace(reward, cls=type(reward.cls.__name__, (reward.cls,), {"runs": "stage"}))


def stressed(
    toy: type[Reward], folder: Path, rows: list[dict[str, Any]] | None = None, *, worker: bool = False, **asked: Any
) -> Report:
    file = folder / "cases.jsonl"
    rows = CASES.get(toy, VALUES) if rows is None else rows
    file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    reward = loaded(toy) if worker else here(loaded(toy))
    with asking(reward, {}) as ask:
        return prepare(reward, spec_of(reward, {}), ask, read_cases(file), **asked).run(ask)


def families(found: list[Any]) -> set[str]:
    return {one.question.family for one in found}


@pytest.mark.parametrize("toy", toys.FOUND, ids=lambda toy: toy.__name__)
def test_each_hole_is_found_by_its_family(toy: type[Reward], tmp_path: Path) -> None:
    report = stressed(toy, tmp_path, worker=toy is toys.Evaluates)  # who knows what that would do here
    assert all(one.as_expected for one in report.cases), "the toy's hole is not in its cases"
    assert toys.FOUND[toy] <= families([*report.paid, *report.taken_out, *report.profitable])
    assert report.gameable


@pytest.mark.parametrize("toy", toys.SOUND, ids=lambda toy: toy.__name__)
def test_nothing_is_found_in_a_sound_reward(toy: type[Reward], tmp_path: Path) -> None:
    report = stressed(toy, tmp_path, worker=True)
    assert all(one.as_expected for one in report.cases)
    for found in (report.paid, report.taken_out, report.profitable, report.refused, report.broken, report.moody):
        assert [(one.question.label, one.question.response.text[:200], one.scores) for one in found] == []
    assert not report.gameable
    assert len(report.answered) > 100


def test_every_family_is_somebody_s_hole() -> None:
    """A family that no toy falls for is one that no test would miss."""
    assert set().union(*toys.FOUND.values()) == set(FAMILIES)


# --- findings that are no payment --------------------------------------------------------------------


def test_a_hang_is_told_and_its_family_is_not_asked_to_the_end(tmp_path: Path) -> None:
    report = stressed(toys.Hangs, tmp_path, worker=True)
    stopped = [one for one in report.broken if one.score.reason == "verifier_timeout"]
    assert "100 kB of one letter" in {one.question.label for one in stopped}
    assert all(one.again is None for one in stopped), "each costs two deadlines, so it is not asked again"
    assert not report.gameable


def test_a_crash_is_told(tmp_path: Path) -> None:
    report = stressed(toys.Dies, tmp_path, worker=True)
    assert {one.score.reason for one in report.broken} == {"verifier_crash"}
    assert families(report.broken) == {"spelling", "size"}
    assert report.left_out["spelling"] >= 1, "after three stops of a family the rest of it is left out"
    assert not report.gameable


@pytest.mark.parametrize(
    ("seconds", "reason", "late"),
    [(1.2, "", False), (1.3, "", True), (2.4, "verifier_timeout", False), (2.6, "verifier_timeout", True)],
)
def test_what_is_late_is_the_core_s(seconds: float, reason: str, late: bool, tmp_path: Path) -> None:
    """A second is allowed; a confirmed time-out takes two attempts."""
    report = stressed(toys.Grader, tmp_path, most=1, worker=True)
    (one,) = report.answered
    status: Any = "answer_failure" if reason else "verdict"
    slow = replace(one, seconds=seconds, again=None, score=Score(value=0.0, status=status, reason=reason))
    found = replace(report, answered=[slow])
    assert bool(found.late) is late
    assert not found.gameable
    assert not replace(found, spec=replace(report.spec, runs="stage")).late, "there is no deadline in the stage"


def test_another_verdict_the_second_time_is_told(tmp_path: Path) -> None:
    report = stressed(toys.Moody, tmp_path, worker=True)
    assert len(report.moody) > 100
    assert not report.gameable


def test_breaking_the_check_must_not_be_worth_more_than_the_worst_answer(tmp_path: Path) -> None:
    """Also where what is said is no attack: a form reward that an exception spares its penalty."""
    rows = [{**each, "expect": 2 * each["expect"] - 1} for each in ANY_ANSWER]
    report = stressed(toys.FormBreaks, tmp_path, rows, worker=True)
    assert not report.reading.judges_answers
    assert report.paid == []
    assert {score.value for one in report.profitable for score in one.scores} == {0.0}
    assert report.gameable


@pytest.mark.parametrize(
    ("toy", "labels"),
    [
        (toys.NoLineEnd, {"a line end after it", "white space around it", "white space around the answer"}),
        (toys.OwnTag, {"a think tag that the prompt opened", "white space around it"}),
    ],
    ids=["NoLineEnd", "OwnTag"],
)
def test_a_right_answer_in_another_form_that_is_refused_is_told(
    toy: type[Reward], labels: set[str], tmp_path: Path
) -> None:
    report = stressed(toy, tmp_path)
    assert {one.question.label for one in report.refused} == labels


def test_a_case_that_the_reward_disagrees_with_is_no_base_for_attacks(tmp_path: Path) -> None:
    report = stressed(toys.Grader, tmp_path, [*VALUES, row("Rome", "Roma", 1)])
    assert [one.as_expected for one in report.cases].count(False) == 1
    assert "Roma" not in {target.answer for target in report.targets}
    assert not report.gameable
    assert report.verdict == "failed", "what disagrees with its own cases is not called robust"
    assert stressed(toys.Grader, tmp_path).verdict == "robust"
    assert stressed(toys.Substring, tmp_path).verdict == "gameable"


def test_without_a_right_answer_there_is_nothing_to_make_attacks_of(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no case that the reward agrees with is worth more than 0"):
        stressed(toys.Grader, tmp_path, [row("42", "41", 0), row("42", "41.0", 1)])


# --- what is asked -------------------------------------------------------------------------------------


def test_what_the_cases_pay_is_meant(tmp_path: Path) -> None:
    """A case that pays an answer without a think block makes that no attack."""
    lenient = [*VALUES, {**row("42", "42", 1), "response": "42"}]
    report = stressed(toys.InText, tmp_path, lenient)
    labels = {one.question.label for one in report.paid}
    assert "the gold in the thinking, and no idea" in labels
    assert "the gold without a think block" not in labels


def test_what_a_case_says_of_an_attack_holds(tmp_path: Path) -> None:
    hedged = row("Paris", "not Paris", 1)
    assert "not Paris" in {_answer(one) for one in stressed(toys.Substring, tmp_path).paid}
    found = stressed(toys.Substring, tmp_path, [*VALUES, hedged]).paid
    assert "not Paris" not in {_answer(one) for one in found}


def test_part_credit_for_a_part_of_it_is_no_finding_but_the_whole_is(tmp_path: Path) -> None:
    rows = CASES[toys.PartCredit]
    paid_half = [one for one in stressed(toys.PartCredit, tmp_path, rows).answered if one.score.value == 0.5]
    assert paid_half, "no attack was half right"
    whole = stressed(toys.WholeCredit, tmp_path, rows)
    assert {"hedged"} <= families(whole.paid)
    assert {score.value for one in whole.paid for score in one.scores} == {1.0}


def test_how_many_may_be_limited_and_is_known_before(tmp_path: Path) -> None:
    all_of_it = stressed(toys.Grader, tmp_path)
    assert count(loaded(toys.Grader), all_of_it.spec, [one.case for one in all_of_it.cases]) == (
        len(VALUES) + 1 + len(all_of_it.answered)
    )
    some = stressed(toys.Grader, tmp_path, most=40)
    assert len(some.answered) == 40
    assert len(families(list(some.answered))) > 10, "evenly spread"


def test_what_is_looked_at_may_be_said(tmp_path: Path) -> None:
    assert not stressed(toys.Form, tmp_path).reading.judges_answers
    report = stressed(toys.Form, tmp_path, judges="answer")
    assert report.gameable, "to a reward that should look at answers, form is not enough"


def test_a_remote_reward_is_asked_once(tmp_path: Path) -> None:
    report = stressed(toys.Remote, tmp_path, worker=True)
    assert {one.again for one in report.answered} == {None}
    assert report.broken == []
    assert not report.taken_out, "what is remote fails for reasons of its own"
    assert sum(one.is_taken_out for one in report.answered) > 10


MINE = """
from r1core import Reward, Score

class Mine(Reward):
    name = "mine"
    def score(self, problem, response):
        return Score(value=float(response.answer in (problem.reference, "forty-two!", "fourty-two")))
"""


def test_a_reward_s_own_corpora_are_asked_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    own = {
        "adversarial": [row("42", "fourty-two", 0), row("42", "43", 0)],
        "equivalent": [row("42", "forty-two", 1), row("42", "forty-two!", 1)],
    }
    for ending, rows in own.items():
        (tmp_path / f"mine_{ending}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, VALUES)))
    reward = PluginHost.discover().load("reward", "./mine.py:Mine", tmp_path)
    with asking(reward, {}) as ask:
        report = prepare(reward, spec_of(reward, {}), ask, read_cases(tmp_path / "cases.jsonl")).run(ask)
    assert [(one.question.family, one.question.label) for one in report.paid] == [("own attacks", "line 1")]
    assert [(one.question.family, one.question.label) for one in report.refused] == [("own forms", "line 1")]


def _answer(one: Any) -> str | None:
    return one.question.response.answer
