"""What a run leaves behind, and what it refuses before it computes anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_stages
from toy_runs import LINE, contents, copied, go, planned, ran, written

from r1core.errors import SetupError
from r1core.events import RunFinished
from r1core.pipeline import Run, run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.store import RunDirectory


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of LINE in `run`; for reading only."""
    folder = tmp_path_factory.mktemp("finished")
    go(folder, LINE, jobs=2)
    return folder


# --- what is left ----------------------------------------------------------------------------------


def test_results_have_the_promised_shape(finished: Path) -> None:
    results = json.loads((finished / "run" / "results.json").read_text())
    assert list(results) == ["recipe", "profile", "seed", "wall_s", "rows"]
    assert (results["recipe"], results["profile"], results["seed"]) == ("toys", "none", 0)
    assert results["wall_s"] > 0
    assert [row["model"] for row in results["rows"]] == ["base", "zero", "student"]
    for row in results["rows"]:
        assert set(row) == {"model", "metrics"}
        metrics = row["metrics"]
        assert {"pass@1", "pass@1_ci95", "greedy", "greedy_ci95", "Brief", "length"} <= set(metrics)
        low, high = metrics["pass@1_ci95"]
        assert 0 <= low <= metrics["pass@1"] <= high <= 1
        assert metrics["pass@1"] == (metrics["pass@1/domain=even"] + metrics["pass@1/domain=odd"]) / 2
    assert results["rows"][1]["metrics"]["greedy"] == 1.0
    assert results["rows"][0]["metrics"]["greedy"] == 0.0


def test_a_run_leaves_the_recipe_written_out_and_the_lock(finished: Path) -> None:
    run = finished / "run"
    plan = make_plan(resolve(run / "recipe.resolved.yaml"), PluginHost.discover())
    assert plan.fingerprints == planned(finished, LINE).fingerprints
    assert json.loads((run / "plugins.lock").read_text()) == plan.lock
    for stage in plan.stages:
        assert RunDirectory(run).stage(stage.id).state(stage.fingerprint) == "finished"


def test_the_same_seed_gives_the_same_and_another_one_something_else(tmp_path: Path, finished: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        go(tmp_path / name, LINE, seed=seed)
    here, there, other = (
        json.loads((folder / "run" / "results.json").read_text())["rows"]
        for folder in (finished, tmp_path / "same", tmp_path / "other")
    )
    assert here == there != other
    model = Path("run", "stages", "base", "model")
    assert contents(finished / model) == contents(tmp_path / "same" / model)
    assert contents(finished / model) != contents(tmp_path / "other" / model)


def test_results_of_another_plan_do_not_stay(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    ran(folder, "stages.zero.train.steps=2", until_stage="zero")
    assert not (folder / "run" / "results.json").exists()


def test_a_partial_run_leaves_results_that_still_hold(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    before = (folder / "run" / "results.json").read_bytes()
    ran(folder, "stages.other.train.gain=0.5", until_stage="other")
    assert (folder / "run" / "results.json").read_bytes() == before


def test_a_run_returns_folders_and_metrics(finished: Path) -> None:
    rows = json.loads((finished / "run" / "results.json").read_text())["rows"]
    run = Run(folder=finished / "run", rows=tuple(rows))
    assert (run.model("zero") / toy_stages.WEIGHTS).is_file()
    assert run.metrics("zero")["greedy"] == 1.0
    with pytest.raises(KeyError, match="other"):
        run.metrics("other")


def test_the_last_event_carries_the_rows(tmp_path: Path) -> None:
    events = go(tmp_path, LINE)
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.rows == events.run.rows
    assert last.folder == str(tmp_path / "run")


def test_what_a_stage_prints_goes_to_its_log_and_not_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path, "  base: BASE\n  loud: {train: {use: Climb, then: print}, model: base}\n")
    assert "PRINTED" not in "".join(capfd.readouterr())
    assert "PRINTED BY A STAGE" in (tmp_path / "run" / "stages" / "loud" / "output.log").read_text()


# --- before any compute ------------------------------------------------------------------------------


def test_an_unwritable_run_directory_is_refused_before_any_compute(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(SetupError, match="cannot be written") as caught:
        go(tmp_path, LINE)
    assert caught.value.exit_code == 3
    assert caught.value.events == []  # type: ignore[attr-defined]


@pytest.fixture
def lacking(tmp_path: Path) -> Path:
    """A copy of the toys whose policy lacks an extra and whose estimate of itself fails in the sampler."""
    text = Path(toy_stages.__file__).read_text()
    text = text.replace(
        '    name = "skill"\n',
        '    name = "skill"\n\n    @classmethod\n    def check(cls):\n'
        "        return [\"torch not installed: pip install 'r1core[train]'\"]\n",
    )
    text = text.replace(
        '    name = "guess"\n',
        '    name = "guess"\n\n    @classmethod\n    def check(cls):\n        raise OSError("no driver")\n',
    )
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


def test_what_the_machine_lacks_is_told_at_once_before_any_compute(tmp_path: Path, lacking: Path) -> None:
    plan = make_plan(resolve(written(tmp_path, LINE, lacking)), PluginHost.discover())
    with pytest.raises(SetupError) as caught:
        run_plan(plan, plan.host, tmp_path / "run")
    said = str(caught.value)
    assert f"policy {lacking}:Skill (local file " in said
    assert "torch not installed: pip install 'r1core[train]'" in said
    assert "its check() fails: OSError: no driver" in said
    assert "r1 doctor" in said
    assert not (tmp_path / "run").exists()


def test_only_what_will_run_must_be_there(tmp_path: Path, lacking: Path) -> None:
    stages = LINE.replace("  other:", "  imported: {import: there/is-no-such-model}\n  other:")
    plan = make_plan(resolve(written(tmp_path, stages, lacking)), PluginHost.discover())
    with pytest.raises(SetupError, match="this machine lacks"):
        run_plan(plan, plan.host, tmp_path / "run", until_stage="zero")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / toy_stages.WEIGHTS).write_text("{}")
    plan = make_plan(
        resolve(written(tmp_path, stages, lacking), sets=[f"stages.imported.import={tmp_path / 'model'}"]),
        PluginHost.discover(),
    )
    assert run_plan(plan, plan.host, tmp_path / "run", until_stage="imported").model("imported").is_dir()
