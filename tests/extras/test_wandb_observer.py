"""wandb beside a real run: offline it holds the numbers of `metrics.jsonl`, and online without a key it never asks."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r1_plugins.tracking.followed import Samples
from r1core.choices import Use
from r1core.events import RunStarted, SampleShown, StageRow
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


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of the offline files below a run, in the order of their names."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
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
