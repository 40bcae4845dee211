"""Filters and rewards for a training step's own rollouts: difficulty, cut-off answers, overlong answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_training import LOST, group, problem, rollout

from r1_plugins.online import Difficulty, Truncated
from r1_plugins.rules import Overlong
from r1core.errors import RecipeError
from r1core.testing.stages import launch
from r1core.types import Group, Response, Score

# --- difficulty ------------------------------------------------------------------------------------


def difficulty(**options: Any) -> Difficulty:
    return Difficulty(Difficulty.Config(**options))


def answered(name: str, *values: float | None) -> Group:
    scores = [LOST if v is None else Score(value=2 * v, parts={"accuracy": v, "format": 1.0}) for v in values]
    return group(name, *scores)


def reasons(judge: Difficulty, *groups: Group) -> list[str]:
    """Why each group was rejected, "" where it was kept; all of a group alike."""
    found = [{(verdict.keep, verdict.reason) for verdict in judge.judge(each)} for each in groups]
    assert all(len(own) == 1 for own in found)
    told = [own.pop() for own in found]
    assert all(keep == (not reason) for keep, reason in told)
    return [reason for _, reason in told]


def test_a_problem_is_kept_while_its_pass_rate_lies_in_the_band() -> None:
    judge = difficulty(min=0.25, max=0.75)
    groups = [
        answered("a", 0, 0, 0, 0),
        answered("b", 1, 0, 0, 0),
        answered("c", 1, 1, 1, 0),
        answered("d", 1, 1, 1, 1),
    ]
    assert reasons(judge, *groups) == ["too_hard", "", "", "too_easy"]


def test_what_earlier_answers_showed_is_remembered() -> None:
    judge = difficulty(min=0.2, decay=1.0)
    assert reasons(judge, answered("a", 1, 0), *[answered("a", 0, 0)] * 4) == ["", "", *["too_hard"] * 3]
    assert reasons(judge, answered("b", 0, 0)) == ["too_hard"], "another problem has its own"


def test_the_past_weighs_less_with_every_visit() -> None:
    hard_once = [answered("a", 0, 0), answered("a", 1, 1)]
    # 2 of 4 with all of the past, 2 of 3 with half of it, 2 of 2 without
    for decay, rate in ((1.0, 0.5), (0.5, 2 / 3), (0.0, 1.0)):
        for bound, reason in ((rate + 1e-9, ""), (rate - 1e-9, "too_easy")):
            assert reasons(difficulty(min=0, max=min(bound, 1.0), decay=decay), *hard_once)[1] == reason


def test_a_problem_is_known_again_in_another_place_of_the_run() -> None:
    judge = difficulty(min=0.3, decay=1.0)
    first = answered("a", 1, 0)
    again = answered("a", 0, 0)
    moved = replace(again, problem=replace(again.problem, id="a@7.3"))
    namesake = replace(answered("b", 0, 0), problem=replace(problem("b"), id="a"))
    assert reasons(judge, first, moved, namesake) == ["", "too_hard", "too_hard"]
    assert sorted(judge.state()["seen"].values()) == [[0.0, 2.0], [1.0, 4.0]]


def test_answers_that_were_lost_count_neither_way() -> None:
    judge = difficulty(min=0.4)
    assert reasons(judge, answered("a", None, None)) == ["not_scored"]
    assert reasons(judge, answered("a", 1, None, None, 0)) == [""]
    assert reasons(judge, answered("a", None, None)) == [""], "what was known before holds"


def test_a_part_that_is_not_there_is_a_mistake_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match="no score part 'exact'; present: accuracy, format") as caught:
        difficulty(part="exact").judge(answered("a", 1))
    assert "filter 'difficulty'" in str(caught.value)


def test_a_band_without_anything_in_it_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"min is 0\.8 and max 0\.2"):
        Difficulty.Config(min=0.8, max=0.2)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=4))))
def test_a_new_process_judges_as_the_old_one_would_have(visits: list[tuple[str, list[float | None]]]) -> None:
    groups = [answered(name, *values) for name, values in visits]
    whole, before, after = (difficulty(min=0.3, max=0.7) for _ in range(3))
    wanted = reasons(whole, *groups)
    half = len(groups) // 2
    found = reasons(before, *groups[:half])
    after.load(json.loads(json.dumps(before.state())))
    assert found + reasons(after, *groups[half:]) == wanted


# --- cut off ---------------------------------------------------------------------------------------


def test_answers_that_were_cut_off_are_dropped_one_by_one() -> None:
    asked = problem("a")
    answers = (rollout(asked, 0), rollout(asked, 1, finish="length"), rollout(asked, 2))
    verdicts = Truncated(Truncated.Config()).judge(Group(problem=asked, rollouts=answers))
    assert [(verdict.keep, verdict.reason) for verdict in verdicts] == [(True, ""), (False, "truncated"), (True, "")]


# --- overlong --------------------------------------------------------------------------------------


def penalty(tokens: int | None, longest: int = 100, margin: int = 20) -> Score:
    response = replace(Response.parse("<think></think>8"), tokens=tokens)
    return Overlong(Overlong.Config(longest=longest, margin=margin)).score(problem("a"), response)


@given(st.integers(0, 300), st.integers(1, 200), st.data())
def test_the_penalty_is_dapos(tokens: int, longest: int, data: Any) -> None:
    margin = data.draw(st.integers(1, longest))
    if tokens <= longest - margin:
        wanted = 0.0
    elif tokens <= longest:
        wanted = ((longest - margin) - tokens) / margin
    else:
        wanted = -1.0
    assert penalty(tokens, longest, margin).value == pytest.approx(wanted, abs=1e-12)


def test_a_text_that_nobody_counted_is_not_charged_and_says_so() -> None:
    assert (penalty(None).value, penalty(None).reason) == (0.0, "not_counted")
    assert (penalty(99).reason, penalty(80).reason) == ("overlong", "")


def test_a_margin_without_a_free_length_is_refused() -> None:
    with pytest.raises(ValidationError, match="margin is 30, longest 20"):
        Overlong.Config(longest=20, margin=30)


RECIPE = """\
r1: 1
name: overlong
engines: {policy: echo, sampler: echo}
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 4}, model: {scratch: {model_type: echo}}, data: {use: echo}}
  zero:
    train:
      {use: rl, preset: ppo_mc, steps: 2, prompts: 8, samples: 4, lr: 0.1, filters: [truncated], states: {every: 4}}
    model: base
    problems: echo
    rewards: [accuracy, {use: overlong, longest: 12, margin: 4}]
    sampling: {max_new_tokens: 12}
"""


def test_rewards_in_their_workers_know_how_long_an_answer_is(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    launch(recipe, tmp_path / "run", "zero")
    rows = parquet.read_table(tmp_path / "run/stages/zero/rollouts").to_pylist()
    lengths = {row["tokens"]: json.loads(row["parts"])["overlong"] for row in rows}
    assert len(lengths) > 2
    assert lengths == {tokens: -min(max((tokens - 8) / 4, 0.0), 1.0) for tokens in lengths}
    assert {row["finish"] for row in rows if row["tokens"] == 12} == {"length"}
