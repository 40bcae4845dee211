"""Reflection words are counted as words, in both scripts, per 1,000 words."""

from __future__ import annotations

import pytest

from r1core.reflection import reflection_count, reflection_share


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Wait, wait! WAIT.", 3),
        ("awaiting a waiter, await", 0),
        ("Let me\n check: 2 + 2", 1),
        ("hmm, let me recheck", 2),
        ("等等 再检查一下", 2),
        ("等一下 wait", 2),
    ],
)
def test_words_are_counted_whole(text: str, count: int) -> None:
    assert reflection_count(text) == count


def test_the_share_is_per_thousand_words_of_either_script() -> None:
    assert reflection_share("wait a b c") == 250
    assert reflection_share("等等 天空") == 250
    assert reflection_share("1 + 2 = 3") == 0
    assert reflection_share("") == 0


def test_other_words_can_be_asked_for() -> None:
    assert reflection_count("aha, then wait", words=("aha",)) == 1
    assert reflection_count("a (b) c", words=("(b)",)) == 1
