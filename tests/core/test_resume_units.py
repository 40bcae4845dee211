"""Sample, evaluate and import stages, killed anywhere and run again: the same bytes as if nothing had happened.

tests/core/test_resume_units.py    real stage processes, real SIGKILLs at the places of store/kills.py
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import toy_units
from toy_runs import Ran, contents, go
from toy_units import rows_of

from r1core.errors import SetupError
from r1core.events import StageNote, StageStarted, StepDone
from r1core.store import kills, read_metrics, read_rows

STAGES = f"""\
  weak: BASE
  strong: {{train: {{use: Climb, steps: 4}}, model: weak}}
  traces:
    sample: {{prompts: 12, samples: 3, chunk: 2}}
    model: weak
    problems: {{use: Numbers, count: 9}}
    rewards: [Exact, Brief]
    filters: ["{toy_units.HERE}:Novel", Right]
  table:
    evaluate:
      chunk: 2
      sets:
        pass@1: {{problems: Numbers, limit: 5, samples: 2, by: [domain]}}
        greedy: {{problems: Numbers, limit: 3, temperature: 0}}
        pass@4: {{problems: Numbers, limit: 2, samples: 4, k: 4, models: [strong]}}
    models: [weak, strong]
    rewards: [Exact, Brief]
  copied: {{import: SOURCE}}
"""
UNITS = {"traces": 5, "table": 11}
"""Five chunks of the 9 problems there are; five of the two sets for `weak`, and one more set for `strong`."""
POINTS = {"traces": (1, 3, 5), "table": (1, 3, 4, 6, 11)}
"""First, middle, last (where the source ends before the prompts do); and the first of the second set and model."""
PLACES = ("unit", "file", "ledger.append", "ledger.done")


@dataclass(frozen=True)
class Tried:
    """A folder in which the models are trained; in `unbroken` the other stages are done, too."""

    prepared: Path
    unbroken: Path
    stages: str

    def copy(self, folder: Path) -> Path:
        shutil.copytree(self.prepared / "run", folder / "run")
        return folder


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    source = tmp_path_factory.mktemp("source")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (source / name).write_text(f"the {name}")
    stages = STAGES.replace("SOURCE", str(source))
    prepared, unbroken = tmp_path_factory.mktemp("prepared"), tmp_path_factory.mktemp("unbroken")
    go(prepared, stages, until_stage="strong")
    shutil.copytree(prepared / "run", unbroken / "run")
    go(unbroken, stages, jobs=1)
    return Tried(prepared, unbroken, stages)


@dataclass(frozen=True)
class Killer:
    """Runs a stage that is killed at a place, and makes sure that it was."""

    tried: Tried
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def kill(self, stage: str, place: str, count: int) -> Ran:
        log = self.folder / "kills"
        before = log.read_text().splitlines() if log.exists() else []
        self.monkeypatch.setenv(kills.AT, f"{stage}/{place}:{count}")
        self.monkeypatch.setenv(kills.LOG, str(log))
        with pytest.raises(SetupError, match=rf"stages\.{stage}: its process was killed by SIGKILL") as caught:
            go(self.folder, self.tried.stages, until_stage=stage)
        self.monkeypatch.delenv(kills.AT)
        assert log.read_text().splitlines() == [*before, f"{stage}/{place}"]
        events: Ran = caught.value.events  # type: ignore[attr-defined]
        return events

    def go_on(self, stage: str) -> Ran:
        """Run it to its end, and compare what it left with what the unbroken stage left."""
        ran = go(self.folder, self.tried.stages, until_stage=stage)
        assert left_by(self.folder, stage) == left_by(self.tried.unbroken, stage)
        return ran


@pytest.fixture
def killer(tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(tried, tried.copy(tmp_path), monkeypatch)


def left_by(folder: Path, stage: str) -> dict[str, Any]:
    """Every file of a stage less what holds times, and the run's results."""
    own = folder / "run" / "stages" / stage
    files: dict[str, Any] = contents(own, "stage.json", "output.log", "metrics.jsonl")
    files["metrics"] = [
        {name: value for name, value in row.items() if not name.startswith("time/")}
        for row in read_metrics(own / "metrics.jsonl")
    ]
    files["sealed"] = json.loads((own / "stage.json").read_text())["files"]
    if stage == "table":
        files["results"] = rows_of(folder / "run" / "results.json")
    return files


def notes(ran: Ran, stage: str) -> str:
    return "\n".join(note.text for note in ran.of(StageNote, stage))


