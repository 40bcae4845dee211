"""MinHash sketches: how alike two texts are, from a hundred bytes of each, and where to look for those that are.

    alike = |A and B| / |A or B|, A and B the n-grams of words of two texts

rensa makes the sketches. Of each of its numbers the lowest byte is kept: two texts agree in it where they agree in the
number, else once in 256, which the estimate takes out. The standard error of 128 numbers is 0.035 at 0.8. Bands of
neighbouring bytes are keys: texts that are alike share one with a chance of 99.5 % and more, others rarely do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from r1core.ngrams import Hashes

RECALL = 0.995
"""Chance that a text as alike as is asked for is looked at."""
WIDEST = 8
"""Bytes of a band at most: those of a key."""
BLOCK = 1 << 16
SEED = 20250122
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_BAND = np.uint64(0xC2B2AE3D27D4EB4F)
Bytes = NDArray[np.uint8]


def sketches_of(texts: Sequence[Hashes], numbers: int) -> Bytes:
    """The sketches of texts by the hashes of their n-grams: (texts, numbers)."""
    from rensa import RMinHash

    ends = np.cumsum([0, *(len(each) for each in texts)], dtype=np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(texts), ends, num_perm=numbers, seed=SEED)
    rows: Bytes = (np.array(matrix.to_rows(), dtype=np.uint32) & np.uint32(255)).astype(np.uint8)
    return rows


def band_width(similarity: float, numbers: int) -> int:
    """The widest band with which texts that are so alike are looked at with a chance of `RECALL`."""
    widths = [width for width in range(1, WIDEST + 1) if 1 - (1 - similarity**width) ** (numbers // width) >= RECALL]
    return max(widths, default=1)


def keys_of(sketches: Bytes, width: int) -> Hashes:
    """The keys of sketches by their bands: (texts, bands)."""
    count = sketches.shape[1] // width
    bands = sketches[:, : count * width].reshape(len(sketches), count, width).astype(np.uint64)
    keys = np.zeros((len(sketches), count), dtype=np.uint64)
    for place in range(width):
        keys = (keys << np.uint64(8)) | bands[:, :, place]
    return (keys + _BAND * np.arange(1, count + 1, dtype=np.uint64)) * _PRIME


def alike(one: Bytes, others: Bytes) -> NDArray[np.float64]:
    """How alike a text is to each of the others, estimated."""
    found: NDArray[np.float64] = ((others == one).mean(axis=1) - 1 / 256) / (1 - 1 / 256)
    return found


class Sketches:
    """The sketches of many texts, by their numbers."""

    def __init__(self, numbers: int) -> None:
        self._numbers = numbers
        self._blocks: list[Bytes] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory, bytes."""
        return sum(block.nbytes for block in self._blocks)

    def add(self, sketches: Bytes) -> None:
        """More of them, (texts, numbers)."""
        done = 0
        while done < len(sketches):
            place = self._count % BLOCK
            if not place:
                self._blocks.append(np.empty((BLOCK, self._numbers), dtype=np.uint8))
            taken = min(BLOCK - place, len(sketches) - done)
            self._blocks[-1][place : place + taken] = sketches[done : done + taken]
            self._count, done = self._count + taken, done + taken

    def of(self, rows: NDArray[np.uint32]) -> Bytes:
        """Those of these texts."""
        found = np.empty((len(rows), self._numbers), dtype=np.uint8)
        for block in np.unique(rows // BLOCK):
            own = rows // BLOCK == block
            found[own] = self._blocks[block][rows[own] % BLOCK]
        return found
