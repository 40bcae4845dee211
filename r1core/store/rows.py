"""Answers as rows: the parquet files of a data artifact, the same bytes for the same rows.

`<folder>/part-00000.parquet, ...`, one part for each unit of work, each whole or absent. Columns whose
values are any JSON (messages, reference, meta, parts) are stored as JSON text, so every tool can read
the rest. A score that is unknown (infrastructure, or not scored) is null on disk and NaN in memory.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.errors import SetupError
from r1core.store.files import finite, writing
from r1core.types import Answer, Problem, Response, Rollout, Score, Verdict, tokens_of_bytes

_ROW_GROUP = 1024  # rows; part of the bytes, so fixed
_JSON = ("messages", "reference", "meta", "parts", "extracts")
PRELOAD = ("pyarrow.parquet", "pandas")
"""What a process imports at its first row: pyarrow looks for pandas before it takes a list; nothing here uses it."""
COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("id", "domain", "language", "messages", "reference", "meta", "parts"), "string"),
    "sample": "int64",
    **dict.fromkeys(("prefilled", "text", "thinking", "answer", "finish"), "string"),
    "tokens": "int64",
    "score": "float64",
    **dict.fromkeys(("status", "score_reason"), "string"),
    "keep": "bool",
    "reason": "string",
}
OPTIONAL: Mapping[str, tuple[str, Any]] = {"apart": ("bool", False), "extracts": ("string", {})}
"""Columns (and what stands in for none) of parts in which a row has them: an answer that came apart from its thinking;
what rewards read of it."""


def rollout_row(rollout: Rollout, score: Score | None, verdict: Verdict) -> dict[str, Any]:
    """One answer as a row. `tokens` counts its completion; `score_reason` is the reward's, `reason` the filter's."""
    problem, response = rollout.problem, rollout.response
    return {
        "id": problem.id,
        "sample": rollout.sample,
        "messages": [dict(message) for message in problem.messages],
        "reference": problem.reference,
        "domain": problem.domain,
        "language": problem.language,
        "meta": dict(problem.meta),
        "prefilled": response.prefilled,
        "text": response.text,
        "thinking": response.thinking,
        "answer": response.answer,
        "finish": response.finish,
        "tokens": rollout.tokens,
        "score": math.nan if score is None else float(score.value),
        "status": None if score is None else score.status,
        "score_reason": None if score is None else score.reason,
        "parts": {} if score is None else dict(score.parts),
        "keep": verdict.keep,
        "reason": verdict.reason,
        **({"apart": True} if response.apart else {}),
    }


def problem_of(row: Mapping[str, Any]) -> Problem:
    """The row's problem with its answer as the text to learn from."""
    return Problem(
        id=row["id"],
        messages=tuple(row["messages"]),
        reference=row["reference"],
        domain=row["domain"],
        language=row["language"],
        meta=row["meta"],
        completion=row["text"],
        finish=row["finish"],
        prefilled=row["prefilled"],
    )


def response_of(row: Mapping[str, Any]) -> Response:
    """The row's text, split."""
    is_apart = bool(row.get("apart"))
    return Response.parse(row["text"], finish=row["finish"], prefilled=row["prefilled"], apart=is_apart)


def answer_of(row: Mapping[str, Any]) -> Answer:
    """The row's answer with its score."""
    response = response_of(row)
    score = Score(value=row["score"], status=row["status"] or "infrastructure", parts=row["parts"])
    return Answer(problem=problem_of(row), response=response, score=score)


def write_rows(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, part: int = 0, columns: Mapping[str, str] = COLUMNS
) -> Path:
    """Write one part; returns its path. Raises KeyError when a row lacks a column that is not `OPTIONAL`. Types are
    arrow's names, with [] behind for lists."""
    arrow, parquet = _pyarrow()
    columns = {**columns, **{name: kind for name, (kind, _) in OPTIONAL.items() if any(map(_has(name), rows))}}
    schema = arrow.schema([(name, _arrow_type(arrow, alias)) for name, alias in columns.items()])
    path = folder / f"part-{part:05d}.parquet"
    table = arrow.Table.from_pylist([_to_disk(row, columns) for row in rows], schema=schema)
    with writing(path) as temporary:
        parquet.write_table(table, temporary, row_group_size=_ROW_GROUP, compression="zstd", write_page_checksum=True)
    return path


