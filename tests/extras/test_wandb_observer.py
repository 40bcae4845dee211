"""wandb beside a real run: offline it holds the numbers of `metrics.jsonl`, and online without a key it never asks."""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from test_tracking_numbers import STAGES, stored
from toy_runs import planned, written

from r1_plugins.tracking.followed import Samples
from r1core.choices import Use
from r1core.events import RunStarted, SampleShown, StageNote, StageRow
from r1core.pipeline import run_plan
from r1core.plugins import Observers, PluginHost
from r1core.types import Step

pytest.importorskip("wandb")


def started(folder: Path) -> RunStarted:
    return RunStarted(folder=str(folder), rows=(StageRow("base", "train", "sft", "new"),), profile="none")


def watching(said: list[str], **options: Any) -> Observers:
    return PluginHost.discover(allow=()).observers([Use.model_validate({"use": "wandb", **options})], said.append)


def test_online_without_a_key_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    said: list[str] = []
    observers = watching(said, mode="online")
    observers.run_start(folder=tmp_path, recipe={"name": "x"}, started=started(tmp_path))
    observers.stage_start(folder=tmp_path / "stages" / "base", stage="base")
    observers.step_end(stage="base", step=1, report=Step(metrics={"loss": 1.0}))
    observers.run_end(folder=tmp_path, error="")
    assert len(said) == 1
    assert "WANDB_API_KEY is not set" in said[0]
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize(
    ("server", "why"),
    [("https://elsewhere.example", "WANDB_API_KEY is only for"), ("http://elsewhere.example", "unencrypted")],
)
def test_a_recipe_cannot_have_the_key_sent_to_its_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, why: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "c" * 40)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    said: list[str] = []
    observers = watching(said, mode="online", server=server)
    observers.run_start(folder=tmp_path, recipe={"name": "x"}, started=started(tmp_path))
    observers.run_end(folder=tmp_path, error="")
    assert len(said) == 1
    assert why in said[0]
    assert "cccc" not in said[0]


def records(data: bytes) -> Iterator[bytes]:
    """The records of an offline file: LevelDB's log format (blocks of 32 KiB) after a header of 7 bytes."""
    at, held = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        held += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield held
            held = b""


