"""What the sample browser shows: the same problems answered by every measured model, and answers out of training.

A rule keeps the page small: PROBLEMS problems of a set, evenly spread over those in its first part, the first EACH
answers of each model; of a train stage's rollouts, MOMENTS batches and ANSWERS answers of each. Texts are cut at
CHARACTERS, and the lists have BYTES together: one that would take more than its share gets fewer problems.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from r1_plugins.report.gather import RunFacts, Stage
from r1_plugins.report.text import visible
from r1_plugins.report.texts import parts, spread, step_of
from r1core.errors import R1Error
from r1core.store.rows import read_part

PROBLEMS = 36
EACH = 3
MOMENTS = 5
ANSWERS = 3
CHARACTERS = 3000
BYTES = 1_200_000
MODELS = 16
RULE = (
    f"Up to {PROBLEMS} problems of each evaluation set, evenly spread, with each model's first {EACH} answers; of each "
    f"training stage {MOMENTS} moments with {ANSWERS} answers. Long texts are cut after {CHARACTERS:,} characters, and "
    "make the lists shorter. All rows are in the run's folder."
)


@dataclass(frozen=True, kw_only=True)
class Right:
    """What a set calls right, as its table does: a part of the score (the first when "") that reaches a value."""

    part: str = ""
    at_least: float = 0.5

    @classmethod
    def of(cls, asked: Any) -> Right:
        """By the set's body in the recipe."""
        body: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
        at_least = _number(body.get("at_least"))
        return cls(part=str(body.get("reward") or ""), at_least=0.5 if at_least is None else at_least)


def sources(facts: RunFacts) -> list[dict[str, Any]]:
    """The lists to choose from, as JSON: evaluations by set, then training stages."""
    measured = [found for stage in facts.of("evaluate") for found in _of_evaluation(stage)]
    trained = [found for stage in facts.of("train") if (found := _of_training(stage)) is not None]
    lists = [*measured, *trained]
    return [{**each, "items": fitting(each["items"], BYTES // len(lists))} for each in lists]


def fitting(items: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """As many of the items, evenly spread, as take at most so many bytes of JSON; one in any case."""
    found = list(items)
    while len(found) > 1 and (size := len(json.dumps(found))) > most:
        found = spread(found, max(1, min(len(found) - 1, len(found) * most // size)))
    return found


def _of_evaluation(stage: Stage) -> Iterator[dict[str, Any]]:
    """A list for each of the evaluation's sets; each problem with the answers of all its models."""
    models = spread([str(model) for model in stage.body.get("models") or ()], MODELS)
    for name, asked in ((stage.body.get("evaluate") or {}).get("sets") or {}).items():
        answers: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
        for model in models:
            by_problem: dict[str, list[Mapping[str, Any]]] = {}
            for row in _first_part(stage.folder / "data" / model / str(name)):
                by_problem.setdefault(str(row["id"]), []).append(row)
            if by_problem:
                answers[model] = by_problem
        ids = list(next(iter(answers.values()), {}))
        if ids:
            right = Right.of(asked)
            items = [_problem(answers, problem, right) for problem in spread(ids, PROBLEMS)]
            yield {"name": f"{stage.id} · {name}", "labels": list(answers), "items": items}


def _first_part(folder: Path) -> list[dict[str, Any]]:
    path = min(folder.glob("part-*.parquet"), default=None)
    try:
        return [] if path is None else list(read_part(path))
    except R1Error:
        return []


def _problem(
    answers: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], problem: str, right: Right
) -> dict[str, Any]:
    shown = next(rows[problem][0] for rows in answers.values() if problem in rows)
    told = {m: [_answer(row, right) for row in rows[problem][:EACH]] for m, rows in answers.items() if problem in rows}
    return {**_question(shown), "answers": told}


def _of_training(stage: Stage) -> dict[str, Any] | None:
    """Moments of training: the same place in the batch at several steps; the labels are the steps."""
    moments: dict[str, list[dict[str, Any]]] = {}
    for path in spread(parts(stage), MOMENTS):
        try:
            rows = spread(list(islice(read_part(path), 4096)), ANSWERS)
        except R1Error:
            continue
        moments[f"step {step_of(path)}"] = rows
    if not moments:
        return None
    items = [
        {"moment": label, **_question(row), "answers": {label: [_answer(row, Right())]}}
        for label, rows in moments.items()
        for row in rows
    ]
    return {"name": f"{stage.id} · in training", "labels": list(moments), "items": items}


def _question(row: Mapping[str, Any]) -> dict[str, Any]:
    turns = [str(message.get("content", "")) for message in row["messages"]]
    reference = row["reference"]
    return {
        "question": _cut("\n".join(turns)),
        "reference": "" if reference is None else _cut(str(reference)),
        "about": visible(" · ".join(filter(None, (row["domain"], row["language"])))),
    }


def _answer(row: Mapping[str, Any], right: Right) -> dict[str, Any]:
    parts = {visible(str(name)): _number(value) for name, value in row["parts"].items()}
    score = _number(row["score"])
    worth = parts.get(visible(right.part)) if right.part else next(iter(parts.values()), score)
    return {
        "thinking": None if row["thinking"] is None else _cut(row["thinking"]),
        "answer": None if row["answer"] is None else _cut(row["answer"]),
        "text": _cut(row["prefilled"] + row["text"]) if row["thinking"] is None or row["answer"] is None else "",
        "right": None if worth is None else worth >= right.at_least,
        "score": score,
        "parts": parts,
        "why": visible(str(row["score_reason"] or "")),
        "cut": row["finish"] == "length",
        "tokens": row["tokens"],
    }


def _number(value: Any) -> float | None:
    return round(float(value), 4) if isinstance(value, int | float) and math.isfinite(value) else None


def _cut(text: str) -> str:
    kept = text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}\n[{len(text) - CHARACTERS:,} more characters]"
    return visible(kept)


def count(found: Sequence[Mapping[str, Any]]) -> int:
    """How many problems are shown in all."""
    return sum(len(each["items"]) for each in found)
