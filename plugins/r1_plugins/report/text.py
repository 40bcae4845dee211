"""The gate between what models and strangers wrote and the page.

A terminal drops control and format characters (r1core/untrusted.py); a page can show that they are there: a reward
that is fooled by invisible letters should be caught by whoever reads the sample. Escaping for HTML is the template's.
"""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from r1core.untrusted import untrusted

PICTURES = 0x2400
"""Unicode has a picture of each C0 control character from here on."""


def visible(text: str) -> str:
    """`text` with each character that could act on a reader as a mark that says which it is."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    if character < " ":
        return chr(PICTURES + ord(character))
    shown = untrusted(character)
    return f"[U+{ord(character):04X}]" if shown in ("", "\ufffd") else shown


def finalized(value: Any) -> Any:
    """What a template writes: strings made visible, then escaped by it; markup of ours as it is; nothing for None."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def embedded(value: Any) -> Markup:
    """JSON to stand in a `<script type="application/json">`: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
