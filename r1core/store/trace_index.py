"""What is remembered of a trace ledger: where each answer lies, what each teacher has cost, which calls are under way.

A part of the ledger that has reached its size is sealed: beside it lies an index, so that opening a ledger of hundreds
of gigabytes reads tens of megabytes. An index that is missing or does not fit is made again from the part.

    {"size": <bytes of the part>, "sha256": <of the records>, "accounts": {..}, "open": {..}}\n
    records of 24 bytes: key (16), offset (8)
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r1core.store.files import writing

RECORD = struct.Struct(">16sQ")
OFFSET_BITS = 40
"""A part is smaller than 2 ** 40 bytes."""
KILLED = "killed"
"""Why a call was lost that was under way when the process died."""


@dataclass
class Account:
    """What one teacher was asked, and has cost in USD. `calls` counts what may have been billed: for `answers`, `lost`
    without one, under way at a kill (`cut`)."""

    calls: int = 0
    usd: float = 0.0
    answers: int = 0
    lost: int = 0
    cut: int = 0


class TraceIndex:
    """Follows the lines of a ledger; holds keys and places, no texts."""

    def __init__(self) -> None:
        self.places: dict[bytes, int] = {}
        self.accounts: dict[str, Account] = {}
        self.open: dict[str, tuple[str, float]] = {}
        """Key -> teacher and the most that the call can cost: asked, and nothing came of it yet."""

    def take(self, entry: Mapping[str, Any], part: int, offset: int) -> None:
        """A line that lies there."""
        kind = entry["kind"]
        if kind == "asking":
            self.open[entry["key"]] = (entry["teacher"], entry["usd"])
            return
        if kind == "teacher":
            self.accounts.setdefault(entry["teacher"], Account())
            return
        self.open.pop(entry["key"], None)
        if kind == "unbilled":
            return
        account = self.accounts.setdefault(entry["teacher"], Account())
        account.calls += entry["calls"]
        account.usd += entry["usd"]
        if kind == "answer":
            self.places[bytes.fromhex(entry["key"])] = part << OFFSET_BITS | offset
            account.answers += 1
        elif entry["why"] == KILLED:
            account.cut += 1
        else:
            account.lost += 1

    def place(self, key: str) -> tuple[int, int] | None:
        """Part and offset of an answer."""
        found = self.places.get(bytes.fromhex(key))
        return None if found is None else (found >> OFFSET_BITS, found & (1 << OFFSET_BITS) - 1)

    def seal(self, part: Path, number: int) -> None:
        """Write the index of a part that is full."""
        own = ((k, p & (1 << OFFSET_BITS) - 1) for k, p in self.places.items() if p >> OFFSET_BITS == number)
        records = b"".join(RECORD.pack(key, offset) for key, offset in own)
        head = {
            "size": part.stat().st_size,
            "sha256": hashlib.sha256(records).hexdigest(),
            "accounts": {teacher: asdict(account) for teacher, account in self.accounts.items()},
            "open": self.open,
        }
        with writing(beside(part)) as temporary:
            temporary.write_bytes(json.dumps(head).encode() + b"\n" + records)

    def take_sealed(self, part: Path, number: int) -> bool:
        """Take over a part by its index; False where it has none that fits."""
        try:
            head, _, records = beside(part).read_bytes().partition(b"\n")
            told = json.loads(head)
            fits = told["size"] == part.stat().st_size and told["sha256"] == hashlib.sha256(records).hexdigest()
            accounts = {teacher: Account(**account) for teacher, account in told["accounts"].items()}
            still_open = {key: (teacher, usd) for key, (teacher, usd) in told["open"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if not fits or len(records) % RECORD.size:
            return False
        self.places |= {key: number << OFFSET_BITS | offset for key, offset in RECORD.iter_unpack(records)}
        self.accounts, self.open = accounts, still_open
        return True


def beside(part: Path) -> Path:
    """The path of a part's index."""
    return part.with_suffix(".index")
