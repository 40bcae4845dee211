"""Every expected failure, and the exit code it ends in.

    R1Error                 expected: printed without a traceback
    ├── RecipeError      2  the recipe, the command line or a component's options are wrong
    ├── SetupError       3  the environment lacks something (a package, a writable folder, an extra)
    ├── RefusedError     4  a gate, a check or a threshold said no
    ├── NumericsError    5  the numbers stopped it (NaN, infinity)
    └── Interrupted     75  stopped on request; the same command goes on

A message has three parts: what is wrong (with the value), where, and what to do. Anything that is
not an `R1Error` is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One finding: `message` at `file`:`line`:`column` (1-based; 0 where there is no line)."""

    message: str
    path: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    def render(self) -> str:
        """`file:line:column: path: message` and the hint on its own line."""
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        head = f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"
        return f"{head}\n  {self.hint}" if self.hint else head


class R1Error(Exception):
    """An expected failure: what is wrong, where, what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.fix))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  {self.fix}" if self.fix else head


def _rebuild(kind: type[R1Error], what: str, where: str, fix: str) -> R1Error:
    return kind(what, where=where, fix=fix)


class RecipeError(R1Error):
    """The recipe, the command line or a component's options are wrong, or do not go with the run directory: another
    process works there, or a half-done stage was made from something else."""

    exit_code = 2
    findings: Sequence[Diagnostic] = ()
    """What it was made `of`, to be told with those of another phase or variant."""

    @classmethod
    def of(cls, findings: Sequence[Diagnostic]) -> RecipeError:
        """All the findings of one phase as one error, so that a person mends them in one go."""
        count = f"{len(findings)} errors" if len(findings) > 1 else "1 error"
        error = cls("\n".join([*(finding.render() for finding in findings), count]))
        error.findings = tuple(findings)
        return error


class SetupError(R1Error):
    """The environment lacks something."""

    exit_code = 3


class RefusedError(R1Error):
    """A gate, a check or a threshold said no."""

    exit_code = 4


class NumericsError(R1Error):
    """NaN or infinity stopped the run."""

    exit_code = 5


class Interrupted(R1Error):
    """Stopped on request; the same command goes on from here."""

    exit_code = 75
