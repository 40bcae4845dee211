"""Graded answers: several names are right, some partly, and listing all that one knows does not pay."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_answers import ask, refusal

from r1_plugins.rules import GradedAnswers
from r1_plugins.rules.graded_answers import edits

CHILDREN = {
    "correct": [["John Quincy Adams", "J. Q. Adams"], "Abigail Adams Smith", "Charles Adams", "Zoë d'Été"],
    "partly": [{"answer": "John Adams Jr.", "score": 0.5}, {"answer": ["the eldest", "the oldest son"], "score": 0.25}],
    "wrong": ["Louisa Adams", {"answer": "George Washington", "score": -0.5}],
}
WORTH = {
    "John Quincy Adams": 1.0,
    "charles adams": 1.0,
    "ZOE D'ETE": 1.0,
    "John Adams Jr.": 0.5,
    "the oldest son": 0.25,
    "Louisa Adams": 0.0,
    "Somebody Else": 0.0,
    "George Washington": -0.5,
}


@pytest.mark.parametrize(("name", "worth"), WORTH.items())
def test_a_name_is_worth_what_its_list_says(name: str, worth: float) -> None:
    assert ask(GradedAnswers, CHILDREN, name).value == worth


@given(
    st.lists(st.sampled_from(sorted(WORTH)), min_size=1, max_size=6),
    st.sampled_from([", ", "\n", "; ", " and ", " or ", " & ", "、"]),
)
def test_several_names_are_worth_what_the_worst_is(names: list[str], between: str) -> None:
    assert ask(GradedAnswers, CHILDREN, between.join(names)).value == min(WORTH[name] for name in names)


@given(st.lists(st.sampled_from(sorted(WORTH)), min_size=1, max_size=6, unique=True))
def test_their_mean_where_the_recipe_says_so(names: list[str]) -> None:
    mean = sum(WORTH[name] for name in names) / len(names)
    assert ask(GradedAnswers, CHILDREN, "\n".join(names), several="mean").value == pytest.approx(mean)


def test_order_numbering_and_repetition_do_not_matter() -> None:
    for order in permutations(["Charles Adams", "Abigail Adams Smith", "J. Q. Adams"]):
        listed = "\n".join(f"{number}. **{name}**" for number, name in enumerate([*order, order[0]], start=1))
        assert ask(GradedAnswers, CHILDREN, listed).value == 1.0


def test_listing_everything_does_not_pay() -> None:
    """Whoever knows every name of the lists, the right ones among them, earns no more than the worst of them."""
    every = [*WORTH]
    for seed in range(20):
        random.Random(seed).shuffle(every)
        assert ask(GradedAnswers, CHILDREN, ", ".join(every)).value == -0.5
    crowd = ", ".join(["Charles Adams", *(f"Person {number}" for number in range(25))])
    assert (ask(GradedAnswers, CHILDREN, crowd).value, ask(GradedAnswers, CHILDREN, crowd).reason) == (-0.5, "too_many")
    assert ask(GradedAnswers, CHILDREN, crowd, several="mean").value == -0.5
    guesses = ask(GradedAnswers, CHILDREN, "Charles Adams, A, B, C", several="mean", unknown=-0.5)
    assert guesses.value < 0 < ask(GradedAnswers, CHILDREN, "Charles Adams", unknown=-0.5).value


def test_no_answer_is_worth_no_more_than_the_worst_one() -> None:
    """Breaking the form must not be better than a wrong name."""
    for finish, answer in (("stop", ""), ("stop", "..."), ("length", "Charles Adams"), ("stop", "x" * 5000)):
        assert ask(GradedAnswers, CHILDREN, answer, finish=finish).value == -0.5  # type: ignore[arg-type]
    assert ask(GradedAnswers, {"correct": ["Ann"]}, "", unknown=-0.25).value == -0.25


def test_a_name_with_a_joining_word_in_it_stays_whole() -> None:
    places = {"correct": ["Trinidad and Tobago", "Bosnia & Herzegovina"], "wrong": ["Tobago"]}
    assert ask(GradedAnswers, places, "Trinidad and Tobago, Bosnia & Herzegovina").value == 1.0
    assert ask(GradedAnswers, places, "Tobago and Trinidad").value == 0.0


def test_spelling_mistakes_pass_where_the_recipe_lets_them_one_for_every_four_letters() -> None:
    for said, allowed, worth in (
        ("Abigail Adams Smitth", 0, 0.0),
        ("Abigail Adams Smitth", 1, 1.0),
        ("Abigal Adms Smith", 1, 0.0),
        ("Abigal Adms Smith", 2, 1.0),
        ("Gorge Washington", 1, -0.5),
    ):
        assert ask(GradedAnswers, CHILDREN, said, max_edits=allowed).value == worth, (said, allowed)
    assert ask(GradedAnswers, {"correct": ["Ann"]}, "Ana", max_edits=3).value == 0.0
    near = {"correct": ["Marie Curie"], "wrong": [{"answer": "Maria Curie", "score": -1}]}
    assert ask(GradedAnswers, near, "Mario Curie", max_edits=1).value == -1.0, "as near to both: the worse one"


def test_accents_matter_where_the_recipe_says_so() -> None:
    assert [ask(GradedAnswers, CHILDREN, "zoe d'ete", accents=accents).value for accents in (False, True)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (None, "give {correct: [...]"),
        (["Ann"], "give {correct: [...]"),
        ({"correct": []}, "give {correct: [...]"),
        ({"correct": ["Ann"], "right": []}, "give {correct: [...]"),
        ({"correct": "Ann"}, "give a name, a list of its spellings"),
        ({"correct": [["Ann", 3]]}, "give a name, a list of its spellings"),
        ({"correct": [{"name": "Ann"}]}, "give a name, a list of its spellings"),
        ({"correct": ["..."]}, "has no letter"),
        ({"correct": ["Ann"], "wrong": ["ann!"]}, "twice, worth 1 and 0"),
        ({"correct": ["Ann"], "partly": ["Bo"]}, "give it a score from 0 to 1"),
        ({"correct": ["Ann"], "partly": [{"answer": "Bo", "score": True}]}, "give it a score from 0 to 1"),
        ({"correct": ["Ann"], "wrong": [{"answer": "Bo", "score": 0.5}]}, "give it a score from -1 to 0"),
        ({"correct": ["Ann"], "wrong": [{"answer": "Bo", "score": float("nan")}]}, "give it a score from -1 to 0"),
    ],
)
def test_lists_that_cannot_be_read_are_refused(reference: Any, said: str) -> None:
    assert said in refusal(GradedAnswers, reference)
    assert ask(GradedAnswers, reference, "Ann").status == "infrastructure"


@given(st.text("ab", max_size=7), st.text("ab", max_size=7), st.integers(0, 3))
def test_edits_are_those_of_the_whole_table(one: str, other: str, most: int) -> None:
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            changed = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, changed)
    assert edits(one, other, most) == min(table[-1][-1], most + 1)


@pytest.mark.parametrize("odd", ["Ann\u200b", "A\u00adnn", "Ann\u0338", "\uff21nn", "Ann\x00", "\u0391nn"], ids=ascii)
def test_what_no_reader_would_take_for_the_name_is_another(odd: str) -> None:
    assert ask(GradedAnswers, {"correct": ["Ann", "한"]}, odd).value == 0.0
    assert ask(GradedAnswers, {"correct": ["Ann", "한"]}, "하").value == 0.0