def read_rows(folder: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of all parts, in order. Raises SetupError with the path of a part that cannot be read.

    `columns` names the only ones that are wanted: whoever counts tokens need not wait for the texts.
    """
    _pyarrow()
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise SetupError("there are no rows", where=str(folder), fix="run the stage that makes them")
    for path in paths:
        yield from read_part(path, columns)


def read_part(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one part, in order; `columns` as `read_rows` takes them. Raises SetupError when it cannot be read."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            wanted = None if columns is None else list(columns)
            for batch in file.iter_batches(batch_size=_ROW_GROUP, columns=wanted, use_threads=False):
                yield from map(_from_disk, batch.to_pylist())
    except (arrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_ids(folder: Path) -> Iterator[str]:
    """The problem of each row, in order, and nothing else of it."""
    arrow, parquet = _pyarrow()
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            yield from parquet.read_table(path, columns=["id"], use_threads=False, memory_map=False)["id"].to_pylist()
        except (arrow.ArrowException, OSError, KeyError, ValueError) as error:
            raise _unreadable(path, error) from error


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Rows, and the tokens of their answers, of which `estimated` are a quarter of the bytes: nobody counted them."""

    rows: int
    tokens: int
    estimated: int


def count_rows(folder: Path, *, kept: bool) -> Counted:
    """Those of a dataset that were `kept`, or all."""
    arrow, parquet = _pyarrow()
    compute = importlib.import_module("pyarrow.compute")
    rows = tokens = estimated = 0
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            table = parquet.read_table(path, columns=["keep", "tokens", "text"], use_threads=False, memory_map=False)
        except (arrow.ArrowException, OSError, KeyError, ValueError) as error:
            raise _unreadable(path, error) from error
        table = table.filter(table["keep"]) if kept else table
        counts = compute.fill_null(table["tokens"], 0)
        bytes_each = compute.fill_null(compute.binary_length(table["text"]), 0).filter(compute.equal(counts, 0))
        about = sum(map(tokens_of_bytes, bytes_each.to_pylist()))
        rows, estimated = rows + len(table), estimated + about
        tokens += (compute.sum(counts).as_py() or 0) + about
    return Counted(rows=rows, tokens=tokens, estimated=estimated)


def _unreadable(path: Path, error: Exception) -> SetupError:
    reason = str(error).partition("\n")[0]
    return SetupError(f"cannot be read: {reason}", where=str(path), fix="make the rows again")


def _arrow_type(arrow: Any, alias: str) -> Any:
    plain = arrow.type_for_alias(alias.removesuffix("[]"))
    return arrow.list_(plain) if alias.endswith("[]") else plain


def _has(name: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: bool(row.get(name))


def _to_disk(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    found = {name: row.get(name, OPTIONAL[name][1]) if name in OPTIONAL else row[name] for name in columns}
    for name in set(_JSON) & found.keys():
        found[name] = json.dumps(finite(found[name]), ensure_ascii=False, sort_keys=True, allow_nan=False)
    if not math.isfinite(found["score"]):
        found["score"] = None
    return {name: _valid(value) if isinstance(value, str) else value for name, value in found.items()}


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # an API may send half a surrogate pair


def _from_disk(row: dict[str, Any]) -> dict[str, Any]:
    for name in _JSON:
        if name in row:
            row[name] = json.loads(row[name])
    if "parts" in row:
        row["parts"] = {name: math.nan if value is None else value for name, value in row["parts"].items()}
    if "score" in row:
        row["score"] = math.nan if row["score"] is None else row["score"]
    return row


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise SetupError(
            "parquet files need pyarrow", where="r1core.store", fix="pip install 'r1core[train]'"
        ) from error
