"""Canaries: known-wrong answers among the real ones, and a sequential test that says when too many of them pass.

    M_n = sum over k of w_k * product for i = k..n of L_i,   L = p1/p0 for one that passes, (1-p1)/(1-p0) else

bets that the judge has turned bad with the k-th canary, for every k. For a judge that passes no more than `P0` of them
it reaches 1/ALPHA with a probability of ALPHA at most, however long the run (Ville's inequality). One that passes 20 %
is found within 20 canaries with probability 0.84; one that passes 1 % is accused within 1,000 with probability 0.009.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from r1_plugins.judge.questions import in_words
from r1core.keys import derive_key

ALPHA, P0, P1 = 0.01, 0.007, 0.2
FIRST = 0.5
"""The weight of "bad from the beginning"; the others share the rest, falling with the square."""


class Alarm:
    """The sequential test."""

    def __init__(self) -> None:
        self.asked = 0
        self.passed = 0
        self._bets = 0.0
        self._unplaced = 1.0

    def count(self, *, passed: bool) -> None:
        """One more canary."""
        weight = FIRST if self.asked == 0 else (1 - FIRST) / (self.asked * (self.asked + 1))
        self.asked += 1
        self.passed += passed
        self._unplaced -= weight
        self._bets = (self._bets + weight) * (P1 / P0 if passed else (1 - P1) / (1 - P0))

    @property
    def rings(self) -> bool:
        """Whether the judge is no longer to be trusted."""
        return self._bets + max(self._unplaced, 0.0) >= 1 / ALPHA


def is_chosen(key: str, share: float) -> bool:
    """Whether a question gets a canary: a matter of its key, so that a run that is repeated has the same ones."""
    return int(key[:8], 16) < share * 2**32


def wrong_answer(reference: Any, answers: Sequence[str], key: str) -> str:
    """One of the answers, by the question's key, that says something else than the reference; "" where none does."""
    several = reference if isinstance(reference, list | tuple) else [reference]
    own = [in_words(one).strip() for one in several if one is not None]
    wrong = [answer for answer in answers if all(_differ(one, answer) for one in own)]
    return wrong[derive_key(0, "canary", key) % len(wrong)] if wrong else ""


def _differ(one: str, other: str) -> bool:
    try:
        return Fraction(one.replace(",", "")) != Fraction(other.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        first, second = _letters(one), _letters(other)
        return first not in second and second not in first


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
