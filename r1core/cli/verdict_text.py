"""How verdicts and strangers' texts are written by `r1 verify`: numbers short, texts on one line and harmless."""

from __future__ import annotations

from r1core.untrusted import untrusted

SHOWN = 300
"""Characters of a stranger's text that are shown."""


def number(value: float) -> str:
    """Four digits of it."""
    return f"{value:.4g}"


def milliseconds(seconds: float) -> str:
    """Whole milliseconds from 100 on, one digit more below."""
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"


def one_line(text: str, width: int = SHOWN) -> str:
    """A stranger's text on one line, cut at `width`."""
    line = " ".join(untrusted(text[: 20 * width]).split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def counted(count: int, what: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{count} {what}" + "s" * (count != 1)
