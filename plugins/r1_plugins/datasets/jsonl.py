"""Problems from a file with one JSON object on each line.

    {"prompt": "compute 3 + 5 mod 10", "reference": "8", "domain": "arith", "language": "en"}

The whole file is checked before the first problem is given out: a bad row near the end must not
stop a run after hours. What is not a named field goes to the problem's `meta`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any

from pydantic import Field

from r1core.components import ProblemSource
from r1core.errors import Diagnostic, RecipeError
from r1core.types import Message, Problem

SHOWN = 20
"""Most findings in one error."""


class RowError(ValueError):
    """What is wrong with one row; becomes a finding with its file and line."""


class Jsonl(ProblemSource):
    """Reads problems, and completions where there are any, from a JSONL file in its own order."""

    name = "jsonl"

    class Config(ProblemSource.Config):
        path: str = Field(description="the file")
        prompt: str = Field("prompt", description="field with the question: text, or a list of chat messages")
        reference: str = Field(
            "reference", description="field with what rewards compare with; any JSON value, optional"
        )
        completion: str | None = Field(None, description="field with the text to learn from; none is read when absent")
        domain: str = Field("domain", description="field with the domain, optional")
        language: str = Field("language", description="field with the language, optional")

    config: Config

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The problems in the file's order, whatever the seed; bad rows (up to 20) are in one `RecipeError` first."""
        findings = list(itertools.islice((row for row in self._rows() if isinstance(row, Diagnostic)), SHOWN))
        if findings:
            raise RecipeError.of(findings)
        return (row for row in self._rows() if isinstance(row, Problem))

    def _rows(self) -> Iterator[Problem | Diagnostic]:
        """Each row as a problem, or as what is wrong with it."""
        seen: dict[str, int] = {}
        for number, line in self._lines():
            try:
                problem = self._problem(line, number)
                if problem.id in seen:
                    raise RowError(f"id {problem.id!r} is taken by line {seen[problem.id]}; ids must be unique")
                seen[problem.id] = number
                yield problem
            except RowError as error:
                yield Diagnostic(message=str(error), file=self.config.path, line=number, column=1)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(line number from 1, bytes) of the rows; blank lines are skipped."""
        path = Path(self.config.path)
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, line
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecipeError(
                f"cannot read {str(path)!r}: {reason}", where="source 'jsonl'", fix="set `path`"
            ) from error

    def _problem(self, line: bytes, number: int) -> Problem:
        row = _parse(line)
        messages = _messages(_required(row, self.config.prompt, self._shape()), self.config.prompt)
        completion = None
        if self.config.completion is not None:
            completion = _text(_required(row, self.config.completion, self._shape()), self.config.completion)
        named = {self.config.prompt, self.config.reference, self.config.completion, "id"}
        named |= {self.config.domain, self.config.language}
        return Problem(
            id=_id(row, messages, number),
            messages=messages,
            reference=row.get(self.config.reference),
            domain=_text(row.get(self.config.domain, "reasoning"), self.config.domain),
            language=_text(row.get(self.config.language, "en"), self.config.language),
            meta={key: value for key, value in row.items() if key not in named},
            completion=completion,
        )

    def _shape(self) -> str:
        """What a row looks like with this config."""
        config = self.config
        learned = f', "{config.completion}": "..."' if config.completion is not None else ""
        return f'{{"{config.prompt}": "...", "{config.reference}": ...{learned}}}'


def _parse(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at column {error.colno}; expected one object on one line") from error
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from error
    if not isinstance(row, dict):
        raise RowError(f"expected a JSON object, got {type(row).__name__}")
    return row


def _required(row: dict[str, Any], key: str, shape: str) -> Any:
    if key not in row:
        raise RowError(f"no field {key!r}; got {', '.join(row) or 'no fields'}; expected {shape}")
    return row[key]


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise RowError(f"field {key!r} must be text, got {json.dumps(value, ensure_ascii=False)[:60]}")
    return value


def _messages(prompt: Any, key: str) -> tuple[Message, ...]:
    """A text is one message of the user; a list must hold `role` and `content` pairs."""
    if not isinstance(prompt, list):
        return ({"role": "user", "content": _text(prompt, key)},)
    for message in prompt:
        if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise RowError(f'field {key!r} must be text or a list of {{"role": "...", "content": "..."}}')
    if not prompt:
        raise RowError(f"field {key!r} is an empty list of messages")
    return tuple({"role": message["role"], "content": message["content"]} for message in prompt)


def _id(row: dict[str, Any], messages: tuple[Message, ...], number: int) -> str:
    """The row's own id, else one made from its prompt and its line."""
    given = row.get("id")
    if given is None:
        return sha1(f"{number}\n{json.dumps(messages)}".encode()).hexdigest()[:16]
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise RowError(f"field 'id' must be text or a whole number, got {json.dumps(given)[:60]}")
    return str(given)
