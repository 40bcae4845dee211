"""Of texts that say the same, one: exact repeats, and with `similarity` those that are nearly the same.

    filters: [{use: no_duplicates, similarity: 0.8}]                 everywhere in the dataset
    filters: [{use: no_duplicates, of: answer, scope: problem}]      other ways to each problem's answer may repeat it

The first stays, and each later one says whose double it is: filters that judge answers by themselves come before this.
Exact is after NFKC, whatever the case and the white space; near is the share of n-grams in common (sketches.py), where
signs do not count; texts of fewer words than an n-gram have no doubles but exact ones. Of each text that stays 12 bytes
are kept, with `similarity` 128 more and 12 for each band (21 at 0.8); a stage keeps them in pieces, unit by unit.
"""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from r1_plugins.curation.index import Index
from r1_plugins.curation.sketches import Bytes, Sketches, alike, band_width, keys_of, sketches_of
from r1core.components import DataFilter
from r1core.ngrams import hash_of, hashes_of, words_of
from r1core.types import Group, Rollout, Verdict


class NoDuplicates(DataFilter):
    """Keeps the first of texts that are the same, or as alike as `similarity`."""

    name = "no_duplicates"
    extra = "train"

    class Config(DataFilter.Config):
        of: Literal["text", "thinking", "answer", "question"] = Field(
            "text", description="what is compared; of one question all answers stay or go"
        )
        similarity: float = Field(
            1.0,
            gt=0,
            le=1,
            description="share of n-grams in common from which texts are the same; 1: exact repeats alone",
        )
        ngram: int = Field(5, ge=1, le=100, description="words of an n-gram")
        numbers: int = Field(128, ge=16, le=1024, multiple_of=8, description="bytes of a text's sketch; more are surer")
        scope: Literal["everywhere", "problem"] = Field(
            "everywhere", description="texts are compared in the whole dataset, or with those of the same problem"
        )

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._memory = Memory(self.config)

    @classmethod
    def check(cls) -> list[str]:
        """rensa, for `similarity` below 1."""
        return [] if importlib.util.find_spec("rensa") else ["rensa: pip install 'r1core[train]'"]

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout; what has no such part is no double."""
        memory = self._memory if self.config.scope == "everywhere" else Memory(self.config)
        if self.config.of == "question":
            return memory.judge([(group.problem.id, group.problem.question)]) * len(group.rollouts)
        return memory.judge([(f"{r.problem.id}.{r.sample}", self._text(r)) for r in group.rollouts])

    def learned(self) -> bytes:
        """The texts that stayed since it was asked last."""
        return self._memory.learned()

    def relearn(self, piece: bytes) -> None:
        """Remember them again."""
        self._memory.relearn(piece)

    def _text(self, rollout: Rollout) -> str:
        response = rollout.response
        parts = {"thinking": response.thinking, "answer": response.answer, "text": response.prefilled + response.text}
        return parts[self.config.of] or ""


class Memory:
    """The texts that stayed: their names, hashes, and sketches where near ones count."""

    def __init__(self, config: NoDuplicates.Config) -> None:
        self._config = config
        self._names: list[str] = []
        self._exact, self._bands = Index(), Index()
        self._sketches = Sketches(config.numbers)
        self._width = band_width(config.similarity, config.numbers)
        self._new: list[tuple[str, int, bytes]] = []

    @property
    def _near(self) -> bool:
        return self._config.similarity < 1

    def judge(self, named: Sequence[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each text, in order; those that stay are remembered."""
        sketches = self._sketched([text for _, text in named]) if self._near else np.empty((len(named), 0), np.uint8)
        return [self._verdict(name, text, sketch) for (name, text), sketch in zip(named, sketches, strict=True)]

    def _sketched(self, texts: Sequence[str]) -> Bytes:
        """Of a text with fewer words than an n-gram has, its signs count, too: -5 is not nearly 5."""
        words = [words_of(text) for text in texts]
        hashes = [
            hashes_of(own, self._config.ngram)
            if len(own) >= self._config.ngram
            else np.array([hash_of(_plain(text))], dtype=np.uint64)
            for own, text in zip(words, texts, strict=True)
        ]
        return sketches_of(hashes, self._config.numbers)

    def _verdict(self, name: str, text: str, sketch: Bytes) -> Verdict:
        normal = _plain(text)
        if not normal:
            return Verdict(keep=True)
        whole = hash_of(normal)
        exact = self._exact.find(np.array([whole], dtype=np.uint64))
        if len(exact):
            return Verdict(keep=False, reason=f"duplicate (of {self._names[exact[0]]})")
        if self._near:
            rows = self._bands.find(keys_of(sketch[None], self._width)[0])
            found = alike(sketch, self._sketches.of(rows)) if len(rows) else np.zeros(0)
            if len(found) and found.max() >= self._config.similarity:
                name = self._names[rows[found.argmax()]]
                return Verdict(keep=False, reason=f"near_duplicate (of {name}, {found.max():.2f} alike)")
        self._new.append((name, whole, sketch.tobytes()))
        self._add([name], np.array([whole], dtype=np.uint64), sketch[None])
        return Verdict(keep=True)

    def _add(self, names: Sequence[str], hashes: Any, sketches: Bytes) -> None:
        row = len(self._names)
        rows = np.arange(row, row + len(names), dtype=np.uint32)
        self._names += names
        keys = keys_of(sketches, self._width) if self._near else None
        if len(names) == 1:
            self._exact.add(hashes, row)
            if keys is not None:
                self._bands.add(keys[0], row)
        else:
            self._exact.add_all(hashes, rows)
            if keys is not None:
                self._bands.add_all(keys.ravel(), np.repeat(rows, keys.shape[1]))
        if keys is not None:
            self._sketches.add(sketches)

    # --- pieces ----------------------------------------------------------------------------------

    def learned(self) -> bytes:
        """Names as JSON in a line, then hashes, then sketches."""
        if not self._new:
            return b""
        names, hashes, sketches = zip(*self._new, strict=True)
        self._new = []
        head = json.dumps(names).encode() + b"\n"
        return head + np.array(hashes, dtype="<u8").tobytes() + b"".join(sketches)

    def relearn(self, piece: bytes) -> None:
        """What `learned` gave."""
        head, _, rest = piece.partition(b"\n")
        names = json.loads(head)
        hashes = np.frombuffer(rest, dtype="<u8", count=len(names)).astype(np.uint64)
        sketches = np.frombuffer(rest, dtype=np.uint8, offset=8 * len(names)).reshape(len(names), -1)
        self._add(names, hashes, sketches)


def _plain(text: str) -> str:
    """What is the same for exact repeats."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
