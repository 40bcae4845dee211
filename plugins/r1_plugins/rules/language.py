"""The language rule: the share of the thinking's words that are in the problem's language.

    target words / (target words + words of other languages)

against the language mixing of R1-Zero (arXiv:2501.12948, section 2.3.2). Letters tell English, Chinese, Russian
and others apart, word by word. Languages that share a script are told apart sentence by sentence, where the recipe
names them: `{use: language, languages: [de, en]}`. Code, formulas and addresses belong to no language; sentences
with fewer than 12 letters in a row to any that has their script. Thinking without any word is worth 0 unless the
recipe says otherwise, else symbols alone would earn the whole reward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator

from r1_plugins.rules.reading.identify import MIN_LETTERS, identifier, letters
from r1_plugins.rules.reading.passages import prose, sentences
from r1_plugins.rules.reading.scripts import BY_LETTERS, KANA, SCRIPT_OF, SCRIPTS, WORDS, base, of_script, words
from r1core.components import Reward
from r1core.suggest import did_you_mean
from r1core.types import Problem, Response, Score, Sentinel

MAX_CHARACTERS = 200_000
"""More than models think; what is longer is judged by its beginning."""
MAX_SENTENCES = 200
"""Of more than that, so many are asked about, evenly spread."""


class Language(Reward):
    """The share of words in the problem's language within the thinking; 0 where there is no word."""

    name = "language"
    gold_form: ClassVar[str] = "any, or none: it is not looked at; the problem's `language` is"

    class Config(Reward.Config):
        no_words: float = Field(0.0, description="worth of thinking without any word; small talk may need none: 1")
        languages: tuple[str, ...] = Field(
            (),
            description="the languages that answers may be in, such as [de, en]; needed where two share a script, and "
            "left out where letters tell them apart",
        )

        @field_validator("languages")
        @classmethod
        def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
            for language in languages:
                if language not in SCRIPT_OF:
                    raise ValueError(f"no language is called {language!r}: {_near(language)}")
            return languages

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        languages = self.config.languages or BY_LETTERS
        self._of = {script: of_script(script, languages) for script in SCRIPTS}
        shared = {script: own for script, own in self._of.items() if len(own) > 1 and script != "han"}
        self._identifiers = {script: identifier(own) for script, own in shared.items()}

    def score(self, problem: Problem, response: Response) -> Score:
        """The share; a language that the rule was not told of cannot be judged (infrastructure failure)."""
        language = base(problem.language)
        if self.refuses(problem):
            return Score(value=float("nan"), status="infrastructure", reason="unknown_language")
        if response.thinking is None:
            return Score(value=0.0, reason="think_block")
        counts = self._counts(prose(response.thinking[:MAX_CHARACTERS]))
        del counts[SCRIPT_OF[language]]  # sentences too short to tell: of its script, if not of its language
        total = sum(counts.values())
        if total == 0:
            return Score(value=self.config.no_words, reason="no_words")
        share = counts[language] / total
        return Score(value=share, reason="one_language" if share == 1.0 else "mixed")

    def refuses(self, problem: Problem) -> str:
        """Why its language cannot be told."""
        language = base(problem.language)
        if language not in SCRIPT_OF:
            return f"the problem's language is {problem.language!r}: {_near(language)}"
        if language in self._of[SCRIPT_OF[language]]:
            return ""
        told = self.config.languages or BY_LETTERS
        needed = [*self.config.languages, language] if self.config.languages else [language, "en"]
        return (
            f"the problem's language is {problem.language!r}, and only {', '.join(told)} are told apart: "
            f"say `languages: [{', '.join(dict.fromkeys(needed))}]`"
        )

    def sentinels(self) -> Sequence[Sentinel]:
        """Words of one language, and of none."""
        language = (self.config.languages or BY_LETTERS)[0]
        sample = {"en": "we add both numbers and then divide", "zh": "我们先把两个数相加"}.get(language)
        said = [(sample, 1.0)] if sample else []
        problem = Problem(id="sentinel", language=language)
        return [
            Sentinel(problem=problem, response=Response.parse(f"<think>{text}</think><answer>8</answer>"), value=value)
            for text, value in [*said, ("1 + 2 = 3", self.config.no_words)]
        ]

    # --- counting ----------------------------------------------------------------------------------

    def _counts(self, text: str) -> Counter[str]:
        """Words by language; those of which no more than the script is known are under its name."""
        counts: Counter[str] = Counter()
        for script, found in words(text):
            own = self._of[script]
            if script in self._identifiers or (script == "han" and (self.config.languages or len(own) > 1)):
                counts.update(self._told_apart(script, text))
            else:
                counts[own[0] if own else script] += len(found)
        return counts

    def _told_apart(self, script: str, text: str) -> Counter[str]:
        """Words of one script by language, sentence by sentence."""
        counts: Counter[str] = Counter()
        for passage, found in self._passages(script, text):
            if script == "han":
                counts["ja" if KANA.search(passage) else "zh"] += len(found)
            else:
                told = letters(found) >= MIN_LETTERS
                counts[self._identifiers[script].classify(passage)[0] if told else script] += len(found)
        return counts

    def _passages(self, script: str, text: str) -> Iterator[tuple[str, list[str]]]:
        """(its words of the script as one text, these words) of each sentence; short ones in a row are put together,
        so that cutting a text into crumbs does not hide its language."""
        split = [own for sentence in sentences(text) if (own := WORDS[script].findall(sentence))]
        if script != "han":
            split = _joined(split)
        if len(split) > MAX_SENTENCES:
            split = [split[number * len(split) // MAX_SENTENCES] for number in range(MAX_SENTENCES)]
        yield from ((" ".join(own), own) for own in split)


def _near(language: str) -> str:
    return did_you_mean(language, SCRIPT_OF, otherwise="known: ")


def _joined(split: Sequence[list[str]]) -> list[list[str]]:
    found: list[list[str]] = []
    short = False
    for own in split:
        now_short = letters(own) < MIN_LETTERS
        if short and now_short:
            found[-1] = [*found[-1], *own]
            short = letters(found[-1]) < MIN_LETTERS
        else:
            found.append(own)
            short = now_short
    return found
