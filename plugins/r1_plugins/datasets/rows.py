"""What all sources that read rows share: every wrong row named before the first problem is given out.

A bad row near the end must not stop a run after hours. So all rows are read once, and what is wrong with them is one
error; then they are read again as they are needed. The order is the file's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from r1_plugins.datasets.columns import Columns, RowError, problems_of
from r1_plugins.datasets.decontamination import Dropped, Grams
from r1core.components import ProblemSource
from r1core.errors import Diagnostic, RecipeError
from r1core.types import Problem

SHOWN = 20
"""Most findings in one error."""
TOLD = 5
"""Most dropped rows that are told with the words that they have in common."""


class RowSource(ProblemSource):
    """A source whose problems are rows."""

    Config = Columns
    config: Columns

    @abstractmethod
    def rows(self) -> Iterator[tuple[int, Mapping[str, Any] | RowError]]:
        """(number from 1, row, or what keeps it from being one). Raises RecipeError or SetupError where there are
        none to be read."""

    @abstractmethod
    def row(self, number: int) -> str:
        """How a row is called: "line 7"."""

    @abstractmethod
    def finding(self, number: int, message: str) -> Diagnostic:
        """Something that is wrong with a row, with its place."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._grams: Grams | None = None
        self._is_checked = False

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The problems in the rows' order, whatever the seed. All wrong rows are in one `RecipeError` first: the first
        20, and how many more."""
        if not self._is_checked:
            dropped, kept = self._checked()
            self._is_checked = True
            if dropped:
                self.tell(self._left_out(dropped, kept))
        return (problem for _, problem in self._kept())

    def where(self, number: int) -> str:
        """The file, and the line or row."""
        found = next(islice(self._kept(), number, None), None)
        return super().where(number) if found is None else self.finding(found[0], "").render().rstrip(": ")

    # --- one pass ------------------------------------------------------------------------------------

    def _checked(self) -> tuple[list[tuple[int, Dropped]], int]:
        """The dropped rows, and how many are kept. Raises RecipeError."""
        findings: list[Diagnostic] = []
        dropped: list[tuple[int, Dropped]] = []
        wrong = kept = 0
        for number, found in self._read():
            if isinstance(found, RowError):
                wrong += 1
                if wrong <= SHOWN:
                    findings.append(self.finding(number, str(found)))
            elif isinstance(found, Dropped):
                dropped.append((number, found))
            else:
                kept += 1
        if findings:
            error = RecipeError.of(findings)
            error.what += f", and {wrong - SHOWN} more wrong rows" if wrong > SHOWN else ""
            raise error
        return dropped, kept

    def _kept(self) -> Iterator[tuple[int, Problem]]:
        for number, found in self._read():
            if isinstance(found, RowError):  # it was right when all rows were checked
                raise RecipeError.of([self.finding(number, str(found))])
            if isinstance(found, Problem):
                yield number, found

    def _read(self) -> Iterator[tuple[int, Problem | Dropped | RowError]]:
        """Each row as a problem, as what it was dropped for, or as what is wrong with it."""
        grams = self._evaluations()
        seen: dict[str, int] = {}
        for number, row in self.rows():
            if isinstance(row, RowError):
                yield number, row
                continue
            try:
                problems = problems_of(row, number, self.config)
                for problem in problems:
                    if problem.id in seen:
                        raise RowError(
                            f"id {problem.id!r} is taken by {self.row(seen[problem.id])}; ids must be unique"
                        )
                    seen[problem.id] = number
            except RowError as error:
                yield number, error
                continue
            shared = grams.shared(problems[0]) if grams is not None else None
            yield from ((number, problem) for problem in problems) if shared is None else [(number, shared)]

    def _evaluations(self) -> Grams | None:
        if self._grams is None and self.config.decontaminate is not None:
            self._grams = self.config.decontaminate.grams()
        return self._grams

    def _left_out(self, dropped: list[tuple[int, Dropped]], kept: int) -> str:
        """What decontamination dropped. Raises RecipeError where that is all."""
        assert self.config.decontaminate is not None
        n = self.config.decontaminate.ngram
        if not kept:
            raise RecipeError(
                f"every row has {n} words in a row in common with an evaluation set: {dropped[0][1].gram!r} of "
                f"{dropped[0][1].of}",
                where=f"source {self.name}, decontaminate",
                fix="take other problems, or other evaluation sets",
            )
        lines = [f"{len(dropped)} of {len(dropped) + kept} rows share {n} words in a row with an evaluation set:"]
        lines += [f"  {self.row(number)}: {one.gram!r} ({one.of})" for number, one in dropped[:TOLD]]
        lines += [f"  and {len(dropped) - TOLD} more"] if len(dropped) > TOLD else []
        return "\n".join(lines)
