"""Problems from what Hugging Face's library `datasets` reads: a saved data set, a folder of files, or one on the hub.

    {use: datasets, path: openai/gsm8k, config: main, split: train, revision: e53f048856ff,
     prompt: question, reference: answer, reference_from: after_hashes}

Data only: scripts of a data set are never run. What the hub holds may change: a `revision` keeps a run what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from r1_plugins.datasets.columns import Columns, RowError
from r1_plugins.datasets.reading import dataset_rows
from r1_plugins.datasets.rows import RowSource
from r1core.errors import Diagnostic


class Datasets(RowSource):
    """Reads problems, and completions where there are any, from a data set of the library `datasets`."""

    name = "datasets"
    extra: ClassVar[str] = "train"

    class Config(Columns):
        """Which data set, and which column is what."""

        path: str = Field(min_length=1, description="a folder, or the name of a data set on the hub")
        config: str | None = Field(None, description="configuration of the data set, where it has several")
        split: str = Field("train", description="split of the data set, also a slice: train[:1000]")
        revision: str | None = Field(None, description="commit or tag on the hub; its newest when absent")

    config: Config

    def rows(self) -> Iterator[tuple[int, Mapping[str, Any] | RowError]]:
        """All rows of the split."""
        own = self.config
        where = "source 'datasets'"
        found = dataset_rows(own.path, config=own.config, split=own.split, revision=own.revision, where=where)
        return enumerate(found, start=1)

    def row(self, number: int) -> str:
        """Rows count from 1."""
        return f"row {number}"

    def finding(self, number: int, message: str) -> Diagnostic:
        """At the row."""
        return Diagnostic(message=message, file=f"{self.config.path} [{self.config.split}], row {number}")
