"""Units of a stage: asked to stop, meeting other data or a full disk, and answers of which nothing can be made."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_units
from toy_runs import contents, job_of, planned
from toy_stages import WEIGHTS
from toy_units import begun

from r1core.errors import Interrupted, RecipeError, RefusedError
from r1core.events import StageNote, StepDone
from r1core.stages import run_stage
from r1core.stages.base import Job
from r1core.store import read_json, read_metrics, read_rows
from r1core.usage import Usage

STAGES = """\
  model: BASE
  traces:
    sample: {prompts: 10, samples: 2, chunk: 3}
    model: model
    problems: Numbers
    rewards: [Exact, {use: Brief, weight: 0.1, down: []}]
    filters: [Right]
  table:
    evaluate: {chunk: 3, sets: {pass@1: {problems: Numbers, limit: 7}, greedy: {problems: Numbers, limit: 2}}}
    models: [model]
    rewards: [Exact, {use: Brief, weight: 0.1, down: []}]
"""


def job(folder: Path, stage: str, stages: str = STAGES) -> tuple[Job, list[Any]]:
    """A stage that may go on, and its events."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / WEIGHTS).write_text(json.dumps({"skill": 0.5}))
    found, events = job_of(folder, stages, stage, model=model)
    begun(found.folder)
    return found, events


def notes(events: list[Any]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, StageNote))


def asked_after(units: int) -> Any:
    """Says from the `units`-th time on that the run was asked to stop."""
    times = iter(range(1, 100))
    return lambda: next(times) >= units


# --- a request to stop -------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "units"), [("traces", 4), ("table", 4)])
def test_a_stage_that_is_asked_to_stop_ends_after_its_unit_and_goes_on_later(
    tmp_path: Path, stage: str, units: int
) -> None:
    whole, _ = job(tmp_path / "whole", stage)
    metrics = run_stage(whole)
    for done in range(1, units):
        stopped, _ = job(tmp_path / "stopped", stage)
        with pytest.raises(Interrupted, match=f"stages.{stage}: stopped on request after unit {done} of {units}"):
            run_stage(replace(stopped, stopping=asked_after(1)))
    last, events = job(tmp_path / "stopped", stage)
    found = run_stage(replace(last, stopping=asked_after(1)))  # nothing is left to stop for
    assert notes(events).startswith(f"going on after unit {units - 1} of {units}")
    assert without_times(found) == without_times(metrics)
    assert contents(last.folder / "data") == contents(whole.folder / "data")
    rows = [[without_times(row) for row in read_metrics(j.folder / "metrics.jsonl")] for j in (last, whole)]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == sorted({row["step"] for row in rows[0]})


def without_times(metrics: Any) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def test_what_earlier_processes_used_is_counted(tmp_path: Path) -> None:
    stopped, _ = job(tmp_path, "traces")
    stopped.meter.earlier = Usage(wall_s=1000.0, cpu_s=500.0)
    with pytest.raises(Interrupted):
        run_stage(replace(stopped, stopping=asked_after(2)))
    later, _ = job(tmp_path, "traces")
    run_stage(later)
    used = later.meter.now()
    assert 1000 < used.wall_s < 1500
    assert 500 < used.cpu_s < 1000


def test_units_that_were_done_with_other_problems_stop_the_stage(tmp_path: Path) -> None:
    stopped, _ = job(tmp_path, "traces")
    with pytest.raises(Interrupted):
        run_stage(replace(stopped, stopping=asked_after(2)))
    kept = contents(stopped.folder)
    plan = planned(tmp_path, STAGES, seed="1")
    other = replace(stopped, plan=plan, stage=plan.stage("traces"), stopping=asked_after(100))
    with pytest.raises(RecipeError, match=r"stages\.traces: unit 1 was done with other problems.*\n.*--from traces"):
        run_stage(other)
    assert contents(stopped.folder) == kept


# --- a full disk -------------------------------------------------------------------------------------

FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_units import job
from r1core.errors import SetupError
from r1core.stages import run_stage
stage, _ = job(Path(sys.argv[2]), "traces", sys.argv[4])
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    run_stage(stage)
except SetupError as error:
    print(error)
