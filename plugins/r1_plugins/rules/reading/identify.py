"""Which of a few languages a sentence is in, where they share a script: py3langid, asked about these alone.

Restricted to the languages of a recipe it names the right one more often than among all that it knows, and
in a twentieth of a millisecond. It is needed for such recipes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r1core.errors import SetupError

MIN_LETTERS = 12
"""Shorter ones ("So x = 3.") could be any language's."""


def identifier(languages: Sequence[str]) -> Any:
    """What tells these languages apart. Raises SetupError where it is not installed."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise SetupError(
            f"py3langid is not installed, and letters alone do not tell {', '.join(languages)} apart",
            where="reward language",
            fix="pip install 'r1core[train]', or leave `languages` to one of each script",
        ) from error
    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    found.set_languages(list(languages))
    return found


def letters(words: Sequence[str]) -> int:
    """How many letters these words have."""
    return sum(map(len, words))
