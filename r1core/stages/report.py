"""What a sample stage leaves beside its data: `report.json`, a dataset card (`README.md`), and `kept.jsonl` on demand.

The stage's folder is then a dataset as the hub has them: the card names the parquet files. One pass over the rows.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from r1core.stages.base import Job
from r1core.stages.card import card_of
from r1core.stages.marking import KEPT, fate
from r1core.stages.provenance import component_of, provenance_of
from r1core.stages.quality import Quality, share
from r1core.store import read_rows, write_json, write_text
from r1core.store.files import writing
from r1core.types import Verdict

REPORT = "report.json"
CARD = "README.md"
JSONL = "kept.jsonl"


def write_report(job: Job, filters: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Write them; returns the metrics. `filters`: what each filter of the stage saw and rejected."""
    spec = job.stage.stage.sample
    assert spec is not None, "a sample stage says what to sample"
    every, kept, fates = Quality(), Quality(), Counter[str]()
    with _lines(job.folder / JSONL) if spec.jsonl else contextlib.nullcontext() as file:
        for _, own in groupby(read_rows(job.folder / "data"), key=lambda row: row["id"]):
            rows = list(own)
            fates.update(fate(Verdict(keep=row["keep"], reason=row["reason"])) for row in rows)
            every.add(rows)
            kept.add(row for row in rows if row["keep"])
            for row in rows if file is not None else ():
                _write(file, row)
    report = {
        "rows": fates.total(),
        "kept": fates[KEPT],
        "filters": _yields(job, filters),
        "before_filters": _before(fates, filters),
        "all": every.told(),
        "kept_rows": kept.told(),
        "made": provenance_of(job.plan, job.stage),
    }
    write_json(job.folder / REPORT, report)
    write_text(job.folder / CARD, card_of(job.stage.id, report))
    return {f"data/{name}": value for name, value in every.shares().items()}


def _yields(job: Job, filters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each filter, in order: what it saw, what it rejected and why."""
    return [
        {
            **component_of(use),
            "seen": told["seen"],
            "rejected": sum(told["rejected"].values()),
            "share": share(sum(told["rejected"].values()), told["seen"]),
            "reasons": dict(told["rejected"]),
        }
        for use, told in zip(job.stage.stage.filters, filters, strict=True)
    ]


def _before(fates: Counter[str], filters: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What no filter of this stage rejected: refused, lost to infrastructure, or rejected by an earlier stage."""
    rest = Counter({reason: count for reason, count in fates.items() if reason != KEPT})
    for told in filters:
        rest.subtract(told["rejected"])
    return {reason: count for reason, count in sorted(rest.items()) if count}


@contextlib.contextmanager
def _lines(path: Path) -> Iterator[IO[str]]:
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def _write(file: IO[str] | None, row: Mapping[str, Any]) -> None:
    """One kept answer as a chat: what trainers elsewhere read."""
    if file is None or not row["keep"]:
        return
    answer = {"role": "assistant", "content": row["prefilled"] + row["text"]}
    told = {key: row[key] for key in ("id", "sample", "reference", "domain", "language", "meta")}
    file.write(json.dumps({"messages": [*row["messages"], answer], **told}, ensure_ascii=False) + "\n")
