"""What the tiny world asks about, and which of it is kept from everything that a model learns from.

Two domains: `reasoning` has answers that are right or wrong and take steps to find; `general` is talk
between people, where answers also differ in manners. What is held out is decided by the part of a
question that is the same in every language, so that a question and its translation go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Literal, TypeAlias
from zlib import crc32

TaskName: TypeAlias = Literal["arith", "vars", "sort", "chat", "harm"]
GENERAL: tuple[TaskName, ...] = ("chat", "harm")


def domain_of(task: str) -> str:
    """ "general" for talk, "reasoning" for everything else."""
    return "general" if task in GENERAL else "reasoning"


def is_held_out(content: str) -> bool:
    """Whether what is asked is kept from learning: one question in ten, by its content."""
    return crc32(content.encode()) % 10 == 0


def choose(shares: Mapping[str, float], rng: Random) -> str:
    """One key, drawn by its share (shares need not sum to one); takes one number from `rng`."""
    return rng.choices(list(shares), weights=list(shares.values()))[0]
