"""What comes apart from its thinking is an answer without tags, and what rewards read of answers counts as votes."""

from __future__ import annotations

from typing import Any

import pytest

from r1core.boxes import boxed
from r1core.plugins import PluginHost
from r1core.store.rows import read_rows, response_of, rollout_row, write_rows
from r1core.types import Problem, Response, Score, Verdict

THOUGHT = "<think>\nso it is\n</think>\n\n"


def score(reward: str, reference: Any, response: Response, **options: Any) -> Score:
    component = PluginHost.discover().find("reward", reward)
    found: Score = component(component.Config.model_validate(options)).score(
        Problem(id="p", reference=reference), response
    )
    return found


@pytest.mark.parametrize("reward", ["accuracy", "exact", "numeric", "math"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"{THOUGHT}9", 1.0),
        ("9", 1.0),  # the endpoint hides what it thought, or did not think
        (f"{THOUGHT}The answer is \\boxed{{9}}.", 1.0),
        (f"{THOUGHT}<answer>9</answer>", 1.0),
        (f"{THOUGHT}\\boxed{{8}}, or \\boxed{{9}}", 0.0),  # two answers are none
        (f"{THOUGHT}8", 0.0),
        (THOUGHT, 0.0),
        ("<think>\nstill thinking: 9", 0.0),
    ],
)
def test_what_came_apart_needs_neither_tags_nor_thinking(reward: str, text: str, value: float) -> None:
    assert score(reward, "9", Response.parse(text, apart=True)).value == value


@pytest.mark.parametrize("reward", ["accuracy", "exact", "numeric"])
@pytest.mark.parametrize("text", [f"{THOUGHT}9", "9", f"{THOUGHT}\\boxed{{9}}"])
def test_a_text_that_is_all_the_models_still_needs_its_tags(reward: str, text: str) -> None:
    assert score(reward, "9", Response.parse(text)) == Score(value=0.0, reason="format")


@pytest.mark.parametrize("reward", ["accuracy", "math"])
def test_what_was_cut_off_stays_wrong(reward: str) -> None:
    cut = score(reward, "9", Response.parse(f"{THOUGHT}9", finish="length", apart=True))
    assert (cut.value, cut.reason) == (0.0, "truncated")


def test_a_text_without_think_tags_is_an_answer_where_thinking_is_optional() -> None:
    plain = Response.parse("The answer is \\boxed{9}.").unthought()
    assert (plain.answer, plain.thinking, plain.text) == (
        "The answer is \\boxed{9}.",
        None,
        "The answer is \\boxed{9}.",
    )
    thought = Response.parse(f"{THOUGHT}9")
    assert thought.unthought() == thought
    for still in (Response.parse("9", prefilled="<think>\n"), Response.parse("<think>9")):
        assert still.unthought().answer is None


def test_a_row_remembers_that_its_answer_came_apart_and_others_have_no_such_column(tmp_path: Any) -> None:
    from r1core.stages.given import rollout_of

    plain = rollout_of(Problem(id="p"), f"{THOUGHT}9")
    row = rollout_row(plain, None, Verdict(keep=True))
    apart = {**row, "apart": True, "extracts": {"accuracy": "9"}}
    for folder, rows in (("plain", [row]), ("apart", [row, apart])):
        write_rows(tmp_path / folder, rows)
    (read,) = read_rows(tmp_path / "plain")
    assert not {"apart", "extracts"} & read.keys()
    first, second = read_rows(tmp_path / "apart")
    assert [response_of(each).apart for each in (first, second)] == [False, True]
    assert [each["extracts"] for each in (first, second)] == [{}, {"accuracy": "9"}]


# --- votes -----------------------------------------------------------------------------------------


def votes(reward: str, reference: Any, texts: list[str], **options: Any) -> list[str]:
    return [score(reward, reference, Response.parse(THOUGHT + text, apart=True), **options).extracted for text in texts]


@pytest.mark.parametrize(
    ("reward", "reference", "alike", "other"),
    [
        ("math", "33", [r"\boxed{33}", r"So it is \boxed{033}."], [r"\boxed{34}"]),
        ("math", "7", [r"\boxed{0.5}", r"\boxed{\frac12}", r"\boxed{1/2}"], [r"\boxed{0.51}", r"\boxed{x+1}"]),  # wrong
        ("math", r"\frac12", [r"\boxed{0.5}", r"\boxed{\frac{1}{2}}"], [r"\boxed{2}"]),
        ("math", "7", [r"\boxed{1 + \sqrt{5}}", r"\boxed{\sqrt{5}+1}"], [r"\boxed{\sqrt{5}}"]),
        ("choice", "B", ["B", "(B)", "**B**", "The answer is B."], ["C"]),
        ("accuracy", ["eight", "8"], ["8", "eight"], ["9"]),
        ("numeric", 0.5, ["1/2", "0.5", "50 %"], ["0.6"]),
    ],
)
def test_equal_answers_are_one_vote(reward: str, reference: Any, alike: list[str], other: list[str]) -> None:
    (vote,) = set(votes(reward, reference, alike))
    assert vote
    assert vote not in votes(reward, reference, other)


def test_who_gives_no_answer_casts_no_vote() -> None:
    assert votes("math", "7", ["no idea what it is, to be honest \\boxed{", ""]) == ["", ""]
    assert votes("choice", "B", ["B or C", "neither"]) == ["", ""]
    assert score("accuracy", "9", Response.parse("9")).extracted == ""


def test_a_box_holds_what_its_own_brace_closes() -> None:
    assert boxed(r"\boxed{\frac{1}{2}} and \fbox{\{1, 2\}} then \boxed{never") == [r"\frac{1}{2}", r"\{1, 2\}"]
    assert boxed("none") == []
