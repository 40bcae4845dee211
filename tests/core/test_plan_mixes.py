"""Mixed sources and balanced data, as a recipe writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_runs import go, planned

from r1core.choices import Use
from r1core.errors import RecipeError
from r1core.recipe.schema import Mix
from r1core.store import read_rows

SLOTS = {"problems": "{easy: Numbers, general: {use: Numbers, count: 5}}"}
MIXED = "  base: BASE\n  traces: {sample: {prompts: 8, chunk: 3}, model: base, problems: PROBLEMS}\n"
BALANCED = """\
  base: BASE
  many: {sample: {prompts: 8}, model: base, problems: Numbers}
  few: {sample: {prompts: 2}, model: base, problems: Numbers}
  learner: {train: sft, model: base, data: DATA, balance: BALANCE}
"""


def refusal(folder: Path, text: str, **more: str) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(folder, text, **more)
    return str(caught.value)


def test_a_mix_names_slots_and_sources_with_their_weights(tmp_path: Path) -> None:
    plan = planned(tmp_path, MIXED.replace("PROBLEMS", "{mix: {easy: 3, general: 1}}"), **SLOTS)
    problems = plan.stage("traces").stage.problems
    assert problems is not None
    point = problems.at(0, 1)
    assert isinstance(point, Mix)
    assert [share.weight for share in point.mix] == [3, 1]
    sources = [share.problems.at(0, 1) for share in point.mix]
    assert [source.options.get("count", 1000) for source in sources if isinstance(source, Use)] == [1000, 5]


def test_a_mix_runs_and_is_the_same_when_it_is_read_back(tmp_path: Path) -> None:
    go(tmp_path, MIXED.replace("PROBLEMS", "{0: {mix: {Numbers: 2}}}"))
    rows = list(read_rows(tmp_path / "run" / "stages" / "traces" / "data"))
    assert [row["id"] for row in rows] == [str(number) for number in range(8)]


def test_a_mix_of_an_unknown_domain_is_refused_with_its_line(tmp_path: Path) -> None:
    said = refusal(tmp_path, MIXED.replace("PROBLEMS", "{mix: {easy: 3, genral: 1}}"), **SLOTS)
    assert "recipe.yaml:" in said
    assert "no problem slot and no source 'genral'\n  did you mean 'general'?" in said


@pytest.mark.parametrize("weight", ["0", "-1", "heavy"])
def test_a_weight_is_a_positive_number(tmp_path: Path, weight: str) -> None:
    said = refusal(tmp_path, MIXED.replace("PROBLEMS", f"{{mix: {{easy: {weight}}}}}"), **SLOTS)
    assert "weight" in said
    assert "recipe.yaml:" in said


@pytest.mark.parametrize(
    ("data", "balance", "said"),
    [
        ("[many, few]", "{many: 3, fwe: 1}", "'fwe' is not among the stage's data\n  did you mean 'few'?"),
        ("[many, few]", "{many: 3}", "'few' has no weight"),
        ("[many, {use: Numbers}]", "{many: 3}", "has no weight\n  sample a dataset from it first"),
    ],
)
def test_a_balance_weighs_just_the_datasets(tmp_path: Path, data: str, balance: str, said: str) -> None:
    text = BALANCED.replace("DATA", data).replace("BALANCE", balance)
    assert said in refusal(tmp_path, text)


def test_a_slot_that_is_a_schedule_may_stand_in_a_schedule(tmp_path: Path) -> None:
    slots = {"problems": "{grows: {0: {use: Numbers, count: 3}, 50%: Numbers}}"}
    text = (
        "  base: BASE\n  zero: {train: {use: Climb, rollouts: true}, model: base, rewards: [Exact],"
        " problems: {0: grows, 75%: {mix: {grows: 1}}}}\n"
    )
    problems = planned(tmp_path, text, **slots).stage("zero").stage.problems
    assert problems is not None
    assert [len(point.mix[0].problems.points) for point in problems.points.values() if isinstance(point, Mix)] == [2, 2]
