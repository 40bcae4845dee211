"""The language rule: which languages it tells apart, by letters and by sentences, and what belongs to none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.rules import Language
from r1_plugins.rules.reading.passages import prose, sentences
from r1_plugins.rules.reading.scripts import BY_LETTERS, SCRIPT_OF
from r1core.types import Problem, Response, Score

FILE = Path(__file__).parents[1] / "fixtures/language_sentences.jsonl"
CORPUS = [json.loads(line) for line in FILE.read_text().splitlines()]
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "zh", "ja", "ko", "ru")
LEAST_RIGHT = 0.97
FORMER_NEUTRAL = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\(.*?\\\)|\\\[.*?\\\]", re.DOTALL)
"""What `prose` leaves out, as a regular expression: quadratic, but short."""


@cache
def rule(*languages: str, no_words: float = 0.0) -> Language:
    return Language(Language.Config(languages=languages, no_words=no_words))


def scored(told: Language, thinking: str, language: str = "en") -> Score:
    return told.score(
        Problem(id="p", language=language), Response.parse(f"<think>{thinking}</think><answer>8</answer>")
    )


def heard(told: Language, thinking: str) -> str:
    """The language that the rule hears in a text: "none", "mixed" or one of the corpus's."""
    scores = {language: scored(told, thinking, language) for language in LANGUAGES}
    if all(score.reason == "no_words" for score in scores.values()):
        return "none"
    best = max(scores, key=lambda language: scores[language].value)
    return best if scores[best].value > 0.8 else "mixed"


# --- the corpus ------------------------------------------------------------------------------------


def test_the_corpus_is_large_and_has_formulas_code_and_names() -> None:
    texts = [row["text"] for row in CORPUS]
    assert len(texts) >= 100
    assert len({row["language"] for row in CORPUS} - {"none", "mixed"}) >= 7
    assert all(sum(mark in text for text in texts) >= 5 for mark in ("$", "`", "Eul")), "formulas, code, names"


def test_sentences_are_told_apart_by_language() -> None:
    told = rule(*LANGUAGES)
    found = [(row["language"], heard(told, row["text"]), row["text"]) for row in CORPUS]
    wrong = [one for one in found if one[0] != one[1]]
    assert 1 - len(wrong) / len(found) >= LEAST_RIGHT, wrong


def test_without_languages_letters_alone_tell_most_of_them() -> None:
    told = rule()
    for row in CORPUS:
        if row["language"] in ("en", "zh", "ja", "ko", "ru"):
            assert scored(told, row["text"], row["language"]).value > 0.8, row
    german = next(row["text"] for row in CORPUS if row["language"] == "de")
    assert scored(told, german, "en").value == 1.0, "letters alone do not tell German from English"


@pytest.mark.parametrize("row", [row for row in CORPUS if row["language"] == "none"], ids=lambda row: row["text"][:20])
def test_formulas_code_and_addresses_belong_to_no_language(row: dict[str, str]) -> None:
    assert scored(rule(*LANGUAGES), row["text"]) == Score(value=0.0, reason="no_words")
    assert scored(rule(*LANGUAGES, no_words=1.0), row["text"]).value == 1.0
    assert scored(rule(*LANGUAGES), f"First we look at the two numbers. {row['text']}").value == 1.0


# --- languages of one script -------------------------------------------------------------------------


def test_the_share_is_that_of_words_sentence_by_sentence() -> None:
    thinking = "First we add the two numbers. Danach teilen wir alles durch zwei."
    english, german = (scored(rule("en", "de"), thinking, language).value for language in ("en", "de"))
    assert (english, german) == (pytest.approx(0.5), pytest.approx(0.5))


def test_another_script_counts_word_by_word_beside_languages_that_share_one() -> None:
    score = scored(rule("en", "de", "zh"), "Zuerst addieren wir beide Zahlen 首先")
    assert scored(rule("en", "de", "zh"), "Zuerst addieren wir beide Zahlen 首先", "de").value == pytest.approx(5 / 6)
    assert score.value == 0.0


def test_a_short_sentence_is_any_languages() -> None:
    assert scored(rule("en", "de"), "Also gut.", "en").reason == "no_words"
    assert scored(rule("en", "de"), "First we add the two numbers. Also gut.", "en").value == 1.0
    assert scored(rule("en", "de", "zh"), "首先相加 ok then", "zh").value == pytest.approx(1 / 3), "but not Chinese"


def test_crumbs_in_a_row_are_heard_as_one() -> None:
    crumbs = "wir. teilen. nun. alles. durch. die. Zahl. der. Teile"
    assert scored(rule("en", "de"), f"First we add the numbers. {crumbs}.", "en").value < 0.7


def test_a_problem_of_a_language_that_nobody_told_of_is_refused_with_what_to_write() -> None:
    told = rule().refuses(Problem(id="p", language="de"))
    assert "'de'" in told
    assert "languages: [de, en]" in told
    assert rule("de", "en").refuses(Problem(id="p", language="de-AT")) == ""
    assert scored(rule(), "ein wort", "de").status == "infrastructure"
    assert "languages: [de, en, fr]" in rule("de", "en").refuses(Problem(id="p", language="fr"))


@pytest.mark.parametrize("language", BY_LETTERS)
def test_every_script_has_a_language_that_letters_tell(language: str) -> None:
    assert rule().refuses(Problem(id="p", language=language)) == ""
    assert language in SCRIPT_OF


def test_a_misspelt_language_is_refused_with_a_hint() -> None:
    with pytest.raises(ValidationError, match=r"no language is called 'dee'.*did you mean"):
        Language.Config(languages=("dee", "en"))


@pytest.mark.parametrize(("languages", "needed"), [((), False), (("en", "zh"), False), (("en", "de"), True)])
def test_without_py3langid_only_languages_that_share_a_script_are_missed(
    languages: tuple[str, ...], needed: bool
) -> None:
    """In an interpreter of its own, where the package cannot be imported."""
    code = (
        "import sys; sys.modules['py3langid'] = sys.modules['py3langid.langid'] = None\n"
        "from r1_plugins.rules import Language\n"
        "from r1core.errors import SetupError\n"
        f"try: Language(Language.Config(languages={languages!r})); print('built', Language.check())\n"
        "except SetupError as error: print('missing', error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if needed:
        assert said.startswith("missing reward language: py3langid is not installed")
        assert "pip install 'r1core[train]'" in said
    else:
        assert said.strip() == "built []"


# --- reading -------------------------------------------------------------------------------------------


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from(["a", " ", "`", "```", "$", "$$", "\n", r"\(", r"\)", r"\[", r"\]", "字"]), max_size=30)
)
def test_prose_leaves_out_what_the_expression_would(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert prose(text).split() == FORMER_NEUTRAL.sub(" ", text).split()


@given(st.text(max_size=2000))
def test_sentences_lose_no_letter_and_stay_short(text: str) -> None:
    found = list(sentences(text))
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(len(sentence) <= 300 for sentence in found)
