"""The exact rule: the final answer is the reference, letter for letter but for what the options let pass.

    rewards: [exact]                                                the reference, but for white space
    rewards: [{use: exact, case: false, unicode: nfkc}]             "oslo" is Oslo, full-width letters too
    rewards: [{use: exact, spaces: none, require_tags: false}]      "x+1" is "x + 1"

A number or a truth value of a JSON file is what a person writes for it: 72.0 is "72", 1e-7 "1e-7" or "0.0000001", true
"true". The answer must also be well formed, else a model is paid for an answer that nobody could find.
Reasons: correct, wrong, no_answer, format, truncated.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal

from pydantic import Field

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1core.types import Problem, Score, Sentinel


class Exact(AnswerRule[frozenset[str]]):
    """1 when the final answer equals the reference (or one of a list of references), else 0."""

    name = "exact"
    reads_boxes = True
    gold_form: ClassVar[str] = "a text, a number, true or false; or a list of them, each of which is right"

    class Config(AnswerRule.Config):
        case: bool = Field(True, description="whether case matters")
        spaces: Literal["kept", "single", "none"] = Field(
            "single", description="white space within an answer: as it is, runs of it as one space, or left out"
        )
        unicode: Literal["kept", "nfc", "nfkc"] = Field(
            "kept", description="letters as they are, composed (nfc), or look-alikes such as full-width ones too (nfkc)"
        )

    config: Config

    def gold(self, problem: Problem) -> frozenset[str]:
        """The accepted answers, made comparable."""
        reference = problem.reference
        several = reference if isinstance(reference, list | tuple) else [reference]
        texts = [text for one in several if one is not None for text in _texts(one)]
        accepted = frozenset(map(self._plain, texts)) - {""}
        if not accepted:
            raise GoldError(f"the reference is {reference!r}: there is no answer in it", reason="no_reference")
        return accepted

    def verdict(self, gold: frozenset[str], answer: str) -> Score:
        """1 or 0."""
        right = self._plain(answer) in gold
        return Score(value=float(right), reason="correct" if right else "wrong")

    def vote(self, gold: frozenset[str], answer: str) -> str:
        """The answer, made comparable; of several spellings that are right one stands for all."""
        plain = self._plain(answer)
        return min(gold) if plain in gold else plain

    def sentinels(self) -> Sequence[Sentinel]:
        """One right, one wrong."""
        return known(["8", "eight"], [("8", 1.0), ("9", 0.0)])

    def _plain(self, text: str) -> str:
        if self.config.unicode != "kept":
            text = unicodedata.normalize("NFC" if self.config.unicode == "nfc" else "NFKC", text)
        if not self.config.case:
            text = text.casefold()
        return text.strip() if self.config.spaces == "kept" else _JOINED[self.config.spaces].join(text.split())


_JOINED = {"single": " ", "none": ""}


def _texts(reference: Any) -> Sequence[str]:
    """One reference as people write it. Raises GoldError for what nobody answers letter for letter: an object, a list
    within the list, no number."""
    if isinstance(reference, bool):
        return ["true" if reference else "false"]
    if isinstance(reference, float) and math.isfinite(reference):
        return _numbers(reference)
    if isinstance(reference, str | int):
        return [str(reference)]
    raise GoldError(f"the reference is {reference!r:.200}: give a text, a number, true or false, or a list of them")


def _numbers(reference: float) -> Sequence[str]:
    """72 for 72.0; both ways for a number that Python shows with an exponent."""
    plain = str(int(reference)) if reference.is_integer() else format(Decimal(repr(reference)), "f")
    digits, exponent, power = repr(reference).partition("e")
    return [plain, f"{digits.removesuffix('.0')}e{int(power)}"] if exponent else [plain]
