"""tensorboard beside a real run of two stages: it holds the numbers of `metrics.jsonl`, every one, and no other."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from odd_trainer import NUMBERS
from toy_runs import BASE, planned

from r1_plugins.tracking import tensorboard
from r1core.pipeline import run_plan
from r1core.store.metrics import read_metrics

ODD = Path(__file__).parents[1] / "core" / "odd_trainer.py"
STAGES = f"  base: {BASE}\n  odd: {{train: {{use: '{ODD}:Odd'}}, model: base}}\n"
Numbers = dict[tuple[str, int, str], float]


def stored(run: Path) -> Numbers:
    """Every number of every `metrics.jsonl` by stage, step and name; what is not finite is NaN there."""
    rows = {path.parent.name: list(read_metrics(path)) for path in run.glob("stages/*/metrics.jsonl")}
    return {
        (stage, row["step"], name): math.nan if value is None else float(value)
        for stage, found in rows.items()
        for row in found
        for name, value in row.items()
        if name != "step"
    }


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.plugin_event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    read = EventAccumulator(str(folder), size_guidance={TENSORS: 0})
    read.Reload()
    tags = read.Tags()[TENSORS]
    return {tag: [(e.step, float(make_ndarray(e.tensor_proto))) for e in read.Tensors(tag)] for tag in tags}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("observed")
    plan = planned(folder, STAGES, observers="[tensorboard]")
    run_plan(plan, plan.host, folder / "run", listener=lambda event: None)
    return folder / "run"


def test_it_holds_exactly_the_numbers_of_the_run(run: Path) -> None:
    seen = [
        ((folder.name, step, name), value)
        for folder in (run / "tensorboard").iterdir()
        for name, rows in events(folder).items()
        for step, value in rows
        if not name.startswith("final/")
    ]
    wanted = stored(run)
    assert len(wanted) > 7 * 5
    assert sorted(key for key, _ in seen) == sorted(wanted)
    for key, value in seen:
        # metrics.jsonl has one word for all that is not finite; tensorboard's own format is float32
        kept = value if math.isfinite(value) else math.nan
        np.testing.assert_array_equal(kept, float(np.float32(wanted[key])), err_msg=str(key))


def test_nan_and_both_infinities_stay_what_they_are(run: Path) -> None:
    found = dict(events(run / "tensorboard" / "odd")["kl"])
    np.testing.assert_array_equal([found[step] for step in range(1, 8)], np.float32([*NUMBERS[2:], *NUMBERS[:2]]))


def test_the_last_metrics_stand_under_final(run: Path) -> None:
    import json

    record: dict[str, Any] = json.loads((run / "stages" / "base" / "stage.json").read_text())
    found = events(run / "tensorboard" / "base")
    final = {name.removeprefix("final/"): rows for name, rows in found.items() if name.startswith("final/")}
    assert final == {name: [(0, float(np.float32(value)))] for name, value in record["metrics"].items()}


def observed(folder: Path, *steps: int) -> None:
    from r1core.choices import Use
    from r1core.plugins import PluginHost
    from r1core.types import Step

    watching = PluginHost.discover(allow=()).observers([Use(use="tensorboard")], pytest.fail)
    watching.stage_start(folder=folder / "stages" / "base", stage="base")
    for step in steps:
        watching.step_end(stage="base", step=step, report=Step(metrics={"loss": float(steps[0])}))
    if steps[-1] == 4:
        watching.stage_end(stage="base", metrics={"pass@1": float(steps[0])})
    watching.run_end(folder=folder, error="")
    tensorboard.r1_run_end()


def test_steps_that_are_done_again_after_a_kill_count_once(tmp_path: Path) -> None:
    observed(tmp_path, 1, 2, 3)
    observed(tmp_path, 2, 3, 4)
    found = events(tmp_path / "tensorboard" / "base")
    assert found["loss"] == [(1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]
    assert found["final/pass@1"] == [(0, 2.0)]


def test_a_stage_that_is_made_anew_replaces_what_it_was(tmp_path: Path) -> None:
    observed(tmp_path, 3, 4)
    observed(tmp_path, 1, 2, 3, 4)
    found = events(tmp_path / "tensorboard" / "base")
    assert found["loss"] == [(step, 1.0) for step in (1, 2, 3, 4)]
    assert found["final/pass@1"] == [(0, 1.0)]
