"""The whole pipeline as a person runs it: `r1 recipe recipes/deepseek_r1.yaml --profile smoke`, from another folder.

One run (about half a minute, shared with other files) that all these tests look at, one more that
changes nothing, one that changes one stage, and one that runs a stage again.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from smoke_runs import recipe

from r1core.store import read_rows

ROWS = ["base", "r1_zero", "dev1", "dev2", "dev3", "r1", "student_base", "student_distilled", "student_rl"]
AFTER_HELPFUL_RM = {"r1", "evaluation"}
STAGES = 18


@pytest.fixture(scope="module")
def run(smoke: tuple[Path, list[str]]) -> tuple[Path, list[str]]:
    """The folder of the run and the lines that it printed."""
    return smoke


def stages(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "stages").iterdir() if not path.name.startswith("."))


def states(lines: list[str], word: str) -> set[str]:
    """The stages of which a line says this word: "starts", "unchanged", "done"."""
    found = (re.match(rf"\[\d+/\d+\] (\w+): {word}", line) for line in lines)
    return {match[1] for match in found if match}


def test_every_stage_finishes_and_leaves_its_artifact(run: tuple[Path, list[str]]) -> None:
    folder, lines = run
    assert states(lines, "starts") == states(lines, "done") == set(stages(folder))
    assert len(stages(folder)) == STAGES
    for stage in stages(folder):
        record = json.loads((folder / "stages" / stage / "stage.json").read_text())
        assert record["status"] == "finished"
        assert record["files"]
        assert ((folder / "stages" / stage / "metrics.jsonl").exists()) == (stage != "cold_start_data")  # a review


def test_models_are_plain_folders_and_data_is_parquet(run: tuple[Path, list[str]]) -> None:
    folder, _ = run
    for name in ROWS:
        files = {path.name for path in (folder / "stages" / name / "model").iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files
    kept = [row["keep"] for row in read_rows(folder / "stages" / "rejection_sampling" / "data")]
    assert any(kept)
    assert len(kept) == 32
    pickles = [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert pickles == []


def test_results_have_a_row_for_each_model_in_shares(run: tuple[Path, list[str]]) -> None:
    folder, _ = run
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    assert (results["recipe"], results["profile"], results["seed"]) == ("deepseek-r1", "smoke", 0)
    assert [row["model"] for row in results["rows"]] == ROWS
    for row in results["rows"]:
        metrics = row["metrics"]
        for name in ("pass@1", "greedy", "hard", "format", "language", "general", "helpful", "safe"):
            assert 0 <= metrics[name] <= 1, (row["model"], name)
        low, high = metrics["pass@1_ci95"]
        assert 0 <= low <= metrics["pass@1"] <= high <= 1
        assert metrics["length"] > 0
        assert {"pass@1/operands=2", "pass@1/task=sort", "hard/task=sort"} <= set(metrics)
        assert ("pass@64" in metrics) == (row["model"] in ("base", "r1_zero"))


def test_what_it_prints_is_what_a_person_needs(run: tuple[Path, list[str]]) -> None:
    folder, lines = run
    assert re.match(r"profile smoke: .*; others: .*tiny", lines[0])
    assert lines[1] == f"run {folder} (profile smoke): {STAGES} stages"
    header = next(line for line in lines if re.search(r"model +pass@1 +greedy +hard", line))
    table = lines[lines.index(header) :]
    for name in ROWS:
        assert any(re.match(rf" +{name} +\d\.\d\d ±\d\.\d\d", line) for line in table)
    assert re.fullmatch(rf"talk to it: r1 chat {folder}/stages/student_\w+/model", lines[-1])
    assert not [line for line in lines if "\x1b" in line]


def test_an_extension_says_so(run: tuple[Path, list[str]]) -> None:
    _, lines = run
    said = [line for line in lines if "(extension 1 of at most 1)" in line]
    assert len(said) == 1
    assert re.search(r"base: eval/opener is 0\.\d+ after \d+ steps, at least 0\.99 is asked: training on", said[0])


def test_a_second_run_says_unchanged_and_changes_nothing(run: tuple[Path, list[str]]) -> None:
    folder, first = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    done = recipe(folder.parents[1])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert states(lines, "unchanged") == set(stages(folder))
    assert states(lines, "starts") == set()
    table = first[next(i for i, line in enumerate(first) if "pass@1" in line and "greedy" in line) :]
    assert [line for line in table if not line.startswith("done in")] == [
        line for line in lines[-len(table) :] if not line.startswith("done in")
    ]
    rewritten = {path for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert {path.name for path in rewritten} <= {"recipe.resolved.yaml", "plugins.lock", "report.html", "report.png"}


def test_editing_one_stage_runs_it_and_its_dependents_and_nothing_else(
    run: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, _ = run
    shutil.copytree(folder, tmp_path / "runs" / "deepseek-r1")
    done = recipe(tmp_path, "--set", "stages.helpful_rm.train.epochs=2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert states(lines, "starts") == {"helpful_rm", *AFTER_HELPFUL_RM}
    assert states(lines, "unchanged") == set(stages(folder)) - {"helpful_rm", *AFTER_HELPFUL_RM}


def test_a_stage_that_runs_again_gives_the_same_bytes(run: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = run
    again = tmp_path / "runs" / "deepseek-r1"
    shutil.copytree(folder, again)
    done = recipe(tmp_path, "--from", "student_rl", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert states(done.stdout.splitlines(), "starts") == {"student_rl", "evaluation"}
    for artifact in ("stages/student_rl/model", "stages/evaluation/data"):
        files = [path.relative_to(folder) for path in (folder / artifact).rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if (folder / path).read_bytes() != (again / path).read_bytes()] == []
    first, second = (json.loads((place / "results.json").read_text()) for place in (folder, again))
    assert {**first, "wall_s": 0} == {**second, "wall_s": 0}
