"""Ledgers: what was entered comes back, and whatever no longer holds is dropped with all that came after it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core.errors import SetupError
from r1core.store import Ledger

UNITS = 4


def written(root: Path, units: int = UNITS) -> Path:
    """A ledger of some units, each with a file of its own."""
    path = root / "checkpoint" / "units.jsonl"
    with Ledger(path, root=root) as ledger:
        for unit in range(units):
            (root / f"part-{unit}").write_bytes(bytes([unit] * 10))
            ledger.append({"unit": unit}, files=[root / f"part-{unit}"])
    return path


def opened(path: Path, root: Path) -> tuple[list[int], int]:
    """The units that hold, and how many lines do not."""
    with Ledger(path, root=root) as ledger:
        return [entry["unit"] for entry in ledger.entries], ledger.dropped


def test_what_was_entered_comes_back(tmp_path: Path) -> None:
    entry: dict[str, Any] = {"metrics": {"a": 0.1 + 0.2, "b": math.inf}, "memory": [{"seen": ["é", "\ud800", "\r\n"]}]}
    with Ledger(tmp_path / "deep" / "units.jsonl", root=tmp_path) as ledger:
        ledger.append(entry)
        assert [*ledger.entries] == [{**entry, "files": {}}]
    with Ledger(tmp_path / "deep" / "units.jsonl", root=tmp_path) as ledger:
        assert ledger.entries == [{**entry, "files": {}}]
        assert ledger.dropped == 0


def test_a_number_that_is_none_comes_back_as_one(tmp_path: Path) -> None:
    with Ledger(tmp_path / "units.jsonl", root=tmp_path) as ledger:
        ledger.append({"value": math.nan})
    with Ledger(tmp_path / "units.jsonl", root=tmp_path) as ledger:
        assert math.isnan(ledger.entries[0]["value"])


def test_entries_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, 2)
    with Ledger(path, root=tmp_path) as ledger:
        ledger.append({"unit": 2})
    assert opened(path, tmp_path) == ([0, 1, 2], 0)


def test_a_line_that_a_kill_cut_short_is_dropped_and_written_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with Ledger(path, root=tmp_path) as ledger:
        assert (len(ledger.entries), ledger.dropped) == (UNITS - 1, 1)
        ledger.append({"unit": UNITS - 1})
    assert opened(path, tmp_path) == ([0, 1, 2, 3], 0)


def test_a_line_without_its_end_is_torn_even_if_all_else_is_there(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert opened(path, tmp_path) == ([0, 1, 2], 1)


def test_a_line_that_says_something_else_is_dropped_with_what_follows(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"unit": 1', '"unit": 7'))
    assert opened(path, tmp_path) == ([0], 3)
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("damage", ["flipped", "shorter", "longer", "removed"])
def test_a_unit_whose_file_is_not_what_it_was_is_dropped_with_what_follows(tmp_path: Path, damage: str) -> None:
    path, part = written(tmp_path), tmp_path / "part-2"
    content = part.read_bytes()
    changed = {"flipped": b"\xff" + content[1:], "shorter": content[:-1], "longer": content + b"x", "removed": b""}
    part.write_bytes(changed[damage])
    if damage == "removed":
        part.unlink()
    assert opened(path, tmp_path) == ([0, 1], 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_to_a_byte_only_true_entries_are_believed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(at, len(content)))])
        units, _ = opened(path, Path(folder))
        assert units == list(range(len(units)))
        whole = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert [line["unit"] for line in whole] == units  # the rest is cut off
        assert opened(path, Path(folder)) == (units, 0)


FULL_DISK = """
import resource, sys
from pathlib import Path
from r1core.errors import SetupError
from r1core.store import Ledger

root = Path(sys.argv[1])
with Ledger(root / "units.jsonl", root=root) as ledger:
    ledger.append({"unit": 0})
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))
    try:
        ledger.append({"unit": 1})
    except SetupError as error:
        print(error.what, "|", error.fix)
"""


def test_on_a_full_disk_the_ledger_stays_as_it_was(tmp_path: Path) -> None:
    told = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("cannot be written: File too large | free space on the disk; finished units are kept")
    assert opened(tmp_path / "units.jsonl", tmp_path) == ([0], 0)


def test_a_ledger_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("a file, no folder")
    with pytest.raises(SetupError, match=r"checkpoint/units\.jsonl: cannot be written"):
        opened(tmp_path / "checkpoint" / "units.jsonl", tmp_path)
