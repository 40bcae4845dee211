"""Text that a model wrote cannot do anything to a terminal but be read."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core.untrusted import untrusted


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain text, 中文, é, 🙂", "plain text, 中文, é, 🙂"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J\x1b[31mred\x1b[0m", "[2J[31mred[0m"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "]8;;http://xlink]8;;"),
        ("honest\rfaked", "honestfaked"),
        ("line\r\nline", "line\nline"),
        ("\x9b31mC1", "31mC1"),
        ("user\u202etxt.exe\u202c", "usertxt.exe"),
        ("\u2066a\u2069\u200e\u061cb", "ab"),
        ("zero\u200bwidth\u200d\ufeff", "zerowidth"),
        ("a\u00a0b\u3000c", "a b c"),
        ("a\u2028b", "a\nb"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("[/INST] [link=http://x]a[/link] [a,b]", "[/INST] [link=http://x]a[/link] [a,b]"),
        ("", ""),
    ],
)
def test_only_what_can_be_read_is_left(text: str, safe: str) -> None:
    assert untrusted(text) == safe


@given(st.text(st.characters()))
def test_no_control_or_format_character_survives(text: str) -> None:
    safe = untrusted(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in safe)
    assert untrusted(safe) == safe
    safe.encode("utf-8")


@given(st.text(st.characters()), st.text(st.characters()))
def test_a_stream_is_as_safe_as_the_whole(first: str, second: str) -> None:
    assert untrusted(first) + untrusted(second) == untrusted(first + second)
