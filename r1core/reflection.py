"""Reflection words: how often a text stops to look again. Counted on the text, with no model and no component.

The words are those that thinking models use when they turn back on what they wrote, in English and Chinese. A word of
English is a run of letters; a Chinese character counts as one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

WORDS = (
    *("wait", "hmm", "let me check", "let me verify", "let me recheck", "let me reconsider", "double-check"),
    *("recheck", "on second thought", "try again", "reconsider"),
    *("等等", "等一下", "再检查", "检查一下", "重新考虑", "再想想", "验证一下", "不对"),
)
"""What counts, in lower case."""
PER = 1000
_EAST = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_EASTERN = re.compile(f"[{_EAST}]")
_WORD = re.compile(rf"[{_EAST}]|[^\W\d_{_EAST}]+")


def reflection_count(text: str, words: Sequence[str] = WORDS) -> int:
    """How often any of the words stands in the text, as a word of its own where its script has spaces."""
    return len(_any_of(tuple(words)).findall(text))


def reflection_share(text: str, words: Sequence[str] = WORDS) -> float:
    """Reflection words per 1,000 words of the text; 0 for one without words."""
    count = reflection_count(text, words)
    return PER * count / max(len(_WORD.findall(text)), 1) if count else 0.0


@functools.cache
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """Any of them, the longest first; spaces of any kind between parts, and no letter beside a word that has spaces."""
    ordered = sorted(words, key=len, reverse=True)
    each = [r"\s+".join(map(re.escape, word.split())) for word in ordered]
    alone = [pattern for pattern in each if not _EASTERN.search(pattern)]
    joined = [pattern for pattern in each if _EASTERN.search(pattern)]
    own = [rf"(?<![^\W_])(?:{'|'.join(alone)})(?![^\W_])"] if alone else []
    return re.compile("|".join([*own, *joined]), re.IGNORECASE)
