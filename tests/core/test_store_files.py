"""Whole files or none, and metrics lines that are the same in every run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest

from r1core.errors import SetupError
from r1core.store import MetricsWriter, read_json, read_metrics, write_json, write_text

WRITE_FOREVER = """
import sys
from pathlib import Path
from r1core.store import write_text
path = Path(sys.argv[1])
for number in range(10**9):
    write_text(path, str(number % 10) * 100_000)
    if number == 3:
        print("going", flush=True)
"""


def test_json_comes_back_and_keeps_its_order(tmp_path):
    value = {"b": [1, 2.5, "π", None, True], "a": {"x": {}}}
    write_json(tmp_path / "new" / "x.json", value)
    assert read_json(tmp_path / "new" / "x.json") == value
    assert list(read_json(tmp_path / "new" / "x.json")) == ["b", "a"]


def test_what_is_not_finite_becomes_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": math.nan, "b": [math.inf, np.float64("nan"), 1.0]})
    assert read_json(tmp_path / "x.json") == {"a": None, "b": [None, None, 1.0]}


def test_damaged_json_is_a_setup_error_with_its_path(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(SetupError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "x", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "x", "new \ud800")
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_unwritable_place_is_a_setup_error_with_its_path(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(SetupError, match="cannot be written") as caught:
        write_text(tmp_path / "file" / "x", "text")
    assert str(tmp_path / "file" / "x") in str(caught.value)


def test_a_kill_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x"
    for attempt in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"going\n"
            time.sleep(0.003 * attempt)
            writer.kill()
        text = path.read_text()
        assert len(text) == 100_000
        assert len(set(text)) == 1


def test_metrics_are_sorted_lines_with_exact_floats(tmp_path):
    with MetricsWriter(tmp_path / "metrics.jsonl") as writer:
        writer.append(1, {"loss": np.float32(0.1), "a": 0.1, "kl": math.nan, "n": 3})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"a": 0.1, "kl": null, "loss": 0.10000000149011612, "n": 3, "step": 1}\n'


def test_a_resumed_log_has_each_step_once_and_the_bytes_of_an_uninterrupted_one(tmp_path):
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    with MetricsWriter(whole) as writer:
        for step in range(1, 7):
            writer.append(step, {"loss": 1 / step})
    with MetricsWriter(resumed) as writer:
        for step in range(1, 5):
            writer.append(step, {"loss": 1 / step})
            if step == 2:
                saved = writer.mark()
    assert saved.begins(resumed)
    with resumed.open("a") as file:
        file.write('{"loss": 0.2, "st')
    with MetricsWriter(resumed, keep=saved.size) as writer:
        for step in range(3, 7):
            writer.append(step, {"loss": 1 / step})
    assert resumed.read_bytes() == whole.read_bytes()
    assert [row["step"] for row in read_metrics(resumed)] == [1, 2, 3, 4, 5, 6]


def test_every_line_is_on_disk_when_append_returns(tmp_path):
    with MetricsWriter(tmp_path / "m.jsonl") as writer:
        writer.append(1, {"loss": 1.0})
        assert json.loads((tmp_path / "m.jsonl").read_text()) == {"loss": 1.0, "step": 1}


def test_reading_metrics_that_are_absent_gives_none_and_damaged_ones_an_error(tmp_path):
    assert list(read_metrics(tmp_path / "absent.jsonl")) == []
    (tmp_path / "m.jsonl").write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(SetupError, match=r"m\.jsonl:2"):
        list(read_metrics(tmp_path / "m.jsonl"))
