"""The one gate between text that a model, a data set or a stranger's recipe wrote and a terminal.

Such text can move the cursor, paint over what was printed, reverse the reading order or hide
letters. Everything printed that this project did not write passes `untrusted`. Where rich prints
it, it is wrapped as `rich.text.Text(untrusted(text))`, never given as a string: rich would read
`[/INST]` as markup and raise, drop `[a]` and make `[link=...]` a link, and its own `escape` does
not give every text back (a last backslash, `\\[`).
"""

from __future__ import annotations

import unicodedata


def untrusted(text: str) -> str:
    """`text` as it may be written to a terminal: printable characters, newlines and tabs.

    Control characters (C0, C1, a carriage return) and format characters (bidirectional overrides,
    zero-width) are dropped, other spaces become a space, line separators a newline; what has no
    meaning (lone surrogates, private use, unassigned) becomes U+FFFD.
    """
    return text if text.isprintable() else "".join(map(_safe, text))


def _safe(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Cf"):
        return ""
    if category in ("Zl", "Zp"):
        return "\n"
    return " " if category == "Zs" else "\ufffd"
