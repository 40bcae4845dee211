"""LiveCodeBench: programs judged by tests, of contests within a window of dates.

Upstream packs private tests as base64 of zlib of a pickle. A pickle runs what it says when it is read, so it is never
read here: tests are JSON, a list of {"input", "output", "testtype"}, as text or as a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from pydantic import Field, field_validator

from r1_plugins.benchmarks.rows import PublishedRows, RowError, text
from r1core.types import Problem

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
PACKED = (
    "its private tests are a packed pickle, which runs code when it is read: where you trust the file and nothing else "
    'runs, write them as JSON, row["private_test_cases"] = pickle.loads(zlib.decompress(base64.b64decode(...)))'
)
BY_STDIN = "Read from standard input and print to standard output."
ANSWER = "Put the whole Python program into one ```python block at the end of the answer."


class LiveCodeBench(PublishedRows):
    """Programming problems with the published columns question_content, question_id, contest_date, starter_code,
    public_test_cases, private_test_cases, metadata; the reference is what the reward `code` reads."""

    name = "livecodebench"

    class Config(PublishedRows.Config):
        """Which file, and the contests of which months."""

        since: str | None = Field(None, description="first month, 2024-08; no limit when absent")
        until: str | None = Field(None, description="last month, 2025-01, which counts whole; no limit when absent")

        @field_validator("since", "until")
        @classmethod
        def _months(cls, value: str | None) -> str | None:
            if value is not None and not MONTH.fullmatch(value):
                raise ValueError(f"write a year and a month, 2024-08, got {value!r}")
            return value

    config: Config

    def problem(self, row: Mapping[str, Any], seed: int) -> Problem | None:
        """The question with its starter code, and its tests; None outside the window."""
        month = _date(row).isoformat()[:7]
        if month < (self.config.since or month) or month > (self.config.until or month):
            return None
        starter = row.get("starter_code") or ""
        form = f"Start from this code:\n```python\n{starter.rstrip()}\n```" if starter.strip() else BY_STDIN
        return Problem(
            id=text(row, "question_id"),
            messages=({"role": "user", "content": f"{text(row, 'question_content')}\n\n{form}\n{ANSWER}"},),
            reference=_reference(row, starter),
            domain="code",
            meta={"contest_date": month, **{k: row[k] for k in ("difficulty", "platform") if row.get(k)}},
        )


def _date(row: Mapping[str, Any]) -> date:
    found = row.get("contest_date")
    if isinstance(found, date):  # as the library `datasets` may give it
        return found
    try:
        return datetime.fromisoformat(str(found))
    except ValueError as error:
        raise RowError(f"column 'contest_date' must be a date, 2024-08-31T00:00:00, got {found!r:.60}") from error


def _reference(row: Mapping[str, Any], starter: str) -> dict[str, Any]:
    tests = [*_tests(row, "public_test_cases"), *_tests(row, "private_test_cases")]
    kinds = {test.get("testtype") for test in tests}
    if kinds == {"stdin"}:
        return {"entry_point": None, "tests": [{"stdin": t["input"], "output": t["output"]} for t in tests]}
    if kinds == {"functional"}:
        name = _json(row.get("metadata"), "metadata")
        name = name.get("func_name") if isinstance(name, dict) else None
        if not isinstance(name, str):
            raise RowError("column 'metadata' has no func_name, and its tests call a function")
        entry = f"Solution.{name}" if re.search(r"^class Solution\b", starter, re.MULTILINE) else name
        return {"entry_point": entry, "tests": [_called(test) for test in tests]}
    raise RowError(f"its tests are of the kinds {kinds or 'none'}; all must be 'stdin', or all 'functional'")


def _called(test: Mapping[str, Any]) -> dict[str, Any]:
    """A call: each line of the input is an argument, as JSON."""
    lines = [line for line in test["input"].split("\n") if line.strip()]
    return {"input": [_json(line, "input of a test") for line in lines], "output": _json(test["output"], "output")}


def _tests(row: Mapping[str, Any], column: str) -> list[dict[str, Any]]:
    found = row.get(column)
    if isinstance(found, str) and found.lstrip()[:1] not in ("[", ""):
        raise RowError(f"column {column!r}: {PACKED}")
    tests = _json(found, column)
    right = isinstance(tests, list) and all(
        isinstance(test, dict) and all(isinstance(test.get(key), str) for key in ("input", "output")) for test in tests
    )
    if not right:
        raise RowError(f'column {column!r} must be a list of {{"input": "..", "output": "..", "testtype": ".."}}')
    return list(tests)


def _json(value: Any, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{what} is not JSON: {value[:60]!r}") from error
