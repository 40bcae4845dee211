"""The repetition rule: a penalty for saying the same again, against the loops of long reinforcement learning.

    -(n-grams - different n-grams) / (n-grams - 1)          0 where none comes twice, -1 where all are the same

n-grams of words over the whole response, case left out, as Open-R1's repetition reward counts them after 2502.03373,
section 3.4 (which takes n = 40 of tokens, and punishes where they stand). Open-R1 divides by all n-grams; without the
first, which repeats nothing, a loop is worth -1 however short. A Han, kana or Thai character is a word.
Add it with a weight: `rewards: [accuracy, {use: repetition, n: 3, weight: 0.5}]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from r1core.components import Reward
from r1core.types import Problem, Response, Score, Sentinel

MAX_WORDS = 40_000
"""More than an answer of 32,768 tokens has; what is longer is judged by its beginning."""
_WORD = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+"
)


class Repetition(Reward):
    """0 for a response that repeats no n-gram of words, falling towards -1."""

    name = "repetition"
    gold_form: ClassVar[str] = "any, or none: it is not looked at"
    lowest: ClassVar[float] = -1.0

    class Config(Reward.Config):
        n: int = Field(3, ge=1, le=100, description="words in a row that must not come again")

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The penalty; 0 for a response with fewer than n + 1 words."""
        words = [found[0] for _, found in zip(range(MAX_WORDS), _WORD.finditer(response.text.lower()), strict=False)]
        count = len(words) - self.config.n + 1
        if count < 2:
            return Score(value=0.0)
        different = len(set(zip(*(words[start:] for start in range(self.config.n)), strict=False)))
        return Score(value=(different - count) / (count - 1), reason="repeats" if different < count else "")

    def sentinels(self) -> Sequence[Sentinel]:
        """Words that are all different, and one word over and over."""
        problem, count = Problem(id="sentinel"), self.config.n + 4
        said = [(" ".join(f"w{i}" for i in range(count)), 0.0), ("again " * count, -1.0)]
        return [Sentinel(problem=problem, response=Response.parse(text), value=value) for text, value in said]
