"""The table at the end of a run, and the model it sends people to."""

import json
from pathlib import Path

import pytest

from r1core.cli.results import tables, talk_to
from r1core.events import StageRow

PLAN = [
    StageRow("base", "train", "sft", "new"),
    StageRow("last", "train", "rl", "new"),
    StageRow("e", "evaluate", "", "new"),
]


def row(model: str, **metrics: object) -> dict[str, object]:
    return {"model": model, "metrics": {name.replace("pass_1", "pass@1"): value for name, value in metrics.items()}}


def made(folder: Path, *stages: str, architecture: str = "LlamaForCausalLM") -> Path:
    """A run's folder with a model of each stage."""
    for stage in stages:
        model = folder / "stages" / stage / "model"
        model.mkdir(parents=True)
        (model / "config.json").write_text(json.dumps({"architectures": [architecture]}), encoding="utf-8")
    return folder


def test_known_metrics_come_in_the_usual_order_then_the_others() -> None:
    (table,) = tables([row("base", zeta=1.0, length=9.5, pass_1=0.1, greedy=0.2)])
    assert [str(column.header) for column in table.columns] == ["model", "pass@1", "greedy", "length", "zeta"]


def test_a_metric_that_only_some_models_have_is_a_table_of_its_own() -> None:
    main, some = tables([row("base", pass_1=0.1), row("r1", pass_1=0.9, safe=1.0)])
    assert [str(column.header) for column in main.columns] == ["model", "pass@1"]
    assert str(some.title) == "safe"
    assert [[str(cell) for cell in column.cells] for column in some.columns] == [["r1"], ["1.00"]]


@pytest.mark.parametrize(("share", "shown"), [(0.0, False), (0.004, False), (0.2, True)])
def test_answers_that_were_cut_off_are_shown_when_there_are_some(share: float, shown: bool) -> None:
    main = tables([row("base", pass_1=0.1, clipped_ratio=0.0), row("r1", pass_1=0.9, clipped_ratio=share)])[0]
    assert ("clipped_ratio" in [str(column.header) for column in main.columns]) == shown


def test_breakdowns_are_tables_of_their_own_for_the_models_that_have_them() -> None:
    sliced = {"model": "r1", "metrics": {"hard": 0.2, "hard/task=sorting": 0.4, "pass@1/operands=3": 0.5}}
    main, hard, operands = tables([row("base", hard=0.1), sliced])
    assert [str(table.title) for table in (hard, operands)] == ["hard by task", "pass@1 by operands"]
    assert [str(column.header) for column in main.columns] == ["model", "hard"]
    assert [str(cell) for cell in hard.columns[0].cells] == ["r1"]


def test_a_curve_is_in_the_order_of_its_k_and_error_bars_stay_in_the_file() -> None:
    measured = {"pass@1": 0.2, "pass@1_ci95": [0.1, 0.3], "pass@1_se_sampling": 0.01, "pass@1_se_problem": 0.04}
    curve = {f"pass@1/k={k}": 0.2 for k in (1, 16, 2, 4, 8)}
    main, drawn = tables([{"model": "r1", "metrics": {**measured, **curve}}])
    assert [str(column.header) for column in main.columns] == ["model", "pass@1"]
    assert [str(column.header) for column in drawn.columns] == ["model", "1", "2", "4", "8", "16"]


def test_no_results_no_table() -> None:
    assert tables([]) == []


def test_people_are_sent_to_the_best_student(tmp_path: Path) -> None:
    folder = made(tmp_path, "student_rl", "student_distilled", "last")
    rows = [row("last", pass_1=0.9), row("student_rl", pass_1=0.2), row("student_distilled", pass_1=0.5)]
    assert talk_to(folder, rows, PLAN) == f"r1 chat {folder}/stages/student_distilled/model"


def test_without_a_student_to_the_last_model_that_was_made(tmp_path: Path) -> None:
    assert talk_to(made(tmp_path, "base", "last"), [], PLAN).endswith("/last/model")


def test_nobody_is_sent_to_a_model_that_does_not_speak(tmp_path: Path) -> None:
    folder = made(made(tmp_path, "base"), "last", architecture="LlamaForSequenceClassification")
    assert talk_to(folder, [], PLAN).endswith("/base/model")
    (folder / "stages" / "base" / "model" / "config.json").write_text('{"model_type": "toy"}', encoding="utf-8")
    assert talk_to(folder, [], PLAN) == ""


def test_the_command_can_be_pasted_when_the_folder_has_spaces(tmp_path: Path) -> None:
    assert talk_to(made(tmp_path / "my runs", "last"), [], PLAN) == f"r1 chat '{tmp_path}/my runs/stages/last/model'"


@pytest.mark.parametrize("plan", [[], PLAN])
def test_without_a_model_there_is_nobody_to_talk_to(plan: list[StageRow], tmp_path: Path) -> None:
    assert talk_to(tmp_path, [], plan) == ""
