"""Answers that quote an evaluation set, or answer one of its problems: rejected, with the words that they share.

    filters: [{use: decontaminated, against: [test.jsonl, {path: aime.parquet, prompt: problem}], ngram: 10}]

The arithmetic is that of a source's `decontaminate`, which leaves whole problems out before anything is asked; this
judges traces that are there already, what they say as well as what they were asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from r1_plugins.datasets.decontamination import Decontaminate, Dropped, Grams
from r1core.components import DataFilter
from r1core.types import Group, Rollout, Verdict


class Decontaminated(DataFilter):
    """Keeps answers that have no n words in a row in common with evaluation sets, and whose problems have none."""

    name = "decontaminated"

    class Config(Decontaminate, DataFilter.Config):
        """The evaluation sets, and what is compared."""

        of: Literal["both", "question", "text"] = Field(
            "both", description="what is compared: what the user said, what was answered, or both"
        )

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._grams: Grams | None = None

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout."""
        if self._grams is None:
            self._grams = self.config.grams()
        asked = self._grams.shared(group.problem) if self.config.of != "text" else None
        found = [asked or next(self._said(self._grams, rollout), None) for rollout in group.rollouts]
        return [Verdict(keep=each is None, reason="" if each is None else _reason(each)) for each in found]

    def _said(self, grams: Grams, rollout: Rollout) -> Iterator[Dropped]:
        if self.config.of != "question":
            shared = grams.shared_by(rollout.response.prefilled + rollout.response.text)
            if shared is not None:
                yield shared


def _reason(shared: Dropped) -> str:
    return f"contaminated ({shared.gram!r} of {shared.of})"
