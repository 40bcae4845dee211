"""`r1core.run(...)`: the same as the command, for notebooks and scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_runs import written

import r1core
from r1core.errors import RecipeError
from r1core.events import Event, StageStarted

STAGES = """\
  base: BASE
  zero: {train: {use: Climb}, model: base}
  table: {evaluate: {sets: {score: {problems: Numbers, limit: 4}}}, models: [base, zero], rewards: [Exact]}
"""


def test_a_recipe_runs_and_returns_folders_and_metrics(tmp_path: Path) -> None:
    run = r1core.run(
        written(tmp_path, STAGES), run_dir=tmp_path / "mine", set={"stages.zero.train.gain": 0.9, "seed": 1}
    )
    assert isinstance(run, r1core.Run)
    assert run.folder == tmp_path / "mine"
    assert run.model("zero").is_dir()
    assert run.metrics("zero")["score"] == 1.0
    assert [row["model"] for row in run.rows] == ["base", "zero"]
    resolved = (run.folder / "recipe.resolved.yaml").read_text()
    assert "gain: 0.9" in resolved
    assert "seed: 1" in resolved


def test_options_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[Event] = []
    written(tmp_path, STAGES)
    run = r1core.run("recipe.yaml", profile="none", until_stage="base", jobs=1, listener=events.append)
    assert run.folder == tmp_path / "runs" / "toys"
    assert run.rows == ()
    again = r1core.run("recipe.yaml", until_stage="zero", from_stage="base", listener=events.append)
    assert again.model("zero").is_dir()
    started = [event.stage for event in events if isinstance(event, StageStarted) and event.total_steps is None]
    assert started == ["base", "base", "zero"]


def test_mistakes_are_errors_of_r1core(tmp_path: Path) -> None:
    with pytest.raises(r1core.R1Error, match="unknown option 'stesp'"):
        r1core.run(written(tmp_path, STAGES), set={"stages.zero.train.stesp": 2}, run_dir=tmp_path / "run")
    with pytest.raises(RecipeError, match=r"(?s)no recipe .*did you mean 'recipes/deepseek_r1.yaml'"):
        r1core.run("recipes/deepseek_r2.yaml")
    assert not (tmp_path / "run").exists()
