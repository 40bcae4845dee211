"""GPQA: four options, in an order that the problem's id and the seed decide, so that all models see the same one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from r1_plugins.benchmarks.rows import PublishedRows, RowError, text
from r1core.keys import derive_key
from r1core.types import Problem

COLUMNS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
LABELS = "ABCD"
ASKED = "Please reason step by step, and put the letter of your final answer within \\boxed{}."


class Gpqa(PublishedRows):
    """Multiple choice with the published columns Question, Correct Answer, Incorrect Answer 1 to 3, Record ID; the
    reference is the right letter."""

    name = "gpqa"

    def problem(self, row: Mapping[str, Any], seed: int) -> Problem:
        """The question with its options shuffled."""
        own, question = text(row, "Record ID"), text(row, "Question")
        options = [text(row, column) for column in COLUMNS]
        if len(set(options)) < len(options):
            raise RowError("two of its options are the same")
        right = options[0]
        random.Random(derive_key(seed, "gpqa", own)).shuffle(options)
        listed = "\n".join(f"{label}) {option}" for label, option in zip(LABELS, options, strict=True))
        return Problem(
            id=own,
            messages=({"role": "user", "content": f"{question}\n\n{listed}\n\n{ASKED}"},),
            reference=LABELS[options.index(right)],
            domain="choice",
            meta={key: row[key] for key in ("High-level domain", "Subdomain") if row.get(key)},
        )
