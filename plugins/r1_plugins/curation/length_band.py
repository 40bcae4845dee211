"""Answers that are neither too short nor too long, by bounds of the recipe's or by quantiles of a dataset.

    filters: [{use: length_band, of: thinking, unit: words, min: 50, max: 8000}]
    filters: [{use: length_band, quantiles: [0.01, 0.99], data: traces}]

Quantiles are those of the rows that the other stage kept, read once before the first answer is judged: they depend on
the dataset, never on the order in which its rows come.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from r1core.choices import DataRef
from r1core.components import DataFilter
from r1core.errors import RecipeError
from r1core.types import Group, Verdict

Part: TypeAlias = Literal["text", "thinking", "answer"]
Unit: TypeAlias = Literal["characters", "words", "tokens"]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class LengthBand(DataFilter):
    """Keeps answers whose length lies between `min` and `max`, or between two quantiles of a dataset's lengths."""

    name = "length_band"
    extra = "train"

    class Config(DataFilter.Config):
        of: Part = Field("text", description="what is measured: all that was written, its thinking, its final answer")
        unit: Unit = Field(
            "characters", description="of its length; tokens are those that the teacher counted, of the whole text"
        )
        min: int | None = Field(None, ge=0, description="shortest length kept")
        max: int | None = Field(None, ge=0, description="longest length kept")
        quantiles: tuple[Share, Share] | None = Field(None, description="instead: shares of the rows in `data`")
        data: DataRef | None = Field(None, description="with `quantiles`: the stage whose kept rows they are of")

        @model_validator(mode="after")
        def _one_band(self) -> Self:
            if (self.quantiles is None) == (self.min is None and self.max is None):
                raise ValueError("give `min`, `max` or both, or `quantiles` with `data`")
            if (self.quantiles is None) != (self.data is None):
                raise ValueError("`quantiles: [low, high]` and `data: <stage>` go together")
            low, high = self.quantiles or (self.min or 0, self.max if self.max is not None else float("inf"))
            if low > high:
                raise ValueError(f"nothing lies between {low:g} and {high:g}: lower the first")
            if self.unit == "tokens" and self.of != "text":
                raise ValueError(
                    f"only whole texts have their tokens counted: `of: text`, or another unit, not {self.of}"
                )
            return self

    config: Config
    _band: tuple[float, float] | None = None

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout; what has no such part, or whose tokens nobody counted, is not kept."""
        low, high = self._bounds()
        verdicts = []
        for rollout in group.rollouts:
            response = rollout.response
            parts = {"text": response.text, "thinking": response.thinking, "answer": response.answer}
            length = _length(parts[self.config.of], rollout.tokens, self.config.unit)
            reason = self._missing() if length is None else _reason(length, low, high)
            verdicts.append(Verdict(keep=not reason, reason=reason))
        return verdicts

    def _missing(self) -> str:
        return "not_counted" if self.config.unit == "tokens" else f"no_{self.config.of}"

    def _bounds(self) -> tuple[float, float]:
        if self._band is None:
            config = self.config
            self._band = (config.min or 0, config.max if config.max is not None else float("inf"))
            if config.quantiles is not None:
                low, high = np.quantile(self._lengths(), config.quantiles, method="inverted_cdf")
                self._band = (float(low), float(high))
        return self._band

    def _lengths(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The lengths of the kept rows, 8 bytes each."""
        from r1core.store.rows import read_rows  # parquet stays out of recipe checks

        found = array("q")
        for row in read_rows(Path(str(self.config.data))):
            length = _length(row[self.config.of], row["tokens"] or 0, self.config.unit) if row["keep"] else None
            if length is not None:
                found.append(length)
        if not found:
            raise RecipeError(
                f"no kept row has a length in {self.config.unit} of its {self.config.of}",
                where=f"filter {self.name!r}",
                fix="take another unit or part",
            )
        return np.frombuffer(found, dtype=np.int64)


def _length(text: str | None, tokens: int, unit: Unit) -> int | None:
    if unit == "tokens":
        return tokens or None
    if text is None:
        return None
    return len(text) if unit == "characters" else len(text.split())


def _reason(length: int, low: float, high: float) -> str:
    return "too_short" if length < low else "too_long" if length > high else ""