# --- the stages, unbroken ----------------------------------------------------------------------------


def test_the_stages_are_what_the_points_were_chosen_for(tried: Tried) -> None:
    stages = tried.unbroken / "run" / "stages"
    assert len(list((stages / "traces" / "data").iterdir())) == UNITS["traces"]
    assert len(list((stages / "table" / "data").rglob("*.parquet"))) == UNITS["table"]
    reasons = [row["reason"] for row in read_rows(stages / "traces" / "data")]
    assert reasons.index("seen") < 6, "no unit but the first would need the filter's memory"
    assert "seen" in reasons[-6:]
    assert "wrong" not in reasons[-6:]  # so a filter that had forgotten would show
    assert not list(stages.rglob("units.jsonl"))  # a finished stage needs no ledger


# --- killed and run again ----------------------------------------------------------------------------


def killed_all_over(killer: Killer, stage: str, point: int) -> None:
    """Kill a stage at its unit `point`, in each of the places in turn; the last is after the unit was entered."""
    for number, place in enumerate(PLACES):
        ran, done = killer.kill(stage, place, 1 if number else point), point - 1 if number else 0
        assert (f"going on after unit {done} of {UNITS[stage]}" in notes(ran, stage)) == (done > 0)


@pytest.mark.parametrize("point", POINTS["traces"])
def test_a_killed_sample_stage_ends_with_the_same_bytes(killer: Killer, point: int) -> None:
    killed_all_over(killer, "traces", point)
    ran = killer.go_on("traces")
    assert [event.step for event in ran.of(StepDone)] == list(range(point + 1, UNITS["traces"] + 1))
    assert ran.of(StageStarted, "traces")[-1] == StageStarted(stage="traces", total_steps=5, done=point)
    assert f"going on after unit {point} of 5" in notes(ran, "traces")


@pytest.mark.parametrize("point", POINTS["table"])
def test_a_killed_evaluation_ends_with_the_same_bytes(killer: Killer, point: int) -> None:
    killed_all_over(killer, "table", point)
    ran, models = killer.go_on("table"), (point >= 5) + (point >= 11)
    assert [event.step for event in ran.of(StepDone)] == [1, 2][models:]
    assert ran.of(StageStarted, "table")[-1].done == models
    assert f"going on after unit {point} of 11" in notes(ran, "table")


def test_an_evaluation_killed_while_it_writes_its_table_ends_with_the_same_bytes(killer: Killer) -> None:
    killer.kill("table", "file", UNITS["table"] + 1)
    assert not killer.go_on("table").of(StepDone)


@pytest.mark.parametrize("place", ["artifact", "artifact.done"])
def test_a_killed_import_leaves_a_whole_model_or_none_and_ends_with_the_same_bytes(killer: Killer, place: str) -> None:
    killer.kill("copied", place, 1)
    model = killer.folder / "run" / "stages" / "copied" / "model"
    assert model.exists() == (place == "artifact.done")
    killer.go_on("copied")
    assert {path.name for path in model.iterdir()} == {"model.safetensors", "config.json", "tokenizer.json"}


# --- damage ------------------------------------------------------------------------------------------


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def second_line_altered(path: Path) -> None:
    path.write_text(re.sub(r'"unit": 1\b', '"unit": 2', path.read_text()))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("data/part-00001.parquet", flipped, "2 finished units are damaged and are done again"),
        ("data/part-00001.parquet", torn, "2 finished units are damaged and are done again"),
        ("data/part-00002.parquet", Path.unlink, "1 finished unit is damaged and is done again"),
        ("checkpoint/units.jsonl", second_line_altered, "2 finished units are damaged and are done again"),
        ("checkpoint/units.jsonl", torn, "1 finished unit is damaged and is done again"),
        ("checkpoint/units.jsonl", Path.unlink, ""),
    ],
)
def test_damage_is_noticed_and_done_again(killer: Killer, file: str, damage: Callable[[Path], None], told: str) -> None:
    killer.kill("traces", "unit", 4)
    damage(killer.folder / "run" / "stages" / "traces" / file)
    assert told in notes(killer.go_on("traces"), "traces")


def test_a_damaged_part_of_an_evaluation_is_done_again(killer: Killer) -> None:
    killer.kill("table", "unit", 10)
    flipped(killer.folder / "run" / "stages" / "table" / "data" / "weak" / "greedy" / "part-00000.parquet")
    ran = killer.go_on("table")
    assert "6 finished units are damaged and are done again\ngoing on after unit 3 of 11" in notes(ran, "table")
