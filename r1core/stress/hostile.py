"""Attacks by size and depth: what makes careless code hang, recurse, raise, or take its process down.

They say nothing, so they are worth nothing; and they must be judged in time, in a worker that survives them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

from r1core.stress.attack import Attack
from r1core.types import Response

CHARACTERS = 100_000
MEGABYTE = 1_000_000
DEEP = 20_000
"""Brackets within brackets: enough to exhaust any parser that recurses."""


def size(dress: Callable[[str], Response]) -> Iterator[Attack]:
    """Each of them, made into a response by `dress`."""
    for label, text in texts().items():
        yield Attack(family="size", label=label, response=dress(text))


@cache
def texts() -> dict[str, str]:
    """Label -> answer."""
    rng = random.Random(0)
    printable = "".join(map(chr, range(32, 127))) + "\n"
    controls = "".join(map(chr, (*range(32), *range(127, 160), 0x200B, 0x202E, 0x2066, 0xFEFF, 0xD800)))
    return {
        "100 kB of garbage": "".join(rng.choices(printable, k=CHARACTERS)),
        "100 kB of one letter": "a" * CHARACTERS + "!",
        "100 kB of spaces": " " * CHARACTERS + "!",
        "100,000 line ends": "!" + "\n" * CHARACTERS + "!",
        "1 MB of words": "so it goes on " * (MEGABYTE // 14),
        "1 MB of digits and dots": "0.1" * (MEGABYTE // 3),
        "a number of 100,000 digits": "9" * CHARACTERS,
        "a tower of powers": "9**9**9**9",
        "a LaTeX tower of powers": "10^{10^{10^{10}}}",
        "the factorial of a large number": "(10^9)!",
        "deeply nested brackets": "(" * DEEP + "1" + ")" * DEEP,
        "brackets that never close": r"\frac{" * DEEP,
        "deeply nested JSON": "[" * DEEP + "]" * DEEP,
        "20,000 think tags": "<think>" * DEEP,
        "20,000 answer tags": "<answer>" * DEEP,
        "a chain of 20,000 equals": "=".join(["x"] * DEEP),
        "letters from right to left": "\u202e" + "\u05d0\u05d1 " * (CHARACTERS // 3),
        "a letter with 10,000 marks": "a" + "\u0301" * 10_000,
        "NULs": "\0" * 1000,
        "lone surrogates": "\ud800\udfff" * 1000,
        "control characters": controls * (CHARACTERS // len(controls)),
    }
