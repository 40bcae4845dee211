"""Free memory that the C library keeps is given back, where there is enough of it to be worth the call."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

import pytest

from r1core.nn.heap import trim_heap

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason=f"no glibc on {sys.platform}")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_is_free_between_what_stays_is_given_back() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(100_000) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    for block in blocks[:-1]:  # the last one holds the heap's top, so that the rest stays a hole
        library.free(block)
    before = resident()
    assert trim_heap(least=2**20)
    assert before - resident() > 50_000_000
    library.free(blocks[-1])


def test_a_little_is_left_where_it_is() -> None:
    assert not trim_heap(least=2**60)
