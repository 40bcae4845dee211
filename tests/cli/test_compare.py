"""`r1 compare`: the table of a finished ablation, runs side by side, and what it refuses to compare."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from in_process import called
from toy_ablation import RECIPE, r1

ALONE = RECIPE.replace(RECIPE[RECIPE.index("matrix:") : RECIPE.index("stages:\n")], "")


def tables(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = called(folder, "compare", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def copy(ablated: Path, tmp_path: Path) -> Path:
    """The ablation, to be spoiled."""
    shutil.copytree(ablated / "runs", tmp_path / "runs")
    return tmp_path


def records(run: Path, stages: str) -> Iterator[Path]:
    yield from sorted(run.glob(f"stages/{stages}/stage.json"))


def change(path: Path, edit: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


# --- the table -------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_runs(ablated: Path) -> None:
    (table,) = tables(ablated, "runs/toys", "--reach", "0.5")
    assert {key: table[key] for key in ("name", "metric", "problems", "seeds", "start")} == {
        "name": "zero",
        "metric": "pass@1",
        "problems": 60,
        "seeds": 3,
        "start": "base",
    }
    rows = {
        row["model"]: row["metrics"] for row in json.loads((ablated / "runs/toys/results.json").read_text())["rows"]
    }
    for row in table["rows"]:
        estimator = row["where"]["estimator"]
        own = [rows[f"zero@{estimator},seed={seed}"]["pass@1"] for seed in range(3)]
        assert row["models"] == [f"zero@{estimator},seed={seed}" for seed in range(3)]
        assert row["score"]["mean"] == pytest.approx(sum(own) / 3)
        assert row["gain"]["mean"] == pytest.approx(sum(own) / 3 - rows["base"]["pass@1"])
        assert row["wall_s"] > 0
        assert 0 <= row["silent"] <= 1
    grpo, blind = table["rows"]
    assert grpo["against"] is None
    assert blind["against"]["mean"] == pytest.approx(blind["score"]["mean"] - grpo["score"]["mean"])
    assert grpo["gain"]["low"] > 0.5  # it learned
    assert blind["gain"] == {"mean": 0.0, "low": None, "high": None}  # at a rate of 1e-9 not one answer differs
    for row in table["rows"]:
        assert row["score"]["low"] < row["score"]["mean"] + 1e-9 <= row["score"]["high"] + 2e-9 <= 1 + 2e-9
        assert row["score"]["high"] - row["score"]["low"] > 0.05  # on 60 problems nobody is sure, at 1.00 neither
    assert blind["against"]["high"] < 0


def test_tokens_to_a_score_are_those_sampled_until_training_reached_it(ablated: Path) -> None:
    (table,) = tables(ablated, "runs/toys", "--reach", "0.5")
    grpo, blind = table["rows"]
    assert (blind["tokens_to_reach"], blind["reached"]) == (None, 0)
    expected, total = [], []
    for seed in range(3):
        file = ablated / f"runs/toys/stages/zero@grpo,seed={seed}/metrics.jsonl"
        steps = [json.loads(line) for line in file.read_text().splitlines()]
        scores = [step["rewards/accuracy/mean"] for step in steps]
        reached = next(i for i in range(4, len(scores)) if sum(scores[i - 4 : i + 1]) / 5 >= 0.5)
        expected.append(sum(step["num_tokens"] for step in steps[: reached + 1]))
        total.append(sum(step["num_tokens"] for step in steps))
    assert grpo["reached"] == 3
    assert grpo["tokens_to_reach"] == pytest.approx(sum(expected) / 3)
    assert grpo["tokens"] == pytest.approx(sum(total) / 3)
    assert grpo["tokens_to_reach"] < grpo["tokens"]


def test_the_table_fits_a_terminal_and_says_how_intervals_are_made(ablated: Path) -> None:
    said = r1(ablated, "compare", "runs/toys", "--reach", "0.5").stdout
    assert max(map(len, said.splitlines())) <= 110
    assert "Student's t over seeds and problems; differences are paired by problem and seed" in said
    assert "stages.zero.train.lr.peak: 0.3 -> 1e-09" in said
    assert "never" in said


def test_another_set_and_another_base(ablated: Path) -> None:
    (table,) = tables(ablated, "runs/toys", "--metric", "greedy", "--base", "blind")
    assert (table["metric"], table["problems"]) == ("greedy", 20)
    assert [row["where"]["estimator"] for row in table["rows"]] == ["blind", "grpo"]
    assert table["rows"][1]["against"]["mean"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("runs/toys", "--base", "blnid"), "no variant 'blnid'\n  did you mean 'blind'?"),
        (("runs/toys", "--metric", "greddy"), "no set 'greddy'\n  did you mean 'greedy'?"),
        (("runs",), "runs: there is no run"),
        (("nothing",), "nothing: there is no run"),
    ],
)
def test_a_slip_is_exit_2(ablated: Path, arguments: tuple[str, ...], said: str) -> None:
    done = called(ablated, "compare", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_half_done_ablation_is_compared_as_far_as_it_is(copy: Path) -> None:
    shutil.rmtree(copy / "runs/toys/stages/table@blind,seed=2")
    shutil.rmtree(copy / "runs/toys/stages/zero@grpo,seed=1")
    done = called(copy, "compare", "runs/toys")
    assert done.returncode == 0, done.stderr
    assert "not finished in runs/toys: zero@grpo,seed=1, zero@blind,seed=2" in done.stdout
    (table,) = tables(copy, "runs/toys")
    assert [len(row["models"]) for row in table["rows"]] == [2, 2]
    assert "note: blind: 1 of the base's seeds are not there" in done.stdout


def test_without_rows_seeds_alone_are_compared(copy: Path) -> None:
    for folder in copy.glob("runs/toys/stages/table@*/data/*/pass@1"):
        shutil.rmtree(folder)
    (table,) = tables(copy, "runs/toys")
    (before,) = tables(copy, "runs/toys", "--metric", "greedy")
    assert (table["problems"], before["problems"]) == (1, 20)
    assert table["rows"][0]["gain"]["mean"] > 0.5


# --- what is refused -------------------------------------------------------------------------------


def test_a_variant_that_differs_in_more_than_the_matrix_is_refused_with_the_keys(copy: Path) -> None:
    def shorter(record: Any) -> None:
        record["made_from"]["stage"]["train"]["steps"] = 9

    for path in records(copy / "runs/toys", "zero@blind,*"):
        change(path, shorter)
    done = called(copy, "compare", "runs/toys")
    assert done.returncode == 2
    assert "zero: they differ in more than the matrix:\n  stages.zero.train.steps: 12 -> 9" in done.stderr
    assert "lr.peak" not in done.stderr  # that is what the matrix is about


def test_models_measured_in_different_ways_are_refused(copy: Path) -> None:
    def fewer(record: Any) -> None:
        record["made_from"]["stage"]["evaluate"]["sets"]["pass@1"]["limit"] = 30

    change(copy / "runs/toys/stages/table@blind,seed=1/stage.json", fewer)
    done = called(copy, "compare", "runs/toys")
    assert done.returncode == 2
    assert "zero: not measured in the same way:\n  stages.table.evaluate.sets.pass@1.limit: 60 -> 30" in done.stderr
    assert called(copy, "compare", "runs/toys", "--metric", "greedy").returncode == 0


def test_other_versions_of_a_plugin_are_noted(copy: Path) -> None:
    def newer(record: Any) -> None:
        record["made_from"]["sources"]["trainer rl"] = "f" * 64

    for path in records(copy / "runs/toys", "zero@blind,*"):
        change(path, newer)
    done = called(copy, "compare", "runs/toys")
    assert done.returncode == 0
    assert "note: blind: made with other code: trainer rl: source " in done.stdout


# --- several runs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of recipes without a matrix: `one`, another learning rate, another seed, and two things at once."""
    folder = tmp_path_factory.mktemp("alone")
    runs = {
        "one": [],
        "slow": ["stages.zero.train.lr=1e-9"],
        "reseeded": ["stages.zero.seed=1"],
        "two": ["stages.zero.train.steps=6", "stages.zero.train.lr=0.2"],
    }
    for name, sets in runs.items():
        settings = [part for text in sets for part in ("--set", text)]
        done = r1(folder, "recipe", "toys.yaml", "--run-dir", f"runs/{name}", *settings, recipe=ALONE)
        assert done.returncode == 0, done.stderr
    return folder


