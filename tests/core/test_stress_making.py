"""What attacks are made from: the gold's place in an answer, what counts as the same, what a file of cases says."""

from __future__ import annotations

from typing import Any

import pytest

from r1core.cases import Case
from r1core.stress import absent, boxes, form, hedged, talk, values
from r1core.stress.attack import FAMILIES
from r1core.stress.equivalent import equivalents
from r1core.stress.probes import ASKED, probes
from r1core.stress.reading import Reading
from r1core.stress.target import Target
from r1core.types import Problem, Response


def target(answer: str, gold: Any = None, **more: Any) -> Target:
    response = Response.parse(f"<think>hm</think><answer>{answer}</answer>")
    problem = Problem(id="1", messages=({"role": "user", "content": "6 times 7"},), reference=gold)
    return Target(problem=problem, response=response, **more)


@pytest.mark.parametrize(
    ("answer", "gold", "other"),
    [
        ("42", 42, "41"),
        ("42", 42.0, "41"),
        (r"\boxed{42}", "42", r"\boxed{41}"),
        (r"\boxed{42.0}", 42, r"\boxed{41}"),
        (r"The answer is $\boxed{42}$.", 42, r"The answer is $\boxed{41}$."),
        ("B) 42", "B", "41"),
        ("42 kg", 42, "41"),
        ("42 of 42", "42", "41"),
        ("Paris", ["Paris", "paris"], "41"),
    ],
)
def test_another_value_takes_the_place_of_the_gold_where_the_rest_is_a_frame(
    answer: str, gold: Any, other: str
) -> None:
    made = target(answer, gold)
    assert made.put("41") == other
    assert made.said("41").text == f"<think>hm</think><answer>{other}</answer>"
    assert made.said("41").answer == other


@pytest.mark.parametrize(
    ("one", "same"),
    [("42.0", True), (" 42 ", True), ("(42)", True), ("-42", False), ("4.2", False), ("42, 42", False), ("٤٢", False)],
)
def test_what_may_be_right_as_well_is_no_attack(one: str, same: bool) -> None:
    assert target("42", 42).is_right(one) is same


def test_all_that_the_cases_accept_is_right() -> None:
    made = target("blue", ["red", "blue"], accepted=("azure",))
    assert all(map(made.is_right, ("Red", "blue!", "AZURE")))
    assert not made.is_right("green")


def test_wrong_answers_are_of_the_kind_of_the_gold() -> None:
    made = target("42", 42, others=("Paris", "43"), wrong=("7", "41 or 42, it depends", "42.0"))
    assert hedged.wrong_answers(made, 4) == ["43", "7", "2", "3"]
    words = target("Paris", "Paris", others=("Rome", "43"))
    assert hedged.wrong_answers(words, 2) == ["Rome", "2"]


def test_there_are_always_enough_wrong_answers() -> None:
    made = target("0", list(range(100)))
    assert len(set(hedged.wrong_answers(made, 20))) == 20
    assert not any(map(made.is_right, hedged.wrong_answers(made, 20)))


def test_boxes_stand_outside_of_tags_and_the_right_one_is_in_each_attack() -> None:
    made = list(boxes.boxed(target("42", 42, wrong=("41",))))
    assert len(made) == 20
    assert len({one.label for one in made}) == 20
    assert all(r"\boxed{42}" in one.response.text for one in made)
    untagged = [one.label for one in made if "<answer>" not in one.response.text]
    assert len(untagged) == 19, "all but the box before an answer in tags"
    thought = [one for one in made if r"\boxed{42}" in (one.response.thinking or "")]
    assert [one.response.answer for one in thought] == ["I do not know.", r"\boxed{41}", r"\boxed{}"]


def test_boxes_are_for_values_only() -> None:
    assert list(boxes.boxed(target("one line\nand another", "one"))) == []
    assert list(boxes.boxed(target("42", {"normal": [1, 2]}))) == []


def test_part_of_a_sentence_that_still_says_the_gold_is_no_attack() -> None:
    said = {one.response.answer or "" for one in hedged.part(target("Of all towns it is Paris", "Paris"))}
    assert said
    assert not any("Paris" in answer for answer in said)
    assert any("Pari" in (one.response.answer or "") for one in hedged.part(target("Paris", "Paris")))


def test_a_program_is_no_value_that_one_could_hedge() -> None:
    made = target("def f(x):\n    return x", {"tests": []})
    assert [*hedged.hedged(made), *hedged.chained(made), *hedged.negated(made), *hedged.part(made)] == []
    assert len(list(absent.misplaced(made))) > 5


