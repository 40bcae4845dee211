"""The repetition filter: answers that say the same again and again, or end in a loop.

    share = 1 - distinct stretches of n words / all stretches of n words

R1-Zero's answers passed such a filter before people rewrote them (arXiv:2501.12948, v2 B.3.2; its
rule is not published). A word is a run of letters or digits, and each Han character by itself, so
that Chinese, which has no spaces, is measured alike. A loop is the same words, over and over, up to
the end: the last n words or more have a period that fits in at least `loops` times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

from r1core.components import DataFilter
from r1core.types import Group, Response, Verdict

_HAN = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+|[^\w\s]|_")


class NoRepetition(DataFilter):
    """Keeps rollouts whose thinking and whose answer repeat few stretches of words and do not end in a loop."""

    name = "no_repetition"

    class Config(DataFilter.Config):
        n: int = Field(20, ge=1, description="words (or Han characters) of a stretch")
        max_share: float = Field(0.2, ge=0, le=1, description="largest share of stretches that were there before")
        loops: int = Field(4, ge=2, description="times that the end repeats itself to be a loop")

    config: Config

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout; a loop is told apart from other repetition."""
        return [self._verdict(rollout.response) for rollout in group.rollouts]

    def _verdict(self, response: Response) -> Verdict:
        whole = [response.prefilled + response.text] if response.thinking is None else [response.thinking]
        parts = [words_of(part) for part in (*whole, response.answer or "")]
        ends = [*parts, *(words[:-1] for words in parts)]  # the last word may be cut in two
        if any(ends_in_loop(words, least=self.config.n, loops=self.config.loops) for words in ends):
            return Verdict(keep=False, reason="loop")
        repeats = max(repeated_share(words, self.config.n) for words in parts) > self.config.max_share
        return Verdict(keep=not repeats, reason="repetition" if repeats else "")


def words_of(text: str) -> list[str]:
    """Words, Han characters and signs, in order, whatever their case."""
    return _WORD.findall(text.lower())


def repeated_share(words: Sequence[str], n: int) -> float:
    """The share of stretches of `n` words that occur earlier in `words`; 0 where there is none."""
    stretches = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - len(set(stretches)) / len(stretches) if stretches else 0.0


def ends_in_loop(words: Sequence[str], *, least: int, loops: int) -> bool:
    """Whether the last words, at least `least` of them, are one stretch `loops` times or more; it may be cut short.

    Linear: read backwards, the end is a beginning, whose smallest period is its length less its longest border
    (Knuth, Morris and Pratt).
    """
    backwards = words[::-1]
    border = [0] * len(backwards)
    for place in range(1, len(backwards)):
        length = border[place - 1]
        while length and backwards[place] != backwards[length]:
            length = border[length - 1]
        border[place] = length + (backwards[place] == backwards[length])
        size = place + 1
        if size >= least and size >= loops * (size - border[place]):
            return True
    return False
