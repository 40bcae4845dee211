"""Problems from parquet: a file, or a folder of parts, in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from r1_plugins.datasets.columns import Columns, RowError
from r1_plugins.datasets.reading import parquet_rows
from r1_plugins.datasets.rows import RowSource
from r1core.errors import Diagnostic


class Parquet(RowSource):
    """Reads problems, and completions where there are any, from parquet files in their own order."""

    name = "parquet"
    extra: ClassVar[str] = "train"

    class Config(Columns):
        """The file, and which column is what."""

        path: str = Field(description="the file, or a folder of parquet files")

    config: Config

    def rows(self) -> Iterator[tuple[int, Mapping[str, Any] | RowError]]:
        """All rows, a thousand in memory at once."""
        return enumerate(parquet_rows(Path(self.config.path), "source 'parquet'"), start=1)

    def row(self, number: int) -> str:
        """Rows count from 1, through all files of a folder."""
        return f"row {number}"

    def finding(self, number: int, message: str) -> Diagnostic:
        """At the row."""
        return Diagnostic(message=message, file=f"{self.config.path}, row {number}")
