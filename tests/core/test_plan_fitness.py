"""A model that scores answers is not asked to write any, and is shown what it learned from: the plan sees to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_recipes import HEAD, planned, refused

STAGES = """\
stages:
  rm:
    train: {use: grade, sees: answer}
    model: base
    data: kept
  kept:
    sample: {prompts: 4}
    model: base
    problems: reasoning
    rewards: [accuracy]
  final:
    train: {use: reinforce}
    model: base
    problems: reasoning
    rewards: [accuracy, {use: asked, model: rm}]
"""
RECIPE = HEAD + STAGES


def change(old: str, new: str) -> str:
    assert old in STAGES
    return HEAD + STAGES.replace(old, new, 1)


def test_a_model_that_is_asked_as_it_was_trained_is_planned(tmp_path: Path) -> None:
    assert planned(tmp_path, RECIPE).stage("final").inputs == ("base", "rm")
    same = change("model: rm}", "model: rm, sees: answer}")
    assert planned(tmp_path, same).stages


def test_a_policy_without_a_score_head_is_refused_to_a_trainer_that_needs_one(tmp_path: Path) -> None:
    said = refused(
        tmp_path, change("    model: base\n    data: kept", "    model: base\n    policy: wordy\n    data: kept")
    )
    assert "stages.rm.train: trainer grade needs a score head, policy wordy has none\n  train it with another" in said


def test_another_option_than_in_training_is_refused_at_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, change("model: rm}", "model: rm, sees: response}")) == (
        "recipe.yaml:20:49: stages.final.rewards.1.sees: "
        "'rm' was trained with sees: answer, here it is sees: response\n"
        "  write `sees: answer`\n"
        "1 error"
    )


def test_defaults_count_on_both_sides(tmp_path: Path) -> None:
    said = refused(tmp_path, change("{use: grade, sees: answer}", "{use: grade, sees: response}"))
    assert said.startswith("recipe.yaml:20:25: stages.final.rewards.1: 'rm' was trained with sees: response, here")
    assert planned(tmp_path, change("{use: grade, sees: answer}", "grade")).stages


def test_a_trainer_without_the_option_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, change("model: rm}", "model: base}"))
    assert "stages.final.rewards.1.model: 'base' was trained by fit, which has no option 'sees' to agree with" in said


def test_an_imported_model_is_taken_as_it_is(tmp_path: Path) -> None:
    imported = RECIPE + "  theirs: {import: some/reward-model}\n"
    for sees in ("answer", "response"):
        text = imported.replace("model: rm}", f"model: theirs, sees: {sees}}}")
        assert planned(tmp_path, text).stages


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("sample: {prompts: 4}\n    model: base", "sample: {prompts: 4}\n    model: rm", "stages.kept.model"),
        ("train: {use: reinforce}\n    model: base", "train: {use: reinforce}\n    model: rm", "stages.final.model"),
    ],
)
def test_a_model_that_scores_writes_nothing(tmp_path: Path, old: str, new: str, place: str) -> None:
    assert f"{place}: the model of stage 'rm' scores answers, it cannot write any" in refused(
        tmp_path, change(old, new)
    )


def test_a_model_that_scores_is_not_measured_by_its_answers(tmp_path: Path) -> None:
    table = (
        "  table:\n    evaluate: {sets: {a: {problems: reasoning}}}\n    models: [base, rm]\n    rewards: [accuracy]\n"
    )
    assert "stages.table.models.1: the model of stage 'rm' scores answers" in refused(tmp_path, RECIPE + table)
    within = change(
        "data: kept", "data: kept\n    evaluate: {sets: {a: {problems: reasoning}}}\n    rewards: [accuracy]"
    )
    assert "stages.rm.evaluate: the model of trainer grade scores answers: there are none of its own" in refused(
        tmp_path, within
    )


def test_a_model_that_scores_may_learn_on(tmp_path: Path) -> None:
    more = "  more:\n    train: grade\n    model: rm\n    data: kept\n"
    assert planned(tmp_path, RECIPE + more).stage("more").model == "rm"


def test_a_gate_may_be_on_what_a_trainer_measures(tmp_path: Path) -> None:
    gated = change("data: kept", "data: kept\n    gate: [{metric: eval/ranking, min: 0.5}]")
    assert planned(tmp_path, gated).stages
    said = refused(tmp_path, gated.replace("eval/ranking", "eval/rankin"))
    assert "neither `evaluate` nor the trainer measures 'eval/rankin'\n  did you mean 'eval/ranking'?" in said
