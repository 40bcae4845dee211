"""The length rule: how near an answer comes to the number of tokens that it should have.

    distance = tokens / longest                 with `longest`: the shorter the better, 0 from there on
    distance = |tokens - target| / target       with `target`: 0 tokens, or twice as many, are worth nothing
    linear   1 - distance                       cosine   (1 + cos(pi * distance)) / 2          clamped to 0..1

The cosine is that of 2502.03373, section 3.1 (gentle at both ends, steep between). There right and wrong answers have
curves of their own; a reward of ours does not know what another says, so this one is a matter of length
alone: give it a small weight beside `accuracy`, or a negative one to ask for more. A target is that of 2503.04697.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1core.components import Reward
from r1core.types import Problem, Response, Score, Sentinel


class Length(Reward):
    """1 at the wanted length (none at all, or `target`), falling to 0."""

    name = "length"
    gold_form: ClassVar[str] = "any, or none: it is not looked at"

    class Config(Reward.Config):
        longest: int | None = Field(None, ge=1, description="tokens from which an answer is worth 0, shorter ones more")
        target: int | None = Field(None, ge=1, description="tokens at which an answer is worth 1, others less")
        shape: Literal["linear", "cosine"] = Field("linear", description="how the worth falls with the distance")

        @model_validator(mode="after")
        def _one_of_both(self) -> Self:
            if (self.longest is None) == (self.target is None):
                raise ValueError(f"longest is {self.longest}, target {self.target}: give one of both")
            return self

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The worth; 0 for a text whose tokens nobody counted (one that a person has edited), with a reason."""
        if response.tokens is None:
            return Score(value=0.0, reason="not_counted")
        return Score(value=self._worth(response.tokens))

    def sentinels(self) -> Sequence[Sentinel]:
        """The wanted length, and one that is far off."""
        problem, response = Problem(id="sentinel"), Response.parse("<think>so</think><answer>8</answer>")
        wanted, far = self.config.target or 0, 2 * (self.config.target or self.config.longest or 1)
        return [
            Sentinel(problem=problem, response=replace(response, tokens=tokens), value=value)
            for tokens, value in ((wanted, 1.0), (far, 0.0))
        ]

    def _worth(self, tokens: int) -> float:
        target, longest = self.config.target, self.config.longest
        far = abs(tokens - target) / target if target is not None else tokens / (longest or 1)
        far = min(far, 1.0)
        return 1.0 - far if self.config.shape == "linear" else 0.5 * (1.0 + math.cos(math.pi * far))
