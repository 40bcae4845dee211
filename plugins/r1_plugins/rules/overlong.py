"""Soft overlong punishment (DAPO 2503.14476, eq. 13): an answer near the limit is told so before it is cut off.

    0                                        up to  longest - margin  tokens
    (longest - margin - tokens) / margin     from there to  longest
    -1                                       beyond

Add it to what the answer is worth: `rewards: [accuracy, {use: overlong, longest: 20480, margin: 4096}]`, with
`max_new_tokens` at `longest` or above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

from pydantic import Field, model_validator

from r1core.components import Reward
from r1core.types import Problem, Response, Score, Sentinel


class Overlong(Reward):
    """0 for an answer that leaves room, falling to -1 within the last `margin` tokens before `longest`."""

    name = "overlong"
    gold_form: ClassVar[str] = "any, or none: it is not looked at"
    lowest: ClassVar[float] = -1.0

    class Config(Reward.Config):
        longest: int = Field(ge=1, description="tokens from which an answer is worth -1")
        margin: int = Field(
            ge=1, description="tokens before that over which it falls from 0 (DAPO: a fifth of the rest)"
        )

        @model_validator(mode="after")
        def _room(self) -> Self:
            if self.margin > self.longest:
                raise ValueError(f"margin is {self.margin}, longest {self.longest}: no answer would be worth 0")
            return self

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The penalty; 0 for a text whose tokens nobody counted (one that a person has edited), with a reason."""
        if response.tokens is None:
            return Score(value=0.0, reason="not_counted")
        over = response.tokens - (self.config.longest - self.config.margin)
        penalty = min(max(over / self.config.margin, 0.0), 1.0)
        return Score(value=0.0 - penalty, reason="overlong" if penalty else "")

    def sentinels(self) -> Sequence[Sentinel]:
        """An answer that leaves room, and one at the limit."""
        problem, response = Problem(id="sentinel"), Response.parse("<think>so</think><answer>8</answer>")
        return [
            Sentinel(problem=problem, response=replace(response, tokens=tokens), value=value)
            for tokens, value in ((0, 0.0), (self.config.longest, -1.0))
        ]
