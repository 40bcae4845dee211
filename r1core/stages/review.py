"""`review`: people look at a dataset before anything learns from it, as those of R1's cold start did
(arXiv:2501.12948, v2 B.3.2).

    cold_start_data: {review: {path: reviews/cold_start.jsonl}, data: cold_start_samples}

The answers that were kept are laid out in `review.jsonl`, one on each line. While there is no file at
`path` they pass unedited. Whoever wants a say copies the one to the other, changes it, and runs the
recipe again: the file's content is part of the fingerprint, so this stage and what learns from it run
anew, and nothing else.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from r1core.errors import RefusedError
from r1core.stages.base import Job
from r1core.stages.review_file import Key, Review, journal_of, laid_out, read_reviews
from r1core.store import read_rows, write_rows
from r1core.store.files import writing
from r1core.types import Response

LAID_OUT = "review.jsonl"
PART = 8192
"""Rows in one file of the data."""
FATES = ("edited", "rejected", "unchanged")


def run(job: Job) -> dict[str, float]:
    """Lay out the kept rows, and fill `data/` with all rows as the reviewers want them."""
    spec, (data,) = job.stage.stage.review, job.stage.stage.data
    assert spec is not None, "the plan checks what a review stage needs"
    assert isinstance(data, str), "the plan checks what a review stage needs"
    job.started(None)
    source, path, laid = job.artifacts[data], Path(spec.path), job.folder / LAID_OUT
    reviews = read_reviews(path, kept_rows(source)) if path.exists() or journal_of(path).exists() else None
    _lay_out(source, laid)
    counts = Counter[str]()
    rows = (_reviewed(row, reviews or {}, counts) for row in read_rows(source))
    with job.artifact("data") as folder:
        for part, batch in enumerate(iter(lambda: list(islice(rows, PART)), [])):
            write_rows(folder, batch, part=part)
    if reviews is None:
        job.note(f"passed unedited; to edit: copy {laid} to {path}, change text or keep, run again")
    else:
        job.note(", ".join(f"{fate} {counts[fate]}" for fate in FATES) + f" of {counts.total()} answers, by {path}")
    if counts["rejected"] == counts.total():
        raise RefusedError(f"all {counts.total()} answers are rejected", where=str(path), fix="keep some")
    return {f"review/{fate}": float(counts[fate]) for fate in FATES}


def kept_rows(data: Path) -> Iterator[dict[str, Any]]:
    """The rows that people look at."""
    return (row for row in read_rows(data) if row["keep"])


def _lay_out(source: Path, target: Path) -> None:
    with writing(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in kept_rows(source):
            file.write(json.dumps(laid_out(row), ensure_ascii=False) + "\n")


def _reviewed(row: dict[str, Any], reviews: Mapping[Key, Review], counts: Counter[str]) -> dict[str, Any]:
    """The row as its reviewer wants it; what filters rejected before stays as it is, uncounted."""
    if not row["keep"]:
        return row
    review = reviews.get((row["id"], row["sample"]))
    edited = review is not None and review.text != row["text"]
    counts["rejected" if review is not None and not review.keep else "edited" if edited else "unchanged"] += 1
    if review is None:
        return row
    marked = {**row, "keep": review.keep, "reason": "" if review.keep else review.reason or "review"}
    return {**marked, **_rewritten(row, review.text)} if edited else marked


def _rewritten(row: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The columns of another text: split anew; nobody has counted its tokens or scored it."""
    response = Response.parse(text, prefilled=row["prefilled"], apart=bool(row.get("apart")))
    return {
        "text": text,
        "thinking": response.thinking,
        "answer": response.answer,
        "finish": response.finish,
        "tokens": None,
        "score": math.nan,
        "status": None,
        "score_reason": None,
        "parts": {},
    }
