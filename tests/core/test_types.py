"""The data that crosses the rooms: how an answer is split, and what a group keeps together."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core import types
from r1core.types import Group, Problem, Response, Rollout, Score

PLAIN = st.text(st.characters(exclude_characters="<>"), max_size=30)
PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "7", " ", "\n", "so", "<think", "think>"]),
    max_size=14,
).map("".join)

# --- one answer --------------------------------------------------------------------------------

LAYOUTS = {
    # text: (thinking, answer, tagged)
    "<think>2+2</think><answer>4</answer>": ("2+2", "4", True),
    "<think>\n2+2\n</think>\n\n<answer>\n4\n</answer>\n": ("2+2", "4", True),
    "<think></think><answer></answer>": ("", "", True),
    "<think>2+2</think> 4": ("2+2", "4", False),
    "<think>2+2</think>": ("2+2", "", False),
    # no closed think block: there is no answer yet
    "": (None, None, False),
    "4": (None, None, False),
    "<answer>4</answer>": (None, None, False),
    "<think>2+2": (None, None, False),
    "<think>2+2<answer>4</answer>": (None, None, False),
    # what stands before the block, or a second block, spoils the thinking, not the answer
    "2+2</think><answer>4</answer>": (None, "4", True),
    "well <think>2+2</think><answer>4</answer>": (None, "4", True),
    "<think>2</think><think>+2</think><answer>4</answer>": (None, "4", True),
    "<think>2<think>+2</think></think><answer>4</answer>": (None, "4", True),
    "<think>2</think>+2</think><answer>4</answer>": (None, "4", True),
    "<think>2</think><answer>3</answer><think>+2</think><answer>4</answer>": (None, "4", True),
    # a later opened block belongs to the answer
    "<think>2+2</think>4<think>5": ("2+2", "4<think>5", False),
    # tags that are not one pair around the whole answer
    "<think>2+2</think>so <answer>4</answer>": ("2+2", "so <answer>4</answer>", False),
    "<think>2+2</think><answer>4</answer> done": ("2+2", "<answer>4</answer> done", False),
    "<think>2+2</think><answer>4": ("2+2", "<answer>4", False),
    "<think>2+2</think>4</answer>": ("2+2", "4</answer>", False),
    "<think>2+2</think><answer>4</answer><answer>5</answer>": (
        "2+2",
        "<answer>4</answer><answer>5</answer>",
        False,
    ),
    "<think>2+2</think><answer><answer>4</answer></answer>": ("2+2", "<answer><answer>4</answer></answer>", False),
    "<think>2+2</think><answer><answer>4</answer>": ("2+2", "<answer><answer>4</answer>", False),
    "<think>2+2</think><answer>4</answer></answer>": ("2+2", "<answer>4</answer></answer>", False),
    # an answer within the thinking is thinking
    "<think><answer>3</answer></think><answer>4</answer>": ("<answer>3</answer>", "4", True),
    # tags are exact
    "<Think>2+2</Think><answer>4</answer>": (None, None, False),
    "<think >2+2</think><answer>4</answer>": (None, "4", True),
    "<think>2+2</think><ANSWER>4</ANSWER>": ("2+2", "<ANSWER>4</ANSWER>", False),
}


@pytest.mark.parametrize(("text", "wanted"), LAYOUTS.items())
def test_an_answer_is_split_at_its_last_think_block(text: str, wanted: tuple[str | None, str | None, bool]) -> None:
    found = Response.parse(text)
    assert (found.thinking, found.answer, found.tagged) == wanted
    assert (found.text, found.prefilled, found.finish) == (text, "", "stop")


@pytest.mark.parametrize(
    ("cut", "text", "wanted"),
    [(cut, t, w) for cut in ("<think>", "<thi", "<think>2+") for t, w in LAYOUTS.items() if t.startswith(cut)],
)
def test_what_the_prompt_opened_belongs_to_the_answer(cut: str, text: str, wanted: Any) -> None:
    found = Response.parse(text.removeprefix(cut), prefilled=cut, finish="length")
    assert (found.thinking, found.answer, found.tagged) == wanted
    assert (found.text, found.prefilled, found.finish) == (text.removeprefix(cut), cut, "length")


def test_a_think_tag_opened_twice_is_malformed() -> None:
    assert Response.parse("<think>2+2</think> 4", prefilled="<think>\n").thinking is None


@given(PLAIN, PLAIN)
def test_a_well_formed_answer_comes_back(thinking: str, answer: str) -> None:
    found = Response.parse(f"<think>{thinking}</think>\n<answer>{answer}</answer>")
    assert (found.thinking, found.answer, found.tagged) == (thinking.strip(), answer.strip(), True)


@given(PIECES, PIECES)
def test_no_layout_breaks_the_split(prefilled: str, text: str) -> None:
    found = Response.parse(text, prefilled=prefilled)
    whole = prefilled + text
    assert (found.answer is None) == ("</think>" not in whole)
    assert "</think>" not in (found.answer or "")
    if found.thinking is not None:
        assert "<think>" not in found.thinking
        assert "</think>" not in found.thinking
        assert whole.strip().startswith("<think>")
        assert whole.count("</think>") == 1
    if found.tagged:
        assert "<answer>" not in (found.answer or "")
        assert whole.strip().endswith("</answer>")


@given(PIECES, st.integers(0, 200))
def test_where_the_prompt_ends_changes_nothing_of_the_split(whole: str, cut: int) -> None:
    one, other = Response.parse(whole), Response.parse(whole[cut:], prefilled=whole[:cut])
    assert (one.thinking, one.answer, one.tagged) == (other.thinking, other.answer, other.tagged)


def test_a_long_answer_is_split_in_linear_time() -> None:
    for hard in ("<answer>" + "</answer> " * 100_000 + "x", " " * 400_000 + "x", "<answer>" * 100_000):
        assert Response.parse("<think>" * 50_000 + "</think>" + hard).tagged is False


# --- problems, scores, groups --------------------------------------------------------------------


def test_the_question_is_the_users_last_message() -> None:
    messages = (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "content": "<think>"},
    )
    assert Problem(id="p", messages=messages).question == "2+2"
    assert Problem(id="p", messages=messages[:1]).question == ""


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        ({}, True),
        ({"domain": "math", "language": "zh"}, True),
        ({"domain": "math", "level": "3"}, True),
        ({"domain": "math", "level": "4"}, False),
        ({"id": "p", "unheard_of": "x"}, False),
    ],
)
def test_a_problem_matches_by_its_fields_and_its_meta_keys(only: dict[str, str], wanted: bool) -> None:
    asked = Problem(id="p", domain="math", language="zh", meta={"level": 3, "domain": "not this one"})
    assert asked.matches(only) is wanted


def test_only_infrastructure_failures_are_unknown() -> None:
    known = {status: Score(value=1.0, status=status).known for status in ("verdict", "answer_failure")}
    assert known == {"verdict": True, "answer_failure": True}
    assert not Score(value=float("nan"), status="infrastructure").known


def group(*values: float) -> Group:
    problem = Problem(id="p7")
    rollouts = tuple(
        Rollout(
            problem=problem,
            sample=number,
            prompt_ids=np.array([1]),
            completion_ids=np.array([2]),
            logprobs=None,
            response=Response.parse(""),
        )
        for number in range(len(values))
    )
    return Group(problem=problem, rollouts=rollouts).scored(tuple(Score(value=value) for value in values))


def test_a_group_keeps_rollouts_and_scores_together() -> None:
    kept = group(0.0, 1.0, 2.0).keep([True, False, True])
    assert [rollout.sample for rollout in kept.rollouts] == [0, 2]
    assert kept.rewards_G.tolist() == [0.0, 2.0]
    assert kept.rewards_G.dtype == np.float64


def test_an_unscored_group_keeps_its_rollouts() -> None:
    unscored = dataclasses.replace(group(0.0, 1.0), scores=())
    kept = unscored.keep([False, True])
    assert [rollout.sample for rollout in kept.rollouts] == [1]
    assert kept.scores == ()
    assert kept.rewards_G.shape == (0,)


@pytest.mark.parametrize("chosen", [[True], [True, False, True]])
def test_a_choice_for_another_group_is_refused(chosen: list[bool]) -> None:
    with pytest.raises(ValueError, match="zip"):
        group(0.0, 1.0).keep(chosen)


def test_scores_of_another_group_are_refused() -> None:
    with pytest.raises(ValueError, match="1 scores for 2 rollouts of problem 'p7'"):
        group(0.0, 1.0).scored((Score(value=0.0),))


def test_nothing_that_crosses_the_rooms_can_be_changed() -> None:
    crossing = [v for v in vars(types).values() if isinstance(v, type) and v.__module__ == types.__name__]
    assert len(crossing) >= 10
    for kind in crossing:
        assert dataclasses.is_dataclass(kind), kind
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
        assert all(field.kw_only for field in dataclasses.fields(kind)), kind
