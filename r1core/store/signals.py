"""Teacher signals on disk: parquet parts of texts with a teacher's log-probs, and `signals.json`, which says whose.

    signals/part-00000.parquet, ..., signals/signals.json        one part for each unit of work

Log-probs are float32: that moves divergences by less than 1e-7, float16 by up to 3e-4 and bfloat16 by 3e-3, where the
golden values are known to 1e-6 (tests/core/test_signals_store.py). Rows lie in groups of about GROUP_BYTES, so that a
reader that jumps about reads little and holds little. Their bytes follow from the rows alone.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r1core.errors import SetupError
from r1core.store.files import read_json, write_json, writing
from r1core.types import Signal, Tokens

ABOUT = "signals.json"
GROUP_BYTES = 2**21
"""Of one row group, before compression; a longer text has a group of its own."""
HELD_BYTES = 2**28
"""Of row groups that a reader keeps: batches of like lengths jump about in a bucket of thousands of texts, and come
back to most of its groups. At least one is kept, however large."""
FLAT = {"ids": "int32", "top_ids": "int32", "top_logprobs": "float32", "logprobs": "float32", "present": "bool_"}
"""The lists of a row; those of (T, K) are written row by row."""
SPLIT = [f"{name}.list.element" for name in ("top_logprobs", "logprobs")]
"""Written with the first bytes of all numbers together: 0.93 of the size otherwise."""


@dataclass(frozen=True, kw_only=True)
class SignalRow:
    """One text with its signal, and the row of the dataset that it is of."""

    id: str
    sample: int
    signal: Signal


def bytes_of(tokens: float, counted: float, *, k: int) -> float:
    """Bytes of texts of so many `tokens`, of which `counted` have a signal, before compression."""
    return 4 * tokens + counted * (8 * k + 4 + 1 / 8)


def write_signals(folder: Path, rows: Sequence[SignalRow], *, part: int) -> Path:
    """Write one part; returns its path."""
    arrow, parquet = _pyarrow()
    table = arrow.table(
        {
            "id": arrow.array([row.id for row in rows], arrow.string()),
            "sample": arrow.array([row.sample for row in rows], arrow.int64()),
            "tokens": arrow.array([len(row.signal.ids) for row in rows], arrow.int32()),
            "start": arrow.array([row.signal.start for row in rows], arrow.int32()),
            **{name: _lists(arrow, [getattr(row.signal, name) for row in rows], FLAT[name]) for name in FLAT},
        }
    )
    path = folder / f"part-{part:05d}.parquet"
    most = max(1, GROUP_BYTES * len(rows) // max(table.nbytes, 1))
    with writing(path) as temporary:
        parquet.write_table(
            table,
            temporary,
            row_group_size=most,
            compression="zstd",
            write_page_checksum=True,
            use_dictionary=["id"],
            use_byte_stream_split=SPLIT,
        )
    return path


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Say whose signals they are, and how they were made."""
    write_json(folder / ABOUT, about)


class StoredSignals:
    """The artifact of a `signals` stage. Implements `contexts.Signals`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = sorted(folder.glob("part-*.parquet"))
        self._held: OrderedDict[tuple[int, int], Any] = OrderedDict()

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What `signals.json` says."""
        found: Mapping[str, Any] = read_json(self._folder / ABOUT)
        return found

    @cached_property
    def lengths(self) -> Tokens:
        """(rows,) tokens of each text, prompt included."""
        columns = [self._open(part, lambda file: file.read(["tokens"])["tokens"].to_numpy()) for part in self._parts]
        return np.concatenate([np.array([], dtype=np.int64), *columns]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def __getitem__(self, row: int) -> Signal:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} signals")
        group = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return _signal(self._group(*self._groups[group][:2]), row - int(self._first_rows[group]))

    @cached_property
    def _groups(self) -> list[tuple[int, int, int]]:
        """(part, group in it, rows) of every row group, in order."""
        return [
            (number, group, rows)
            for number, part in enumerate(self._parts)
            for group, rows in enumerate(self._open(part, _rows_of_groups))
        ]

    @cached_property
    def _first_rows(self) -> NDArray[np.int64]:
        """The row that each group begins with, and behind them the number of all rows."""
        return np.cumsum([0, *(rows for _, _, rows in self._groups)])

    def _group(self, part: int, group: int) -> Any:
        place = (part, group)
        if place not in self._held:
            path = self._parts[part]
            self._held[place] = self._open(path, lambda file: file.read_row_group(group, use_threads=False))
            held = sum(table.nbytes for table in self._held.values())
            while held > HELD_BYTES and len(self._held) > 1:
                held -= self._held.popitem(last=False)[1].nbytes
        self._held.move_to_end(place)
        return self._held[place]

    def _open(self, path: Path, read: Any) -> Any:
        arrow, parquet = _pyarrow()
        try:
            with parquet.ParquetFile(path, page_checksum_verification=True) as file:
                return read(file)
        except (arrow.ArrowException, OSError, KeyError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise SetupError(f"cannot be read: {reason}", where=str(path), fix="make the signals again") from error


def _rows_of_groups(file: Any) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def _signal(table: Any, row: int) -> Signal:
    found = {name: table[name][row].values.to_numpy(zero_copy_only=False) for name in FLAT}
    counted = len(found["logprobs"])
    k = len(found["top_ids"]) // max(counted, 1)
    return Signal(
        ids=found["ids"].astype(np.int64),
        start=table["start"][row].as_py(),
        top_ids=found["top_ids"].astype(np.int64).reshape(counted, k),
        top_logprobs=found["top_logprobs"].reshape(counted, k),
        logprobs=found["logprobs"],
        present=found["present"],
    )


def _lists(arrow: Any, values: Sequence[NDArray[Any]], kind: str) -> Any:
    """A column of lists, made without a Python object for each number."""
    ends = np.cumsum([0, *(value.size for value in values)])
    flat = np.concatenate([np.array([], dtype=kind), *(np.asarray(value, dtype=kind).reshape(-1) for value in values)])
    return arrow.LargeListArray.from_arrays(ends, flat)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise SetupError(
            "parquet files need pyarrow", where="r1core.store", fix="pip install 'r1core[train]'"
        ) from error
