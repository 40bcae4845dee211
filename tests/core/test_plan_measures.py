"""What a stage evaluates has names, and limits on what nobody measures are refused before the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_recipes import HEAD, STAGES, planned, refused

from r1core.recipe.measures import part_names

REWARDS = "    rewards: [accuracy, {use: toy, weight: 0.5, mode: hard}]\n"
EVALUATE = "    evaluate: {sets: {quick: {problems: reasoning, by: [domain]}, slow: {problems: reasoning}}}\n"
RECIPE = HEAD + STAGES.replace(REWARDS, REWARDS + EVALUATE, 1)


def limited(kind: str, metric: str) -> str:
    limit = f"{{metric: {metric}, min: 0.1}}"
    text = f"    gate: [{limit}]\n" if kind == "gate" else f"    extend: {{until: {limit}}}\n"
    return RECIPE.replace(EVALUATE, EVALUATE + text)


@pytest.mark.parametrize("kind", ["gate", "extend"])
@pytest.mark.parametrize(
    "metric",
    ["eval/quick", "eval/slow", "eval/quick/domain=x", "eval/toy", "eval/length", "eval/clipped_ratio"],
)
def test_a_limit_may_be_on_anything_that_is_measured(tmp_path: Path, kind: str, metric: str) -> None:
    assert planned(tmp_path, limited(kind, metric)).stage("zero")


@pytest.mark.parametrize("kind", ["gate", "extend"])
@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("eval/qiuck", "did you mean 'eval/quick'?"),
        ("eval/quick/domian=x", "did you mean 'eval/quick/domain=...'?"),
        ("eval/quick/", "did you mean 'eval/quick'?"),
        ("eval/slow/domain=x", "did you mean"),
        ("eval/toyy", "did you mean 'eval/toy'?"),
        ("eval/lenght", "did you mean 'eval/length'?"),
    ],
)
def test_a_limit_on_what_is_not_measured_is_refused(tmp_path: Path, kind: str, metric: str, hint: str) -> None:
    said = refused(tmp_path, limited(kind, metric))
    place = "13:13: stages.zero.gate.0.metric" if kind == "gate" else "13:22: stages.zero.extend.until.metric"
    assert said.startswith(f"recipe.yaml:{place}: the stage's `evaluate` does not measure {metric!r}\n  {hint}")
    assert said.endswith("1 error")


def test_an_extension_waits_for_nothing_but_the_evaluation(tmp_path: Path) -> None:
    assert "does not measure 'quick'\n  did you mean 'eval/quick'?" in refused(tmp_path, limited("extend", "quick"))
    assert "does not measure 'grad_norm'\n  it measures eval/quick, " in refused(
        tmp_path, limited("extend", "grad_norm")
    )
    assert planned(tmp_path, limited("gate", "loss")).stages


def test_a_limit_on_an_evaluation_that_is_not_there(tmp_path: Path) -> None:
    said = refused(tmp_path, limited("gate", "eval/quick").replace(EVALUATE, ""))
    assert "12:13: stages.zero.gate.0.metric: the stage's `evaluate` does not measure 'eval/quick'\n  give the" in said


@pytest.mark.parametrize("name", ["length", "clipped_ratio", "toy"])
def test_a_set_may_not_hide_what_is_told_of_the_answers(tmp_path: Path, name: str) -> None:
    said = refused(tmp_path, RECIPE.replace("quick:", f"{name}:"))
    assert f"12:23: stages.zero.evaluate.sets.{name}: set {name!r} would hide the answers' own {name!r}\n" in said
    said = refused(tmp_path, RECIPE.replace("{score:", "{length:"))
    assert "stages.table.evaluate.sets.length: set 'length' would hide the answers' own 'length'\n  give it" in said


def test_a_set_may_be_named_like_the_reward_that_it_is_the_mean_of(tmp_path: Path) -> None:
    assert planned(tmp_path, RECIPE.replace("quick:", "accuracy:")).stages


def test_parts_go_by_short_names_each_its_own() -> None:
    assert part_names(["a", "p/a", "./x.py:Mine", "a"]) == ["a", "a_2", "Mine", "a_3"]
    assert part_names(["p/q/a_2", "a", "a"]) == ["a_2", "a", "a_3"]
