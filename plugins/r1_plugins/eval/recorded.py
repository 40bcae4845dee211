"""Recorded answers: a JSONL file of {"prompt", "reference", "answers": [...]}, or the rows that a stage left."""

from __future__ import annotations

import hashlib
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.store import problem_of, read_rows

ROWS = "part-*.parquet"
ASKED = 'a row is {"prompt": .., "reference": .., "answers": ["..", ".."]}'


def as_jsonl(given: Path, beside: Path) -> Path:
    """The file; for a folder of rows one made of them, named by its content, in the folder `beside`."""
    if not given.is_dir():
        return given
    folder = next((each for each in (given, given / "data") if any(each.glob(ROWS))), None)
    if folder is None:
        places = sorted({part.parent for part in given.rglob(ROWS)})
        listed = "".join(f"\n  --answers {place}" for place in places[:20])
        fix = f"choose one:{listed}" if places else f"give a folder with {ROWS}, or a JSONL file"
        raise RecipeError(f"{given} holds no rows", where="--answers", fix=fix)
    own = groupby(read_rows(folder), key=lambda row: row["id"])
    lines = [json.dumps(_line(list(rows)), sort_keys=True, ensure_ascii=False) for _, rows in own]
    text = "\n".join(lines) + "\n"
    beside.mkdir(parents=True, exist_ok=True)
    path = beside / f"answers-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def _line(rows: list[dict[str, Any]]) -> dict[str, Any]:
    problem = problem_of(rows[0])
    return {
        **problem.meta,
        "id": problem.id,
        "prompt": [dict(message) for message in problem.messages],
        "reference": problem.reference,
        "domain": problem.domain,
        "language": problem.language,
        "answers": [row["prefilled"] + row["text"] for row in rows],
        "finish": [row["finish"] for row in rows],
    }


def counted(path: Path) -> tuple[int, bool]:
    """Answers to each problem, which all have as many; and whether the rows say how they ended (`finish`)."""
    counts: dict[int, int] = {}
    ends: set[bool] = set()
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if line.strip():
                row = json.loads(line)
                counts.setdefault(len(row["answers"]), number)
                ends.add(isinstance(row.get("finish"), list))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"no recorded answers: {error!r}", where=str(path), fix=ASKED) from error
    if len(counts) != 1 or 0 in counts:
        told = ", ".join(f"{count} from line {number}" for count, number in counts.items()) or "none"
        fix = "give each problem as many answers"
        raise RecipeError(f"problems have different numbers of answers: {told}", where=str(path), fix=fix)
    return next(iter(counts)), ends == {True}
