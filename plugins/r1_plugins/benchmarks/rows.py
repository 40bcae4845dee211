"""What both sources share: the rows of a CSV or JSONL file or of the hub, and every wrong row named before the first
problem is given out."""

from __future__ import annotations

import csv
import importlib.util
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from r1core.components import ProblemSource
from r1core.errors import Diagnostic, RecipeError, SetupError
from r1core.types import Problem

SHOWN = 20
"""Most findings in one error."""
FILES = (".jsonl", ".csv")


class RowError(ValueError):
    """What is wrong with one row; becomes a finding with its place."""


class PublishedRows(ProblemSource):
    """Problems made of published rows, one of each at most."""

    class Config(ProblemSource.Config):
        """Where the rows are."""

        path: str = Field(min_length=1, description="a .jsonl or .csv file, or the name of a data set on the hub")
        config: str | None = Field(None, description="configuration of a data set on the hub, where it has several")
        split: str = Field("train", description="split of a data set on the hub")
        revision: str | None = Field(None, description="commit or tag on the hub; its newest when absent")

    config: Config

    @abstractmethod
    def problem(self, row: Mapping[str, Any], seed: int) -> Problem | None:
        """The row as a problem; None leaves it out. Raises RowError."""

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """In the rows' order. All wrong rows are in one RecipeError first."""
        return iter([problem for _, problem in self._made(seed)])

    def where(self, number: int) -> str:
        """The file, and the row."""
        found = next(islice(self._made(0), number, None), None)
        return super().where(number) if found is None else self._finding(found[0], "").render().rstrip(": ")

    def _made(self, seed: int) -> list[tuple[int, Problem]]:
        made: list[tuple[int, Problem]] = []
        wrong: list[Diagnostic] = []
        seen: dict[str, int] = {}
        for number, row in self._rows():
            try:
                problem = self.problem(row, seed)
                if problem is not None and seen.setdefault(problem.id, number) != number:
                    raise RowError(f"id {problem.id!r} is taken by row {seen[problem.id]}; ids must be unique")
            except RowError as error:
                wrong.append(self._finding(number, str(error)))
                continue
            made += [(number, problem)] if problem is not None else []
        if wrong:
            told = RecipeError.of(wrong[:SHOWN])
            told.what += f", and {len(wrong) - SHOWN} more wrong rows" if len(wrong) > SHOWN else ""
            raise told
        return made

    def _finding(self, number: int, message: str) -> Diagnostic:
        path = self.config.path
        if path.endswith(FILES):
            return Diagnostic(message=message, file=path, line=number, column=1)
        return Diagnostic(message=message, file=f"{path} [{self.config.split}], row {number}")

    def _rows(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """(line of a file, or number of a row; row)."""
        path = Path(self.config.path)
        if path.suffix not in FILES:
            yield from enumerate(self._of_hub(), start=1)
            return
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                if path.suffix == ".csv":
                    csv.field_size_limit(2**31 - 1)  # tests are long
                    reader = csv.DictReader(file)
                    yield from ((reader.line_num, row) for row in reader)
                else:
                    yield from ((number, _object(line, number, path)) for number, line in _lines(file))
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecipeError(
                f"cannot read {str(path)!r}: {reason}", where=f"source {self.name!r}", fix="set `path`"
            ) from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise RecipeError(
                f"cannot read {str(path)!r}: {error}", where=f"source {self.name!r}", fix="save it as UTF-8"
            ) from error

    def _of_hub(self) -> Iterator[Mapping[str, Any]]:
        own, where = self.config, f"source {self.name!r}"
        if importlib.util.find_spec("datasets") is None:
            raise SetupError("datasets is not installed", where=where, fix="pip install 'r1core[train]'")
        import datasets

        datasets.disable_progress_bars()
        try:
            yield from datasets.load_dataset(own.path, own.config, split=own.split, revision=own.revision)
        except Exception as error:  # the library raises whatever its readers do
            reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
            raise SetupError(
                f"{own.path} cannot be fetched: {reason}",
                where=where,
                fix="accept its terms on the hub and log in, or download it and give the .jsonl or .csv file",
            ) from error


def _lines(file: Iterator[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _object(line: str, number: int, path: Path) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        row = error
    if isinstance(row, dict):
        return row
    finding = Diagnostic(message="not one JSON object", file=str(path), line=number, column=1)
    raise RecipeError.of([finding])


def text(row: Mapping[str, Any], column: str) -> str:
    """A column that must hold text. Raises RowError."""
    found = row.get(column)
    if not isinstance(found, str) or not found.strip():
        raise RowError(f"column {column!r} must be text, got {found!r:.60}; there are {', '.join(map(str, row))}")
    return found.strip()
