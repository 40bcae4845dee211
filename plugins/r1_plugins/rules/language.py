"""The language rule: the share of the thinking's words that are in the problem's language.

    target words / (target words + words of the other language)

against the language mixing of R1-Zero (arXiv:2501.12948, section 2.3.2). A word is two Latin letters
or more, or a run of Han characters; single letters, digits, code blocks and formulas belong to no
language. Thinking without any word is worth 0 unless the recipe says otherwise, else symbols alone
would earn the whole reward.
"""

from __future__ import annotations

import re

from pydantic import Field

from r1core.components import Reward
from r1core.types import Problem, Response, Score

WORDS = {
    "en": re.compile(r"[A-Za-z\u00c0-\u024f]{2,}"),
    "zh": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"),
}
NEUTRAL = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\(.*?\\\)|\\\[.*?\\\]", re.DOTALL)


class Language(Reward):
    """The share of words in the problem's language within the thinking; 0 where there is no word."""

    name = "language"

    class Config(Reward.Config):
        no_words: float = Field(0.0, description="worth of thinking without any word; small talk may need none: 1")

    config: Config

    def score(self, problem: Problem, response: Response) -> Score:
        """The share; languages other than English and Chinese cannot be judged (infrastructure failure)."""
        if problem.language not in WORDS:
            return Score(value=float("nan"), status="infrastructure", reason="unknown_language")
        if response.thinking is None:
            return Score(value=0.0, reason="think_block")
        text = NEUTRAL.sub(" ", response.thinking)
        counts = {language: len(pattern.findall(text)) for language, pattern in WORDS.items()}
        total = sum(counts.values())
        if total == 0:
            return Score(value=self.config.no_words, reason="no_words")
        share = counts[problem.language] / total
        return Score(value=share, reason="one_language" if share == 1.0 else "mixed")