"""


def on_a_full_disk(folder: Path, stages: str, limit: int) -> str:
    """What a stage says that may write no file larger than `limit` bytes."""
    arguments = [str(Path(__file__).parent), str(folder), str(limit), stages]
    told = subprocess.run([sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=True)
    return told.stdout


@pytest.mark.parametrize(("file", "chunk"), [("part", 8), ("ledger", 1)])
def test_a_full_disk_stops_the_stage_and_finished_units_stay(tmp_path: Path, file: str, chunk: int) -> None:
    stages = STAGES.replace("{prompts: 10, samples: 2, chunk: 3}", f"{{prompts: 40, samples: 2, chunk: {chunk}}}")
    whole, _ = job(tmp_path / "whole", "traces", stages)
    run_stage(whole)
    sizes = [path.stat().st_size for path in sorted((whole.folder / "data").iterdir())]
    ledger = (whole.folder / "checkpoint" / "units.jsonl").stat().st_size
    assert (ledger > max(sizes)) == (file == "ledger")
    failing = sizes.index(max(sizes))
    said = on_a_full_disk(tmp_path / "full", stages, max(sizes) - (file == "part"))
    assert f"{'units.jsonl' if file == 'ledger' else f'part-{failing:05d}.parquet'}: cannot be written: " in said
    assert "free space on the disk" in said
    later, events = job(tmp_path / "full", "traces", stages)
    run_stage(later)
    (done,) = (int(number) for number in re.findall(r"going on after unit (\d+) of", notes(events)))
    assert done == failing if file == "part" else 0 < done < len(sizes)
    assert contents(later.folder / "data") == contents(whole.folder / "data")


# --- answers of which nothing can be made ------------------------------------------------------------

MUTE = f"{toy_units.HERE}:Mute"
WAYS = {
    "empty": f'    sampler: "{MUTE}"\n',
    "truncated": f'    sampler: {{use: "{MUTE}", how: truncated}}\n    sampling: {{max_new_tokens: 5}}\n',
    "lost": "    scoring: {max_infrastructure_rate: 1}\n",
}


def without_answers(way: str) -> str:
    down = [str(number) for number in range(10)] if way == "lost" else []
    return STAGES.replace("down: []", f"down: {json.dumps(down)}").replace("    rewards:", WAYS[way] + "    rewards:")


@pytest.mark.parametrize(("way", "reason"), [("empty", "wrong"), ("truncated", "wrong"), ("lost", "infrastructure")])
def test_a_sample_stage_with_nothing_to_keep_has_numbers_and_says_so(tmp_path: Path, way: str, reason: str) -> None:
    found, events = job(tmp_path, "traces", without_answers(way))
    with pytest.raises(
        RefusedError, match=rf"kept none of 20 answers \({reason} 20\); one of them, {reason}.*\n.*--from traces"
    ):
        run_stage(found)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert len(steps) == 4
    assert all(math.isfinite(value) for step in steps for value in step.metrics.values())
    assert steps[-1].metrics["kept"] == 0
    assert len(list(read_rows(found.folder / "data"))) == 20


@pytest.mark.parametrize("way", ["empty", "truncated"])
def test_answers_without_content_are_wrong_answers(tmp_path: Path, way: str) -> None:
    found, _ = job(tmp_path, "table", without_answers(way))
    run_stage(found)
    (row,) = read_json(found.folder / "data" / "results.json")
    assert (row["metrics"]["pass@1"], row["metrics"]["greedy"]) == (0, 0)
    assert row["metrics"]["length"] == (5 if way == "truncated" else 0)
    assert row["metrics"]["clipped_ratio"] == (way == "truncated")
    assert None not in row["metrics"].values()


def test_a_model_without_any_verdict_has_no_number_and_it_is_said(tmp_path: Path) -> None:
    found, events = job(tmp_path, "table", without_answers("lost"))
    metrics = run_stage(found)
    (row,) = read_json(found.folder / "data" / "results.json")
    assert row["metrics"]["pass@1"] is None
    assert row["metrics"]["pass@1_ci95"] == [0, 1]
    assert row["metrics"]["length"] > 0
    assert math.isnan(metrics["model/pass@1"])
    assert "no answer of model in pass@1 has a verdict: its pass@1 is unknown" in notes(events)