def history(folder: Path, run: str = "offline-run-*") -> list[dict[str, Any]]:
    """The rows of the offline files below a run, in the order of their names."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for path in sorted(folder.glob(f"wandb/{run}/*.wandb")):
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
    return rows


def test_an_offline_run_holds_the_numbers_and_goes_on_under_its_id(tmp_path: Path) -> None:
    said: list[str] = []
    steps = ((1, 0.1), (2, math.nan), (2, 1e-9))
    for step, loss in steps:
        observers = watching(said)
        observers.run_start(folder=tmp_path, recipe={"name": "x"}, started=started(tmp_path))
        observers.stage_start(folder=tmp_path / "stages" / "base", stage="base")
        observers.step_end(stage="base", step=step, report=Step(metrics={"rewards/format/mean": loss}))
        observers.run_end(folder=tmp_path, error="stopped")
    assert said == []
    runs = sorted(tmp_path.glob("wandb/offline-run-*"))
    assert len({path.name.split("-")[3] for path in runs}) == 1
    found = [(row["step"], row["rewards/format/mean"]) for row in history(tmp_path)]
    assert sorted(step for step, _ in found) == [1, 2, 2]
    assert {0.1, 1e-9} <= {value for _, value in found}


def test_samples_stay_few_and_spread() -> None:
    samples = Samples(most=4)
    for step in range(1, 101):
        samples.add(step, SampleShown(question="q", text="<think>t</think>a"))
    assert len(samples.rows) <= 4
    assert samples.rows[0][:4] == (1, "q", "t", "a")
    assert samples.rows[-1][0] > 50


def test_wandb_and_trackio_hold_exactly_the_numbers_of_a_real_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    plan = planned(tmp_path, STAGES, observers="[wandb, trackio]")
    said: list[str] = []
    run_plan(
        plan, plan.host, tmp_path / "run", listener=lambda e: said.append(e.text) if isinstance(e, StageNote) else None
    )
    assert not [text for text in said if "observer" in text]
    wanted = stored(tmp_path / "run")
    assert len(wanted) > 7 * 5
    for name, seen in (("wandb", of_wandb(tmp_path / "run")), ("trackio", of_trackio(tmp_path))):
        assert sorted(key for key, _ in seen) == sorted(wanted), name
        for key, value in seen:
            kept = value if math.isfinite(value) else math.nan
            assert kept == wanted[key] or (math.isnan(kept) and math.isnan(wanted[key])), (name, key, value)
        raw = dict(seen)
        assert raw["odd", 6, "kl"] == 0.1, name
        assert raw["odd", 1, "kl"] == math.inf, name
        assert raw["odd", 2, "kl"] == -math.inf, name


Seen = list[tuple[tuple[str, int, str], float]]


def of_wandb(run: Path) -> Seen:
    """All numbers of the offline runs, one run for each stage."""
    found: Seen = []
    for stage in ("base", "odd"):
        run_id = json.loads((run / "wandb" / "stages" / f"{stage}.json").read_text())["id"]
        for row in history(run, f"offline-run-*-{run_id}"):
            step = row.pop("step", None)
            own = {name: float(value) for name, value in row.items() if not name.startswith("_") and name != "samples"}
            found += [((stage, step, name), value) for name, value in own.items()]
    return found


def of_trackio(folder: Path) -> Seen:
    """All numbers of its SQLite store that are no last metrics."""
    import sqlite3

    (path,) = (folder / "trackio").glob("*.db")
    with sqlite3.connect(path) as db:
        rows = db.execute("select run_name, step, metrics from metrics").fetchall()
    db.close()
    special = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
    found: Seen = []
    for name, step, metrics in rows:
        own = {key: special.get(value, value) for key, value in json.loads(metrics).items()}
        numbers = {k: v for k, v in own.items() if type(v) in (int, float)}
        stage = name.split("-")[-2]
        found += [((stage, step, k), v) for k, v in numbers.items() if not k.startswith(("final/", "artifact/"))]
    return found


LONG = """\
  base: {train: {use: Climb, steps: 4000, gain: 0.0001}, model: {scratch: {skill: 0.2}}, data: {use: Numbers}}
"""
LAUNCH = "from r1core.cli import main; main()"


def begun(folder: Path) -> subprocess.Popen[bytes]:
    """A run in a process group of its own, whose wandb service has begun to write."""
    path = written(folder, LONG, observers="[wandb]")
    command = [sys.executable, "-c", LAUNCH, "recipe", str(path), "--run-dir", str(folder / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 120
    metrics = folder / "run/stages/base/metrics.jsonl"
    while not (list(folder.glob("run/wandb/offline-run-*/*.wandb")) and metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(process.communicate()[1].decode())
        time.sleep(0.05)
    return process


def services(folder: Path) -> list[int]:
    """wandb's processes whose environment is this test's."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            mark = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"wandb" in command and f"R1_TEST_OF={folder}".encode() in mark:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 75), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_process_of_wandb_outlives_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, code: int
) -> None:
    monkeypatch.setenv("R1_TEST_OF", str(tmp_path))
    process = begun(tmp_path)
    try:
        assert services(tmp_path), "wandb's own process runs"
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to all of them
        else:
            process.kill()
        _, said = process.communicate(timeout=120)
        assert process.returncode == code, said.decode()
        until = time.monotonic() + 30
        while services(tmp_path) and time.monotonic() < until:
            time.sleep(0.1)
        assert services(tmp_path) == []
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        for left in services(tmp_path):
            os.kill(left, signal.SIGKILL)
    record = json.loads((tmp_path / "run/stages/base/stage.json").read_text())
    assert record["status"] != "finished"
    if how == signal.SIGINT:
        assert any((tmp_path / "run/stages/base/checkpoint").iterdir()), "the step was saved"
        assert b"Traceback" not in said