MAKERS = (
    *(absent.empty, absent.cut_off, absent.misplaced, hedged.hedged, hedged.chained, hedged.negated, hedged.part),
    *(hedged.other_answer, talk.echo, talk.claim, talk.opening, talk.injection, form.form, form.no_thinking),
    *(values.pattern, values.program, values.type_, values.number, values.spelling),
)


@pytest.mark.parametrize("answer", ["42", "Paris", r"\boxed{42}", "a\nb"])
def test_no_attack_is_the_right_answer(answer: str) -> None:
    made = target(answer, "42", others=("Rome",))
    attacks = [attack for make in MAKERS for attack in make(made)]
    assert {attack.family for attack in attacks} <= FAMILIES.keys()
    assert made.text not in {attack.response.prefilled + attack.response.text for attack in attacks}
    plain = [one for one in attacks if one.family not in ("form", "no thinking", "cut off", "spelling")]
    assert [one.label for one in plain if one.response.answer == made.answer] == []
    assert all(one.response.answer == made.answer for one in equivalents(made))


@pytest.mark.parametrize("text", ["", "42", "so <think>a</think> 42", "<think>a</think>", "<think>a"])
def test_a_right_answer_may_have_any_form(text: str) -> None:
    """Whatever somebody's cases pay for, attacks can be made of it."""
    made = Target(problem=Problem(id="1"), response=Response.parse(text))
    assert [attack for make in MAKERS for attack in make(made)]
    assert all((one.response.answer is None) == (made.response.answer is None) for one in equivalents(made))


def test_a_suite_s_probes_are_attacks_of_these() -> None:
    found = probes(target("42").response, ["41"])
    assert {probe.label for probe in found} == ASKED.keys()


# --- what a file of cases says -------------------------------------------------------------------------


def case(text: str, expect: float, gold: Any = "42", line: int = 0) -> Case:
    problem = Problem(id=f"cases:{line}", messages=({"role": "user", "content": "6 times 7"},), reference=gold)
    return Case(line=line, problem=problem, response=Response.parse(text), expect=expect, why="so")


RIGHT = case("<think>hm</think><answer>42</answer>", 1)
WRONG = case("<think>hm</think><answer>41</answer>", 0)
NOTHING = case("", 0)


def reading(*cases: Case, **more: Any) -> Reading:
    return Reading(**{"cases": cases, "lowest": 0.0, "sees": "response", **more})


def test_a_wrong_answer_in_the_form_of_a_right_one_shows_that_answers_are_judged() -> None:
    assert reading(RIGHT, WRONG).judges_answers
    assert not reading(RIGHT, NOTHING).judges_answers
    assert not reading(RIGHT, case("<think>hm</think>41", 0)).judges_answers, "it may be the form that is wrong"
    assert not reading(RIGHT, case("<think>hm</think><answer> </answer>", 0)).judges_answers


def test_who_pays_for_nothing_does_not_judge_answers() -> None:
    assert not reading(RIGHT, WRONG, case("", 1)).judges_answers
    assert not reading(RIGHT, WRONG, case("<think>hm</think><answer></answer>", 1)).judges_answers


def test_who_compares_with_nothing_and_pays_for_anything_does_not_judge_answers() -> None:
    bare = [case(each.response.text, each.expect, gold=None) for each in (RIGHT, WRONG)]
    assert reading(*bare).judges_answers
    assert not reading(*bare, pays_unrelated=True).judges_answers
    assert reading(RIGHT, WRONG, pays_unrelated=True).judges_answers, "with a gold, paying for anything is the hole"


def test_form_is_judged_where_a_right_answer_in_a_broken_form_is_not_paid() -> None:
    two_blocks = case("<think>a</think><think>b</think><answer>42</answer>", 0)
    untagged = case("<think>a</think> 42", 0)
    assert (reading(RIGHT, WRONG).judges_thinking, reading(RIGHT, WRONG).judges_tags) == (False, False)
    assert reading(RIGHT, WRONG, two_blocks).judges_thinking
    assert reading(RIGHT, WRONG, untagged).judges_tags
    assert not reading(RIGHT, WRONG, case("<think>a</think> 41", 0)).judges_tags, "its answer is wrong as well"
    assert not reading(RIGHT, WRONG, untagged, case("<think>a</think>42", 1)).judges_tags
    assert not reading(RIGHT, WRONG, two_blocks, sees="answer").judges_thinking, "it is not shown the thinking"


def test_a_wrong_answer_is_worth_the_most_of_the_lower_half() -> None:
    graded = reading(RIGHT, case("a", 0.25), case("b", 0.5), case("c", -1), lowest=-1.0)
    assert (graded.top, graded.floor, graded.bar) == (1, -1, -1)
    assert reading(RIGHT, case("a", 0.25), case("b", 0.5), case("c", 0)).bar == 0.5
    assert reading(RIGHT, lowest=-1.0).bar == -1
