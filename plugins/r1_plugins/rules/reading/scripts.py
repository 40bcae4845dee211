"""Words by their script, and which languages a script may hold.

A word is two letters or more of one script, or a run of Han characters and kana; single letters and digits belong
to no language. Japanese is told from Chinese by its kana, sentence by sentence. Most other languages that
share a script cannot be told apart by letters: see `identify.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = r"\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9d"
WORDS = {
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]{2,}"),
    "han": re.compile(f"[{_HAN}{_KANA}]+"),
    "hangul": re.compile(r"[\uac00-\ud7a3\u1100-\u11ff]{2,}"),
    "cyrillic": re.compile(r"[\u0400-\u052f]{2,}"),
    "arabic": re.compile(r"[\u0620-\u065f\u066e-\u06d3\u0750-\u077f]{2,}"),
    "devanagari": re.compile(r"[\u0900-\u0963\u0970-\u097f]{2,}"),
    "greek": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{2,}"),
    "hebrew": re.compile(r"[\u0591-\u05ea]{2,}"),
    "thai": re.compile(r"[\u0e01-\u0e3a\u0e40-\u0e4e]{2,}"),
    "bengali": re.compile(r"[\u0980-\u09e3]{2,}"),
    "gurmukhi": re.compile(r"[\u0a00-\u0a65\u0a70-\u0a7f]{2,}"),
    "gujarati": re.compile(r"[\u0a80-\u0ae5]{2,}"),
    "tamil": re.compile(r"[\u0b80-\u0be5]{2,}"),
    "telugu": re.compile(r"[\u0c00-\u0c65]{2,}"),
    "kannada": re.compile(r"[\u0c80-\u0ce5]{2,}"),
    "malayalam": re.compile(r"[\u0d00-\u0d65]{2,}"),
    "sinhala": re.compile(r"[\u0d80-\u0ddf]{2,}"),
    "lao": re.compile(r"[\u0e80-\u0ecd]{2,}"),
    "georgian": re.compile(r"[\u10a0-\u10ff]{2,}"),
    "armenian": re.compile(r"[\u0531-\u0587]{2,}"),
    "khmer": re.compile(r"[\u1780-\u17d3]{2,}"),
    "ethiopic": re.compile(r"[\u1200-\u135a]{2,}"),
}
KANA = re.compile(f"[{_KANA}]")
SCRIPTS = {
    "latin": "en af an az br bs ca cs cy da de eo es et eu fi fo fr ga gl hr ht hu id is it jv ku la lb lt lv mg ms mt "
    "nb nl nn no oc pl pt qu ro rw se sk sl sq sv sw tl tr vi vo wa xh zu",
    "han": "zh ja",
    "hangul": "ko",
    "cyrillic": "ru be bg kk ky mk mn sr uk",
    "arabic": "ar fa ps ug ur",
    "devanagari": "hi mr ne",
    "greek": "el",
    "hebrew": "he",
    "thai": "th",
    "bengali": "bn as",
    "gurmukhi": "pa",
    "gujarati": "gu",
    "tamil": "ta",
    "telugu": "te",
    "kannada": "kn",
    "malayalam": "ml",
    "sinhala": "si",
    "lao": "lo",
    "georgian": "ka",
    "armenian": "hy",
    "khmer": "km",
    "ethiopic": "am",
}
"""The languages of each script; the first is what its letters alone are taken for."""
SCRIPT_OF = {language: script for script, languages in SCRIPTS.items() for language in languages.split()}
BY_LETTERS = (*(languages.split()[0] for languages in SCRIPTS.values()), "ja")
"""The languages that letters alone tell apart, where no other language of their script is expected."""


def base(language: str) -> str:
    """The language itself of a tag with a region or a script: "pt" of "pt-BR"."""
    return language.replace("_", "-").partition("-")[0].lower()


def words(text: str) -> Iterator[tuple[str, list[str]]]:
    """(script, its words) of each script that the text has."""
    letters = "".join(2 * letter for letter in sorted({*text}))  # a script without a letter here needs no search
    for script, pattern in WORDS.items():
        found = pattern.findall(text) if pattern.search(letters) else []
        if found:
            yield script, found


def of_script(script: str, languages: Sequence[str]) -> list[str]:
    """Those of the languages that are written in this script."""
    return [language for language in languages if SCRIPT_OF[language] == script]
