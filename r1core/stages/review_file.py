"""What reviewers wrote: one JSON object on each line, for one answer each.

    {"id": "p7", "sample": 0, "text": "<think> ... ", "keep": true, "reason": "", ...}

An answer goes by (id, sample), and every answer that was laid before them must come back: one that is
lost in an editor is no rejection. All that is wrong is said at once, with its line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from r1core.errors import Diagnostic, RecipeError
from r1core.types import Response

Key: TypeAlias = tuple[str, int]
SHOWN = 20
"""Most findings in one error."""
WANTED: Mapping[str, tuple[type, str]] = {
    "id": (str, "text"),
    "sample": (int, "a whole number"),
    "text": (str, "text"),
    "keep": (bool, "true or false"),
}
ASK = "change `text`, or set `keep` to false and say why in `reason`; leave the rest"


@dataclass(frozen=True, kw_only=True)
class Review:
    """One line: what the answer is to be, and the mark of the text that it was written about ("" when it lacks it)."""

    line: int
    id: str
    sample: int
    text: str
    keep: bool
    reason: str
    was: str
    reviewed: bool = False
    """Whether a person has said so, as `r1 review` marks it."""


def journal_of(path: Path) -> Path:
    """Decisions that `r1 review` has not put into `path` yet."""
    return path.with_name(path.name + ".journal")


def laid_out(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as reviewers get it. `was` tells later whether their text was written about this one."""
    question = next((m["content"] for m in reversed(row["messages"]) if m["role"] == "user"), "")
    return {
        "id": row["id"],
        "sample": row["sample"],
        "question": question,
        "prefilled": row["prefilled"],
        "text": row["text"],
        "keep": row["keep"],
        "reason": row["reason"],
        "edit": ASK,
        "was": mark(row["text"]),
    }


def mark(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_reviews(path: Path, rows: Iterable[Mapping[str, Any]] | None, *, journal: bool = True) -> dict[Key, Review]:
    """The reviews of `path` by the answer that they are of, held against the kept `rows`; against nothing when these
    are not there yet. Raises RecipeError with the findings, and where a `journal` says that the file lacks some."""
    if journal and journal_of(path).exists():
        fix = "end r1 review, or start it again where it was killed, and end it: that puts them in"
        raise RecipeError(f"decisions in {journal_of(path).name} are not in it yet", where=str(path), fix=fix)
    reviews: dict[Key, Review] = {}
    findings: list[Diagnostic] = []
    for line in _lines(path):
        found = line if isinstance(line, Diagnostic) else _new(line, reviews, path)
        if found is not None:
            findings.append(found)
    if rows is not None:
        findings += _compared(reviews, rows, path)
    if findings:
        more = len(findings) - SHOWN
        shown = sorted(findings[:SHOWN], key=lambda finding: finding.line)
        rest = [Diagnostic(message=f"and {more} more", file=str(path))] if more > 0 else []
        raise RecipeError.of([*shown, *rest])
    return reviews


def _lines(path: Path) -> Iterator[Review | Diagnostic]:
    """Each line as a review, or as what is wrong with it; blank lines are skipped."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _parsed(line, number, path)
    except OSError as error:
        yield Diagnostic(message=f"cannot be read: {error.strerror or error}", file=str(path))


def _parsed(line: bytes, number: int, path: Path) -> Review | Diagnostic:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return _at(path, number, f"not JSON: {error.msg} at column {error.colno}; one object on one line is wanted")
    except UnicodeDecodeError as error:
        return _at(path, number, f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8")
    if not isinstance(row, dict):
        return _at(path, number, f"an object is wanted, got {type(row).__name__}")
    for key, (kind, wanted) in WANTED.items():
        if type(row.get(key)) is not kind:
            got = f"got {json.dumps(row[key], ensure_ascii=False)[:60]}" if key in row else "it is not there"
            return _at(path, number, f"{key!r} must be {wanted}, {got}")
    texts = {key: row.get(key) or "" for key in ("reason", "was")}
    wrong = next((key for key, value in texts.items() if not isinstance(value, str)), None)
    if wrong is not None:
        return _at(path, number, f"{wrong!r} must be text")
    return Review(
        line=number,
        id=row["id"],
        sample=row["sample"],
        text=row["text"],
        keep=row["keep"],
        reviewed=row.get("reviewed") is True,
        **texts,
    )


def _new(review: Review, reviews: dict[Key, Review], path: Path) -> Diagnostic | None:
    """Enter the review, unless its answer has one already."""
    first = reviews.setdefault((review.id, review.sample), review)
    if first is review:
        return None
    return _at(path, review.line, f"{_named(review.id, review.sample)} was on line {first.line} already")


def _compared(reviews: Mapping[Key, Review], rows: Iterable[Mapping[str, Any]], path: Path) -> Iterator[Diagnostic]:
    """What does not fit the answers: lines of none of them, answers without a line, lines about another text."""
    left = dict(reviews)
    for row in rows:
        review = left.pop((row["id"], row["sample"]), None)
        if review is None:
            message = f"no line for {_named(row['id'], row['sample'])}; to reject it, give it a line with `keep` false"
            yield Diagnostic(message=message, file=str(path))
        elif review.was and review.was != mark(row["text"]):
            yield _at(path, review.line, "the answer is another than the one that was reviewed; review it again")
        elif review.keep and review.text != row["text"] and (wrong := edit_fault(review.text, row["prefilled"])):
            yield _at(path, review.line, wrong)
    for review in left.values():
        yield _at(path, review.line, f"{_named(review.id, review.sample)} is not among the data's kept answers")


def edit_fault(text: str, prefilled: str) -> str:
    """What is wrong with an edited text after what was `prefilled`; "" when nothing."""
    if not text.strip():
        return "`text` is empty; set `keep` to false to reject the answer"
    whole = prefilled + text
    has_tags = "<think>" in whole or "</think>" in whole
    if has_tags and Response.parse(text, prefilled=prefilled).thinking is None:
        opened = f" ({prefilled!r} comes before `text`)" if prefilled else ""
        return f"the edited text must open and close one think block, with nothing before it{opened}"
    return ""


def _named(problem: str, sample: int) -> str:
    return f"id {problem!r}, sample {sample}"


def _at(path: Path, line: int, message: str) -> Diagnostic:
    return Diagnostic(message=message, file=str(path), line=line, column=1)
