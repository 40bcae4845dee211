"""Trace ledgers: an answer that was put down is never lost or asked for again, and damage costs what it hit alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from r1core.errors import SetupError
from r1core.store.trace_index import Account, beside
from r1core.store.traces import TraceLedger

WHO = "a" * 32


def key(number: int) -> str:
    """The key of a question."""
    return f"{number:032x}"


def fill(folder: Path, count: int, *, first: int = 0, text: str = "", part_bytes: int = 2**20) -> None:
    """Ask and answer so many questions, for 1 USD each."""
    with TraceLedger(folder, part_bytes=part_bytes) as ledger:
        ledger.introduce(WHO, {"model": "m"})
        for number in range(first, first + count):
            ledger.asking(key(number), WHO, usd=3.0)
            ledger.answered(key(number), WHO, {"text": f"{number}{text}"}, usd=1.0)


def read(folder: Path, count: int) -> tuple[dict[int, str], Account]:
    """What the ledger has of the first so many questions, and what it cost."""
    with TraceLedger(folder) as ledger:
        found = {number: ledger.answer(key(number)) for number in range(count)}
        return {n: entry["text"] for n, entry in found.items() if entry is not None}, ledger.account(WHO)


def parts(folder: Path) -> list[Path]:
    """The files with the answers."""
    return sorted(folder.glob("part-*.jsonl"))


# --- what is put down ---------------------------------------------------------------------------


def test_what_was_put_down_comes_back_whatever_it_says(tmp_path: Path) -> None:
    said: dict[str, Any] = {"text": "é \ud800 \r\n \x85  </think>", "finish": "length", "ids": [1, 2]}
    with TraceLedger(tmp_path) as ledger:
        assert key(1) not in ledger
        assert ledger.answer(key(1)) is None
        ledger.answered(key(1), WHO, said, usd=0.1)
        assert key(1) in ledger
    with TraceLedger(tmp_path) as ledger:
        entry = ledger.answer(key(1))
        assert entry is not None
        assert {name: entry[name] for name in said} == said
        assert (len(ledger), ledger.damaged) == (1, 0)


def test_answers_and_costs_are_the_same_whether_it_lies_in_one_part_or_in_many(tmp_path: Path) -> None:
    for name, size in (("one", 2**30), ("many", 1000)):
        for first in range(0, 60, 20):
            fill(tmp_path / name, 20, first=first, part_bytes=size)
    assert len(parts(tmp_path / "one")) == 1
    assert len(parts(tmp_path / "many")) > 5
    assert read(tmp_path / "one", 70) == read(tmp_path / "many", 70)
    found, account = read(tmp_path / "many", 70)
    assert found == {number: str(number) for number in range(60)}
    assert account == Account(calls=60, usd=60.0, answers=60)


def test_texts_stay_on_disk(tmp_path: Path) -> None:
    fill(tmp_path, 1500, text="x" * 20_000)
    assert sum(path.stat().st_size for path in parts(tmp_path)) > 30_000_000
    tracemalloc.start()
    try:
        found, _ = 0, read(tmp_path, 1)
        with TraceLedger(tmp_path) as ledger:
            for number in range(1500):
                entry = ledger.answer(key(number))
                found += entry is not None and len(entry["text"]) > 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == 1500
    assert peak < 3_000_000


def test_opening_reads_the_last_part_alone(tmp_path: Path) -> None:
    fill(tmp_path, 100, text="x" * 1000, part_bytes=10_000)
    sealed = parts(tmp_path)[0]
    content = sealed.read_bytes()
    sealed.write_bytes(b"\0" * len(content))
    with TraceLedger(tmp_path) as ledger:
        assert len(ledger) == 100
        assert ledger.damaged == 0
        lost = [number for number in range(100) if ledger.answer(key(number)) is None]
        assert 0 < len(lost) < 15
        assert ledger.damaged == len(lost)


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, 400, 37))
def test_a_torn_end_costs_no_answer_before_it(tmp_path: Path, cut: int) -> None:
    fill(tmp_path, 3)
    path = parts(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    found, account = read(tmp_path, 3)
    last = whole.splitlines(keepends=True)[-1]
    assert found == {n: str(n) for n in range(2)}
    assert account.answers == 2
    # Where its asking is whole, the call was under way for all that anybody knows: it counts at its worst.
    assert (account.cut, account.usd) == ((1, 5.0) if cut <= len(last) else (0, 2.0))
    fill(tmp_path, 2, first=2)
    with TraceLedger(tmp_path) as ledger:
        assert ledger.damaged == 0
        assert ledger.account(WHO).cut == account.cut
    assert read(tmp_path, 4)[0] == {n: str(n) for n in range(4)}


def test_an_altered_line_costs_its_own_answer_alone(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    path = parts(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b'"text": "2"', b'"text": "9"'))
    with TraceLedger(tmp_path) as ledger:
        assert ledger.damaged == 1
        assert [number for number in range(5) if key(number) not in ledger] == [2]
    fill(tmp_path, 1, first=2)
    assert read(tmp_path, 5)[0] == {n: str(n) for n in range(5)}


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"no json at all"])
def test_an_index_that_does_not_hold_is_made_again(tmp_path: Path, damage: bytes) -> None:
    fill(tmp_path, 60, part_bytes=1000)
    before = read(tmp_path, 60)
    indexes = [beside(part) for part in parts(tmp_path) if beside(part).exists()]
    assert len(indexes) > 3
    for path in indexes[::2]:
        path.write_bytes(damage)
    indexes[1].unlink()
    assert read(tmp_path, 60) == before
    wiped = [part for part in parts(tmp_path) if part != parts(tmp_path)[-1]]
    for part in wiped:
        part.write_bytes(b"\0" * part.stat().st_size)
    assert len(wiped) > 3
    with TraceLedger(tmp_path) as ledger:  # the indexes lie there again: no part but the last is read
        assert (len(ledger), ledger.damaged, ledger.account(WHO)) == (60, 0, before[1])


def test_a_part_that_grew_after_it_was_sealed_is_read_again(tmp_path: Path) -> None:
    fill(tmp_path, 60, part_bytes=1000)
    with parts(tmp_path)[1].open("ab") as file:
        file.write(b"half a line")
    with TraceLedger(tmp_path) as ledger:
        assert ledger.damaged == 1
    assert read(tmp_path, 60)[0] == {n: str(n) for n in range(60)}


# --- what was under way -------------------------------------------------------------------------


def test_a_call_under_way_at_a_kill_counts_once_at_its_worst(tmp_path: Path) -> None:
    with TraceLedger(tmp_path, part_bytes=500) as ledger:
        for number in range(4):
            ledger.asking(key(number), WHO, usd=3.0)
        ledger.answered(key(0), WHO, {"text": "0"}, usd=1.0)
        ledger.lost(key(1), WHO, usd=3.0, why="no reply")
        ledger.unbilled(key(2), WHO)
    assert len(parts(tmp_path)) > 1
    with TraceLedger(tmp_path) as ledger:
        assert ledger.account(WHO) == Account(calls=3, usd=7.0, answers=1, lost=1, cut=1)
        ledger.answered(key(3), WHO, {"text": "3"}, usd=1.0)
    with TraceLedger(tmp_path) as ledger:
        assert ledger.account(WHO) == Account(calls=4, usd=8.0, answers=2, lost=1, cut=1)


def test_a_refusal_is_an_answer_that_costs_nothing(tmp_path: Path) -> None:
    with TraceLedger(tmp_path) as ledger:
        ledger.asking(key(0), WHO, usd=3.0)
        ledger.answered(key(0), WHO, {"text": "", "refused": "HTTP 400"}, usd=0.0, calls=0)
    with TraceLedger(tmp_path) as ledger:
        assert key(0) in ledger
        assert ledger.account(WHO) == Account(calls=0, usd=0.0, answers=1)


def test_each_teacher_has_an_account_of_its_own(tmp_path: Path) -> None:
    with TraceLedger(tmp_path) as ledger:
        ledger.answered(key(0), WHO, {"text": "0"}, usd=1.0)
        ledger.answered(key(1), "b" * 32, {"text": "1"}, usd=5.0)
        assert (ledger.account(WHO).usd, ledger.account("b" * 32).usd) == (1.0, 5.0)
        assert ledger.account("c" * 32) == Account()


# --- one owner ----------------------------------------------------------------------------------

OWNER = """
import sys, time
from pathlib import Path
from r1core.store.traces import TraceLedger
with TraceLedger(Path(sys.argv[1])) as ledger:
    ledger.answered("0" * 32, "a" * 32, {"text": "theirs"}, usd=0.0)
    print("has it", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_second_process_waits_and_finds_what_the_first_put_down(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), "1" if how == "ends" else "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "has it\n"
        waited: list[str] = []

        def waiting(owner: str) -> None:
            waited.append(owner)
            if how == "is killed" and len(waited) == 3:
                first.send_signal(signal.SIGKILL)

        began = time.monotonic()
        with TraceLedger(tmp_path, waiting=waiting) as ledger:
            entry = ledger.answer("0" * 32)
        assert entry is not None
        assert entry["text"] == "theirs"
        assert len(waited) >= 3
        assert waited[0].startswith(f"process {first.pid} on ")
        assert time.monotonic() - began < 60
        assert first.wait() == (0 if how == "ends" else -signal.SIGKILL)


def test_whoever_waits_may_give_up(tmp_path: Path) -> None:
    def no(owner: str) -> None:
        raise KeyError(owner)

    with (
        TraceLedger(tmp_path),
        pytest.raises(KeyError, match=f"process {os.getpid()}"),
        TraceLedger(tmp_path, waiting=no),
    ):
        pass
    with TraceLedger(tmp_path, waiting=no):
        pass


def test_a_disk_that_takes_nothing_is_told_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TraceLedger(tmp_path) as ledger:
        ledger.answered(key(0), WHO, {"text": "0"}, usd=1.0)
        hit: list[int] = []

        def full(descriptor: int) -> None:
            hit.append(descriptor)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("r1core.store.traces.os.fsync", full)
        with pytest.raises(SetupError, match="No space left on device") as caught:
            ledger.answered(key(1), WHO, {"text": "1"}, usd=1.0)
        monkeypatch.undo()
        assert key(1) not in ledger
        ledger.answered(key(2), WHO, {"text": "2"}, usd=1.0)
        entry = ledger.answer(key(2))
        assert entry is not None
        assert entry["text"] == "2"
    assert read(tmp_path, 3)[0] == {0: "0", 2: "2"}
    assert hit
    assert caught.value.where == str(tmp_path)
    assert caught.value.exit_code == 3
