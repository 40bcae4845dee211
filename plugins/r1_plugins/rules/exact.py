"""The exact rule: the final answer is the reference, letter for letter but for what the options let pass.

    rewards: [exact]                                                the reference, but for white space
    rewards: [{use: exact, case: false, unicode: nfkc}]             "oslo" is Oslo, full-width letters too
    rewards: [{use: exact, spaces: none, require_tags: false}]      "x+1" is "x + 1"

The answer must also be well formed, else a model is paid for an answer that nobody could find.
Reasons: correct, wrong, no_answer, format, truncated.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1core.types import Problem, Score, Sentinel


class Exact(AnswerRule[frozenset[str]]):
    """1 when the final answer equals the reference (or one of a list of references), else 0."""

    name = "exact"

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
        accepted = frozenset(self._plain(_text(one)) for one in several if one is not None) - {""}
        if not accepted:
            raise GoldError(f"the reference is {reference!r}: there is no answer in it", reason="no_reference")
        return accepted

    def verdict(self, gold: frozenset[str], answer: str) -> Score:
        """1 or 0."""
        right = self._plain(answer) in gold
        return Score(value=float(right), reason="correct" if right else "wrong")

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


def _text(reference: Any) -> str:
    """The reference as a person writes it: 72.0 of a JSON file is "72"."""
    return str(int(reference)) if isinstance(reference, float) and reference.is_integer() else str(reference)
