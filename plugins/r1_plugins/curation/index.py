"""A map from 64-bit keys to the rows that have them, for tens of millions of keys: 12 bytes each.

New keys wait in a dictionary; when there are many they become a sorted block, and blocks of like size are merged, so
that a look-up is a few binary searches. What is found never depends on how keys lie in blocks.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from r1core.ngrams import Hashes

WAITING = 1 << 16
"""Keys in the dictionary at most."""
LARGEST = 1 << 22
"""Keys of a block that is merged no more: merging takes three times the memory of what is merged."""
Rows = NDArray[np.uint32]


class Index:
    """Keys -> rows."""

    def __init__(self, *, waiting: int = WAITING, largest: int = LARGEST) -> None:
        self._most = waiting
        self._largest = largest
        self._waiting: dict[int, list[int]] = defaultdict(list)
        self._count = 0
        self._blocks: list[tuple[Hashes, Rows]] = []

    @property
    def nbytes(self) -> int:
        """Memory of the blocks, bytes."""
        return sum(keys.nbytes + rows.nbytes for keys, rows in self._blocks)

    def add(self, keys: Hashes, row: int) -> None:
        """A row with all its keys."""
        for key in keys.tolist():
            self._waiting[key].append(row)
        self._count += len(keys)
        if self._count >= self._most:
            waiting = [(key, each) for key, rows in self._waiting.items() for each in rows]
            self._waiting.clear()
            self._count = 0
            self.add_all(
                np.array([key for key, _ in waiting], dtype=np.uint64),
                np.array([each for _, each in waiting], dtype=np.uint32),
            )

    def add_all(self, keys: Hashes, rows: Rows) -> None:
        """Many keys at once, each with its row."""
        if len(keys):
            self._blocks.append(_sorted(keys, rows))
        while len(self._blocks) > 1 and len(self._blocks[-2][0]) <= min(2 * len(self._blocks[-1][0]), self._largest):
            (keys, rows), (more_keys, more_rows) = self._blocks.pop(), self._blocks.pop()
            self._blocks.append(_sorted(np.concatenate([more_keys, keys]), np.concatenate([more_rows, rows])))

    def find(self, keys: Hashes) -> Rows:
        """The rows that have any of these keys, each once, in order."""
        found = [np.array([row for key in keys.tolist() for row in self._waiting.get(key, ())], dtype=np.uint32)]
        for known, rows in self._blocks:
            starts = np.searchsorted(known, keys)
            hits = np.flatnonzero(known[np.minimum(starts, len(known) - 1)] == keys)
            if len(hits):
                ends = np.searchsorted(known, keys[hits], side="right")
                found += [rows[start:end] for start, end in zip(starts[hits], ends, strict=True)]
        return np.unique(np.concatenate(found))


def _sorted(keys: Hashes, rows: Rows) -> tuple[Hashes, Rows]:
    order = np.argsort(keys, kind="stable")
    return keys[order], rows[order]
