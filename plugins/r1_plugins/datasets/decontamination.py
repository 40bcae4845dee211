"""Problems that stand in an evaluation set, too: found by n words in a row that both have.

    decontaminate: {against: [test.jsonl, {path: test.parquet, prompt: question}], ngram: 10}

DeepSeek-R1 dropped training texts with a 10-gram in common with an evaluation set (arXiv:2501.12948, v2); 13 is
GPT-3's. What a word is: r1core/ngrams.py. A question of fewer than n words is compared whole. Of the evaluation sets
only 64-bit hashes are kept, 8 bytes for each n-gram; the other side streams. A source drops such problems
(`decontaminate`), a filter rejects such answers (`decontaminated`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from r1core.choices import Options
from r1core.errors import RecipeError
from r1core.ngrams import Hashes, hashes_of, words_of
from r1core.types import Problem

_BLOCK = 1 << 20
"""Hashes that are collected before they are sorted in."""


class Against(Options):
    """One evaluation set."""

    path: str = Field(description="a JSONL or parquet file, or a data set for the library `datasets`")
    prompt: str = Field("prompt", description="field with the question: text, or a list of chat messages")
    config: str | None = Field(None, description="configuration of a data set")
    split: str = Field("test", description="split of a data set")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class Decontaminate(Options):
    """What is compared, and how closely."""

    against: list[Against] = Field(min_length=1, description="evaluation sets: a path, or {path: ..., prompt: ...}")
    ngram: int = Field(10, ge=2, le=100, description="words in a row that must not be shared")

    def grams(self) -> Grams:
        """Read the evaluation sets."""
        from r1_plugins.datasets.reading import questions  # it reads files through what stands above this

        return Grams(((one.path, text) for one in self.against for text in questions(one)), n=self.ngram)


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Why a row is left out: the words, and whose they are."""

    gram: str
    of: str


class Grams:
    """The hashed n-grams of evaluation sets."""

    def __init__(self, texts: Iterable[tuple[str, str]], *, n: int) -> None:
        self.n = n
        self._names: list[str] = []
        self._known: list[Hashes] = []
        """For each set its sorted, distinct hashes."""
        for name, hashes in _by_set(texts, n):
            self._names.append(Path(name).name)
            self._known.append(hashes)

    @property
    def nbytes(self) -> int:
        """Memory that is held, bytes."""
        return sum(known.nbytes for known in self._known)

    def shared(self, problem: Problem) -> Dropped | None:
        """The first n-gram of what the user says that one of the sets has, None where there is none."""
        for message in problem.messages:
            found = self.shared_by(message["content"]) if message["role"] == "user" else None
            if found is not None:
                return found
        return None

    def shared_by(self, text: str) -> Dropped | None:
        """The first n-gram of a text that one of the sets has, None where there is none."""
        words = words_of(text)
        hashes = hashes_of(words, self.n)
        for name, known in zip(self._names, self._known, strict=True):
            if not len(known) or not len(hashes):
                continue
            places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            hits = np.flatnonzero(known[places] == hashes)
            if len(hits):
                return Dropped(gram=" ".join(words[hits[0] : hits[0] + self.n]), of=name)
        return None


def _by_set(texts: Iterable[tuple[str, str]], n: int) -> Iterator[tuple[str, Hashes]]:
    """The distinct hashes of each set; memory is that of the result and one block."""
    known: dict[str, Hashes] = {}
    waiting: dict[str, list[Hashes]] = {}
    counted: dict[str, int] = {}
    for name, text in texts:
        hashes = hashes_of(words_of(text), n)
        waiting.setdefault(name, []).append(hashes)
        counted[name] = counted.get(name, 0) + len(hashes)
        if counted[name] >= _BLOCK:
            known[name] = _merged(known.get(name), waiting.pop(name))
            counted[name] = 0
    for name, rest in waiting.items():
        known[name] = _merged(known.get(name), rest)
    yield from known.items()


def _merged(known: Hashes | None, more: list[Hashes]) -> Hashes:
    found = np.concatenate(more if known is None else [known, *more])
    found.sort()  # in place: `np.unique` takes several times the memory
    return found[np.append(True, found[1:] != found[:-1])] if len(found) else found


def refuse_empty(one: Against, count: int) -> None:
    """An evaluation set without questions would let everything pass."""
    if not count:
        raise RecipeError(
            "the evaluation set has no questions",
            where=f"decontaminate, {one.path}",
            fix=f"check the file, and its field {one.prompt!r}",
        )
