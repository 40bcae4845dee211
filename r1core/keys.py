"""Randomness is derived, not carried: 64-bit keys from (seed, stage, step, problem, sample, purpose, ...).

A key depends on nothing but its parts, so order, worker count, prefetching and resuming cannot leak
into results. `key = blake2b-64(seed, *parts)`, each part tagged with its type and length, so that
("ab", "c") and ("a", "bc"), or 1 and "1", never meet. The values are promised: a changed derivation
changes every run.
"""

from __future__ import annotations

from hashlib import blake2b


def derive_key(seed: int, *parts: int | str) -> int:
    """A key in 0 .. 2**64 - 1, the same in every process on every machine."""
    digest = blake2b(digest_size=8)
    for part in (seed, *parts):
        if not isinstance(part, int | str):
            raise TypeError(f"a key is derived from whole numbers and strings, got {part!r}")
        data = str(part if isinstance(part, str) else int(part)).encode("utf-8", "surrogatepass")
        digest.update(f"{'s' if isinstance(part, str) else 'i'}{len(data)}:".encode() + data)
    return int.from_bytes(digest.digest(), "big")
