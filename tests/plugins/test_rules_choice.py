"""The choice rule: every way to name one option is paid, no way to name two."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_answers import ask, refusal

from r1_plugins.rules import Choice

LABELS = "ABCDE"
TEXTS = ["a red one", "blue", "-5", "5", "A or B"]
FORMS = (
    "{0}", "({0})", "[{0}]", "{0}.", "{0})", "{0}:", "**{0}**", "*{0}*", "`{0}`", "${0}$", "\\boxed{{{0}}}",
    "\\boxed{{({0})}}", "$\\boxed{{\\text{{{0}}}}}$", "\\textbf{{{0}}}", "Answer: {0}", "answer: ({0})",
    "The answer is {0}.", "The correct answer is ({0}).", "The final answer is: **{0}**", "Option {0}", "Choice {0}",
    "I choose {0}", "Therefore, the answer is \\boxed{{{0}}}.", "So the best option is {0}",
    "答案是{0}", "正确答案: {0}", "答案为 {0}。", "选{0}", "故选 {0}",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_letter_is_read_in_every_form(form: str) -> None:
    for right in LABELS:
        for said in LABELS:
            score = ask(Choice, right, form.format(said))
            assert (score.value, score.reason) == ((1.0, "correct") if said == right else (0.0, "wrong")), said


@pytest.mark.parametrize("form", FORMS)
def test_a_small_letter_is_read_too_where_it_stands_alone(form: str) -> None:
    assert ask(Choice, "B", form.format("b")).value == 1.0


@pytest.mark.parametrize(
    "joined", ["{} or {}", "{}, {}", "{} and {}", "{}/{}", "{} {}", "{}\n{}", "{}) or {})", "not {}, {}"]
)
def test_two_letters_are_never_paid(joined: str) -> None:
    for one, other in permutations(LABELS, 2):
        for form in ("{}", "\\boxed{{{}}}", "({})"):
            said = joined.format(form.format(one), form.format(other))
            assert ask(Choice, one, said).value == ask(Choice, other, said).value == 0.0, said


@pytest.mark.parametrize(
    "around",
    ["either {} or a red one", "{}. Final answer: blue", "The final answer is blue. {}", "{} or so", "perhaps {}",
     "-{}", "3 \\cdot {}", "It is not {}.", "{}, though blue may be right"],
)  # fmt: skip
def test_a_box_that_is_hedged_or_part_of_something_is_not_paid(around: str) -> None:
    meta = {"options": TEXTS}
    for box in ("\\boxed{C}", "\\boxed{-5}"):
        assert ask(Choice, "C", around.format(box), meta=meta).value == 0.0
    for plain in ("{}", "The final answer is ${}$.", "So we take {}: it lies below zero"):
        assert ask(Choice, "C", plain.format("\\boxed{C}"), meta=meta).value == 1.0


@pytest.mark.parametrize(
    "said",
    ["a dog", "A dog", "A", "a", "It is a dog.", "A dog is a pet", "a or an", "I think a number fits", "A man, a plan"],
)
def test_an_article_is_no_letter(said: str) -> None:
    assert ask(Choice, "A", said).value == float(len(said) == 1), "alone it is the letter"


@pytest.mark.parametrize(("number", "text"), list(enumerate(TEXTS)))
def test_an_option_is_named_by_its_text_or_by_letter_and_text(number: int, text: str) -> None:
    meta, label = {"options": TEXTS}, LABELS[number]
    for said in (
        text,
        text.upper(),
        f"{text}.",
        f"**{text}**",
        f"\\boxed{{{text}}}",
        f"{label}) {text}",
        f"({label}) {text}",
    ):
        assert ask(Choice, label, said, meta=meta).value == 1.0, said
    assert ask(Choice, text, label, meta=meta).value == 1.0
    others = [other for other in TEXTS if other != text]
    assert [ask(Choice, label, f"{label}) {other}", meta=meta).value for other in others] == [0.0] * 4


def test_labels_beyond_the_options_are_none() -> None:
    assert ask(Choice, "B", "E", meta={"options": ["x", "y"]}).reason == "no_choice"


@pytest.mark.parametrize(
    ("reference", "meta", "said"),
    [
        (None, {}, "none of the labels A, B, C, D, E"),
        ("F", {}, "none of the labels"),
        ("A and B", {}, "none of the labels"),
        ("z", {"options": ["x", "y"]}, "none of the labels A, B and of its options"),
        ("A", {"options": ["x", "X"]}, "give two different texts"),
        ("A", {"options": ["x"]}, "give two different texts"),
        ("A", {"options": list("uvwxyz")}, "at most 5 texts"),
        ("A", {"options": ["b", "c"]}, "the label of another"),
        ("A", {"options": "x or y"}, "give a list"),
    ],
)
def test_a_reference_that_names_no_option_is_refused(reference: Any, meta: dict[str, Any], said: str) -> None:
    assert said in refusal(Choice, reference, meta=meta)
    assert ask(Choice, reference, "A", meta=meta).status == "infrastructure"


def test_labels_may_be_any_words_that_differ() -> None:
    assert ask(Choice, "true", "The answer is True", labels=("true", "false")).value == 1.0
    assert ask(Choice, "2", "(2)", labels=("1", "2", "3")).value == 1.0
    for labels in (("A", "a"), ("A", "B C"), ("A",)):
        with pytest.raises(ValidationError, match="labels"):
            Choice.Config(labels=labels)


@given(st.text(alphabet="ABab ().,:\n-", max_size=12))
def test_no_text_is_right_for_two_references(said: str) -> None:
    assert sum(ask(Choice, right, said).value for right in LABELS) <= 1.0


@pytest.mark.parametrize("said", ["4_2", "4*2", "4$2", "4`2", "4{2}", "4 2", "4\\text{2}"])
def test_marks_within_a_word_are_a_part_of_it(said: str) -> None:
    assert ask(Choice, "B", said, meta={"options": ["41", "42"]}).value == 0.0
