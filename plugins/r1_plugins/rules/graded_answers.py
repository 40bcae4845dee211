"""The graded-answers rule: several answers are right, some partly, and some wrong ones cost something of their own.

    "Name a child of John Adams."
    {"reference": {"correct": [["John Quincy Adams", "J. Q. Adams"], "Abigail", "Charles", "Thomas"],
                   "partly": [{"answer": "John Adams Jr.", "score": 0.5}],
                   "wrong": ["Louisa Adams", {"answer": "George Washington", "score": -0.5}]}}

An entry is a name, or a list of its spellings. An answer may give several names, in any order: it is
worth what the worst of them is, so that listing every name one knows does not pay. A name that the
reference does not have is worth `unknown`; no answer, the least that the problem pays.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1_plugins.rules.reading.visible import has_visible
from r1core.types import Problem, Score, Sentinel

MAX_CHARACTERS = 2000
MAX_NAMES = 20
"""Whoever names more than that is not answering."""
LETTERS_PER_EDIT = 4
"""A name may be misspelt once for so many letters: "Ann" is not "Anna"."""
_MARKUP = re.compile(r"\\boxed\s?\{([^{}]*)\}|\\text\s?\{([^{}]*)\}")
_LISTED = re.compile(r"[\n;,、\uff0c\uff1b/]+")
_JOINED = re.compile(r"\s(?:and|or|und|oder|et|ou|y|o|e|и|или)\s|\s?[&和与及或]\s?")
_BULLET = re.compile(r"(?:[-*•\u2013]|\(?\d{1,2}[.):])\s+")


@dataclass(frozen=True, kw_only=True)
class Graded:
    """What each spelling is worth, and the least that any answer to the problem is."""

    worth: Mapping[str, float]
    least: float


class GradedAnswers(AnswerRule[Graded]):
    """The worth of the answer's worst name, from the lists of the problem's reference."""

    name = "graded_answers"
    gold_form: ClassVar[str] = (
        "{correct: [names], partly: [{answer, score}], wrong: [names, or {answer, score}]}, the last two where there "
        "are any; a name may be a list of its spellings"
    )
    lowest: ClassVar[float] = -1.0

    class Config(AnswerRule.Config):
        unknown: float = Field(
            0.0, ge=-1, lt=1, description="worth of a name that the reference has in none of its lists"
        )
        several: Literal["worst", "mean"] = Field(
            "worst", description="worth of an answer with several names: that of the worst, or the mean of all"
        )
        max_edits: int = Field(
            0, ge=0, le=3, description="letters that may be wrong, missing or too many in a name; one for every four"
        )
        accents: bool = Field(False, description="whether accents matter; case and punctuation never do")

    config: Config

    def gold(self, problem: Problem) -> Graded:
        """The lists, by spelling."""
        lists = problem.reference
        if not isinstance(lists, Mapping) or not lists.get("correct") or lists.keys() - {"correct", "partly", "wrong"}:
            raise GoldError(f"the reference is {lists!r:.200}: give {{correct: [...], partly: [...], wrong: [...]}}")
        worth: dict[str, float] = {}
        for spelling, score in _entries(lists):
            plain = self._plain(spelling)
            if not has_visible(plain):
                raise GoldError(f"the reference lists {spelling!r}, which has no letter")
            if worth.setdefault(plain, score) != score:
                raise GoldError(f"the reference lists {spelling!r} twice, worth {worth[plain]:g} and {score:g}")
        return Graded(worth=worth, least=min(0.0, self.config.unknown, *worth.values()))

    def nothing(self, gold: Graded) -> float:
        """The least: else an answer out of form would be better than a wrong one."""
        return gold.least

    def verdict(self, gold: Graded, answer: str) -> Score:
        """The worst name's worth, or the mean."""
        found = list(dict.fromkeys(self._names(answer, gold))) if len(answer) <= MAX_CHARACTERS else []
        if not found or len(found) > MAX_NAMES:
            return Score(value=gold.least, reason="too_many" if found or len(answer) > MAX_CHARACTERS else "no_answer")
        scores = [gold.worth.get(name, self.config.unknown) for name in found]
        value = min(scores) if self.config.several == "worst" else sum(scores) / len(scores)
        reason = "correct" if value == 1 else "unknown" if not gold.worth.keys() & {*found} else "partly"
        return Score(value=value, reason=reason if value > 0 or reason == "unknown" else "wrong")

    def vote(self, gold: Graded, answer: str) -> str:
        """The names, in the reference's spelling; none where there are too many."""
        if len(answer) > MAX_CHARACTERS:
            return ""
        return "; ".join(sorted(set(self._names(answer, gold))))

    def sentinels(self) -> Sequence[Sentinel]:
        """A right name, a wrong one, and both."""
        reference = {"correct": ["Abigail Adams"], "wrong": [{"answer": "Martha Washington", "score": -1}]}
        both = -1.0 if self.config.several == "worst" else 0.0
        said = [("abigail adams", 1.0), ("Martha Washington", -1.0), ("Martha Washington, Abigail Adams", both)]
        return known(reference, said)

    def _names(self, answer: str, gold: Graded) -> Iterator[str]:
        """The names that an answer gives: as the reference spells them where it has them. What is one as a whole is
        not taken apart: "Trinidad and Tobago"."""
        answer = _MARKUP.sub(lambda found: found[1] or found[2] or "", answer)
        whole = self._closest(answer, gold)
        if whole is not None:
            yield whole
            return
        for line in _LISTED.split(answer):
            bullet = _BULLET.match(line.strip())
            part = line.strip()[bullet.end() if bullet else 0 :]
            whole = self._closest(part, gold)
            for name in [part] if whole is not None else _JOINED.split(f" {part} "):
                if self._plain(name):
                    yield whole or self._closest(name, gold) or self._plain(name)

    def _closest(self, name: str, gold: Graded) -> str | None:
        """The spelling of the reference that a name is, the worse one of two that are as close."""
        plain = self._plain(name)
        if plain in gold.worth:
            return plain
        allowed = min(self.config.max_edits, len(plain) // LETTERS_PER_EDIT)
        near = [(edits(plain, one, allowed), worth, one) for one, worth in gold.worth.items()] if allowed else []
        return min((each for each in near if each[0] <= allowed), default=(0, 0.0, None))[2]

    def _plain(self, name: str) -> str:
        """Comparable: case, punctuation, white space and, unless they matter, accents left out. What cannot be seen
        stays, and makes another name."""
        text = unicodedata.normalize("NFC", name.casefold())
        if not self.config.accents:
            text = "".join(map(_bare, text))
        return " ".join("".join(" " if unicodedata.category(each)[0] in "PS" else each for each in text).split())


def _bare(letter: str) -> str:
    """A letter without its accents. A mark that makes no letter of any alphabet stays."""
    apart = unicodedata.normalize("NFD", letter)
    return apart[0] if all(map(unicodedata.combining, apart[1:])) else letter


def _entries(lists: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(spelling, worth) of every entry. Raises GoldError."""
    for name, usual, least, most in (("correct", 1.0, 1.0, 1.0), ("partly", None, 0.0, 1.0), ("wrong", 0.0, -1.0, 0.0)):
        entries = lists.get(name, [])
        for entry in entries if isinstance(entries, list | tuple) else [None]:
            spellings, score = entry, usual
            if isinstance(entry, Mapping) and entry.keys() <= {"answer", "score"}:
                spellings, score = entry.get("answer"), entry.get("score", usual)
            spellings = spellings if isinstance(spellings, list | tuple) else [spellings]
            if not spellings or not all(isinstance(one, str) for one in spellings):
                raise GoldError(
                    f"{name} has the entry {entry!r:.100}: give a name, a list of its spellings, or {{answer, score}}"
                )
            if isinstance(score, bool) or not isinstance(score, int | float) or not least <= score <= most:
                raise GoldError(f"{name} has {entry!r:.100}: give it a score from {least:g} to {most:g}")
            yield from ((one, float(score)) for one in spellings)


def edits(one: str, other: str, most: int) -> int:
    """Levenshtein's distance of two texts, or `most` + 1 where it is larger: only a band of its table is computed."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    row = {column: column for column in range(min(most, len(other)) + 1)}
    for line, letter in enumerate(one, start=1):
        above, row = row, {}
        for column in range(max(0, line - most), min(len(other), line + most) + 1):
            options = [above.get(column, most) + 1, row.get(column - 1, most) + 1]
            if column:
                options.append(above.get(column - 1, most + 1) + (other[column - 1] != letter))
            row[column] = min(options)
        if min(row.values()) > most:
            return most + 1
    return min(row[len(other)], most + 1)
