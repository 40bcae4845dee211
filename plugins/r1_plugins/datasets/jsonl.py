"""Problems from a file with one JSON object on each line.

    {"prompt": "compute 3 + 5 mod 10", "reference": "8", "domain": "arith", "language": "en"}

The whole file is checked before the first problem is given out: a bad row near the end must not
stop a run after hours. What is not a named field goes to the problem's `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from r1_plugins.datasets.columns import Columns, RowError
from r1_plugins.datasets.reading import lines, parsed
from r1_plugins.datasets.rows import RowSource
from r1core.errors import Diagnostic


class Jsonl(RowSource):
    """Reads problems, and completions where there are any, from a JSONL file in its own order."""

    name = "jsonl"

    class Config(Columns):
        """The file, and which field is what."""

        path: str = Field(description="the file")

    config: Config

    def rows(self) -> Iterator[tuple[int, Mapping[str, Any] | RowError]]:
        """The lines that are not blank."""
        for number, line in lines(Path(self.config.path), "source 'jsonl'"):
            try:
                yield number, parsed(line)
            except RowError as error:
                yield number, error

    def row(self, number: int) -> str:
        """Lines count from 1, blank ones among them."""
        return f"line {number}"

    def finding(self, number: int, message: str) -> Diagnostic:
        """At file:line."""
        return Diagnostic(message=message, file=self.config.path, line=number, column=1)
