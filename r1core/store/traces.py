"""The trace ledger: what teachers answered, each answer once, on disk before it is used.

    with TraceLedger(folder) as ledger:
        if key not in ledger:
            ledger.asking(key, teacher, usd=most)          # the call is about to be made
            ledger.answered(key, teacher, {...}, usd=cost)
        entry = ledger.answer(key)

Lines are those of `Ledger`, in parts of bounded size, and texts stay on disk: memory holds a key and a place for each
answer. A line that is torn or altered costs its own answer and no other: there is no order among them. What was asked
and never settled was under way when the process was killed: it counts with the most that it can have cost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from r1core.errors import SetupError
from r1core.store.files import append_all, sync
from r1core.store.kills import reached
from r1core.store.ledger import entry_of, line_of
from r1core.store.locks import locked, owner, sign
from r1core.store.trace_index import KILLED, Account, TraceIndex, beside

PART_BYTES = 256 * 2**20
LOOK_S = 0.1
"""How often a ledger that another process has is asked for."""


def not_at_all(owner: str) -> None:
    """Nobody minds waiting."""


class TraceLedger:
    """One process has it at a time; others wait, and `waiting(owner)` is called while they do."""

    def __init__(
        self, folder: Path, *, waiting: Callable[[str], None] = not_at_all, part_bytes: int = PART_BYTES
    ) -> None:
        self.folder = folder
        self.damaged = 0
        """Lines that were there but did not hold: what they said is asked for again."""
        self._waiting = waiting
        self._part_bytes = part_bytes
        self._index = TraceIndex()
        self._lock = -1
        self._number = 0

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._load()
        except OSError as error:
            self._let_go()
            raise self._unwritable(error) from error
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._let_go()

    def __len__(self) -> int:
        return len(self._index.places)

    def __contains__(self, key: str) -> bool:
        return self._index.place(key) is not None

    def account(self, teacher: str) -> Account:
        """What a teacher was asked, by all that have used this ledger."""
        return self._index.accounts.get(teacher, Account())

    def answer(self, key: str) -> dict[str, Any] | None:
        """The answer to a question, None where there is none, or none that is whole."""
        place = self._index.place(key)
        if place is None:
            return None
        number, offset = place
        try:
            with self._path(number).open("rb") as file:
                file.seek(offset)
                entry = entry_of(file.readline())
        except OSError:
            entry = None
        if entry is None or entry.get("key") != key:
            self.damaged += 1
            del self._index.places[bytes.fromhex(key)]
            return None
        return entry

    def introduce(self, teacher: str, about: Mapping[str, Any]) -> None:
        """Put down, once, who a teacher is."""
        if teacher not in self._index.accounts:
            self._add({"kind": "teacher", "teacher": teacher, "about": dict(about)}, durable=True)

    def asking(self, key: str, teacher: str, *, usd: float) -> None:
        """A call is about to be made that can cost so much at most."""
        self._add({"kind": "asking", "key": key, "teacher": teacher, "usd": usd}, durable=False)

    def answered(self, key: str, teacher: str, answer: Mapping[str, Any], *, usd: float, calls: int = 1) -> None:
        """An answer came (JSON values), for so much. Here it is kept, when this returns. `calls` is 0 where the server
        said no and charged nothing."""
        reached("ledger.append")
        self._add({"kind": "answer", "key": key, "teacher": teacher, "calls": calls, "usd": usd, **answer})
        reached("ledger.done")

    def lost(self, key: str, teacher: str, *, usd: float, why: str) -> None:
        """A call came to nothing, and may be billed all the same."""
        self._add({"kind": "lost", "key": key, "teacher": teacher, "calls": 1, "usd": usd, "why": why})

    def unbilled(self, key: str, teacher: str) -> None:
        """A call was turned away: nothing was done, nothing is to pay."""
        self._add({"kind": "unbilled", "key": key, "teacher": teacher}, durable=False)

    # --- the files -------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.jsonl"

    def _add(self, entry: Mapping[str, Any], *, durable: bool = True) -> None:
        try:
            if self._size >= self._part_bytes:
                self._begin(self._number + 1)
            line = line_of(entry)
            append_all(self._file, line, at=self._size)
            if durable:
                self._make_durable()
        except OSError as error:
            raise self._unwritable(error) from error
        self._index.take(entry, self._number, self._size)
        self._size += len(line)

    def _make_durable(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)  # nobody was told that it is there
            raise

    def _begin(self, number: int) -> None:
        """Seal the part that is full and open the next."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._index.seal(self._path(self._number), self._number)
        self._open(number)

    def _open(self, number: int) -> None:
        self._number = number
        self._file = self._path(number).open("ab", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)
        sync(self.folder)

    def _load(self) -> None:
        numbers = [int(path.stem.removeprefix("part-")) for path in sorted(self.folder.glob("part-*.jsonl"))]
        for number in numbers:
            if not self._index.take_sealed(self._path(number), number):
                self._scan(number, is_last=number == numbers[-1])
        last = numbers[-1] if numbers else 0
        self._open(last + beside(self._path(last)).exists())
        for key, (teacher, usd) in list(self._index.open.items()):
            self.lost(key, teacher, usd=usd, why=KILLED)

    def _scan(self, number: int, *, is_last: bool) -> None:
        """Read a part line by line, and seal it anew unless it goes on. Half a line at the end of the last is cut off,
        so that the next one begins a line."""
        offset = 0
        beside(self._path(number)).unlink(missing_ok=True)
        with self._path(number).open("rb") as file:
            for line in file:
                entry = entry_of(line)
                if entry is not None:
                    self._index.take(entry, number, offset)
                elif is_last and not line.endswith(b"\n"):
                    break
                else:
                    self.damaged += 1
                offset += len(line)
        if is_last:
            os.truncate(self._path(number), offset)
        else:
            self._index.seal(self._path(number), number)

    def _take_lock(self) -> None:
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        while not locked(self._lock):
            self._waiting(owner(self._lock))
            time.sleep(LOOK_S)
        sign(self._lock)

    def _let_go(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _unwritable(self, error: OSError) -> SetupError:
        return SetupError(
            f"cannot be written: {error.strerror or error}",
            where=str(self.folder),
            fix="free space on the disk, or name another ledger; every answer is kept, the same command goes on",
        )
