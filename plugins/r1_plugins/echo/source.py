"""The source `echo`: what comes after a number, with answers in all four forms, most of them poor.

A model made from scratch on these answers has their habits, so that a reward has something to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from r1_plugins.echo import tokens
from r1_plugins.echo.forms import FORMS, written
from r1core.choices import Options
from r1core.components import ProblemSource
from r1core.keys import derive_key
from r1core.types import Problem

NUMBERS = 1000


class Shares(Options):
    """How much of each form there is, relative to the others."""

    right: float = Field(1.0, ge=0, description="well formed and true, parts")
    parrot: float = Field(2.0, ge=0, description="well formed, the answer is the question, parts")
    bare: float = Field(6.0, ge=0, description="true, without tags, parts")
    silent: float = Field(1.0, ge=0, description="nothing, parts")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not sum(self.parts()):
            raise ValueError("all four parts are 0: at least one form must have a share")
        return self

    def parts(self) -> list[float]:
        """The parts, in the order of `FORMS`."""
        return [self.right, self.parrot, self.bare, self.silent]


class EchoSource(ProblemSource):
    """What comes after a number: questions, references, and finished answers of mixed quality. To test plugins."""

    name = "echo"

    class Config(ProblemSource.Config):
        """How many, and how well they are answered."""

        limit: int = Field(256, ge=1, description="problems")
        shares: Shares = Field(Shares(), description="the forms of their answers")

    config: Config

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The problems, drawn from the run's seed."""
        parts = np.array(self.config.shares.parts())
        for number in range(self.config.limit):
            random = np.random.default_rng(derive_key(seed, "echo", number))
            before, form = int(random.integers(NUMBERS)), int(random.choice(len(FORMS), p=parts / parts.sum()))
            question, reference = f"What comes after {before}?", str(before + 1)
            yield Problem(
                id=str(number),
                messages=({"role": "user", "content": question},),
                reference=reference,
                meta={"form": FORMS[form]},
                completion=written(form, question, reference),
            )

    def write_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer of bytes and tags; a model of any policy can be made with it."""
        tokens.write_tokenizer(folder)