def test_runs_that_differ_in_one_thing_are_compared(alone: Path) -> None:
    (table,) = tables(alone, "runs/one", "runs/slow")
    assert [row["where"] for row in table["rows"]] == [{"run": "one"}, {"run": "slow"}]
    assert table["rows"][1]["differences"] == ["stages.zero.train.lr.peak: 0.3 -> 1e-09"]
    assert table["rows"][1]["against"]["high"] < 0
    said = called(alone, "compare", "runs/one", "runs/slow").stdout
    assert "over problems; another seed may differ by more" in said


def test_runs_that_differ_in_the_seed_are_replicates(alone: Path) -> None:
    (table,) = tables(alone, "runs/one", "runs/reseeded")
    assert len(table["rows"]) == 1
    assert table["seeds"] == 2


def test_a_matrix_gives_what_the_recipe_alone_gives(ablated: Path, alone: Path) -> None:
    for seed, run in ((0, "one"), (1, "reseeded")):
        folders = (ablated / f"runs/toys/stages/zero@grpo,seed={seed}", alone / f"runs/{run}/stages/zero")
        models = [(folder / "model/model.safetensors").read_bytes() for folder in folders]
        assert models[0] == models[1]


def test_runs_that_differ_in_two_things_are_refused_unless_they_are_named(alone: Path) -> None:
    done = called(alone, "compare", "runs/one", "runs/two")
    assert done.returncode == 2
    assert "zero: they differ in more than one thing:" in done.stderr
    assert "\n  stages.zero.train.steps: 12 -> 6" in done.stderr
    assert "\n  stages.zero.train.lr.peak: 0.3 -> 0.2" in done.stderr
    done = called(alone, "compare", "runs/one", "runs/two", "--differing", "stages.zero.train.steps")
    assert (done.returncode, "lr.peak" in done.stderr, "12 -> 6" in done.stderr) == (2, True, False)
    assert called(alone, "compare", "runs/one", "runs/two", "--differing", "stages.zero.train").returncode == 0


def test_a_run_by_itself_has_nothing_to_be_compared_with(alone: Path) -> None:
    done = called(alone, "compare", "runs/one")
    assert done.returncode == 2
    assert "runs/one: each model was made once and in one way" in done.stderr
    assert "--across compares the models of one" in done.stderr
