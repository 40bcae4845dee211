"""The choice rule: one option of several, by its letter, by its text, or by both where they agree.

    B    (B)    **B**    B) 42    Answer: B    The correct answer is (B).    \\boxed{B}    42
         the texts where `meta: {"options": ["41", "42", ...]}` or `{"options": {"A": "41", ...}}` lists them

Two letters are no answer, nor is a letter beside another option's text, and "a" in a sentence is an
article. Reasons: correct, wrong, several, no_choice, and those of every answer rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

from pydantic import Field, field_validator

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1core.types import Problem, Score, Sentinel

MAX_CHARACTERS = 4000
"""A choice is a line or two; what is longer is an essay about all of them."""
_BOX = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_WRAPPED = re.compile(r"\\(?:rm|bf)\b|[{}]|\\[()\[\]]|(?<!\w)[$*`_]|[$*`_](?!\w)")
"""Marks around words; "4*2" and "4_2" are not 42."""
_LEAD_IN = re.compile(
    r"(?:因此|所以|故|应)?(?:正确)?(?:的)?(?:答案|选项|选择?)(?:应)?(?:为|是)? ?:? ?"
    r"|(?:(?:so|thus|therefore|hence|i (?:choose|pick|select)|the|my|correct|right|final|best|answer|choice|option|is"
    r"|would be)[\s,:]+)*",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not|no|neither|never|wrong|incorrect|false)\b|n't|不|错|非", re.IGNORECASE)
_HEDGED = re.compile(r"\b(?:or|either|perhaps|maybe|possibly|unsure|guess)\b|或|也许|可能", re.IGNORECASE)
_PART = re.compile(r"(?:[-+*/^]|\\(?:cdot|times|pm|div)\s{0,5})\\boxed")
_ANOTHER = re.compile(
    r"<answer>|\bfinal answer(?: is)?+\s{0,5}+:?+\s{0,5}+(?!\\boxed|option\b|choice\b|the\b)[^\s\\$*.]", re.IGNORECASE
)
_MARK = re.compile(r"\s*(?:(?:[)\].:、。]|[-\u2013\u2014](?=\s))\s*)*")
_WORD = re.compile(r"[^\W_]+")
_JOINING = {"and", "or", "is", "are", "was", "nor", "but", "if", "because", "und", "oder", "et", "ou", "y", "o"}
"""After a capital A these tell that it is a letter; another word tells that it is an article."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The labels of a problem's options, their texts where these are known, and the right label."""

    labels: tuple[str, ...]
    texts: Mapping[str, str]
    right: str


class Choice(AnswerRule[Choices]):
    """1 when the answer names the right option and no other, else 0."""

    name = "choice"
    gold_form: ClassVar[str] = "the label of the right option, or its text where `meta.options` lists the texts"

    class Config(AnswerRule.Config):
        labels: tuple[str, ...] = Field(
            ("A", "B", "C", "D", "E"),
            min_length=2,
            description="what the options are called, in order; `options` as a map in a problem's meta brings its own",
        )

        boxed: bool = Field(
            False,
            description="the choice is what the last \\boxed{} holds, whatever stands around it; none without one",
        )

        @field_validator("labels")
        @classmethod
        def _different(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
            wrong = [label for label in labels if not _WORD.fullmatch(label)]
            if wrong or len({label.casefold() for label in labels}) < len(labels):
                raise ValueError(f"labels are {', '.join(labels)}: give different ones of letters and digits")
            return labels

    config: Config

    def gold(self, problem: Problem) -> Choices:
        """The options, and which is right: the reference is its label or its text."""
        labels, texts = self._options(problem.meta.get("options"))
        reference = str(problem.reference).strip()
        right = _named(_unwrapped(reference).strip("() .:"), labels) or _with_text(reference, texts)
        if right is None:
            given = f" and of its options {list(texts.values())}" if texts else ""
            raise GoldError(f"the reference is {problem.reference!r}: none of the labels {', '.join(labels)}{given}")
        return Choices(labels=labels, texts=texts, right=right)

    def verdict(self, gold: Choices, answer: str) -> Score:
        """1 or 0."""
        said = self._said(gold, answer)
        reason = said if said in ("several", "no_choice") else "correct" if said == gold.right else "wrong"
        return Score(value=float(reason == "correct"), reason=reason)

    def vote(self, gold: Choices, answer: str) -> str:
        """The label."""
        said = self._said(gold, answer)
        return "" if said in ("several", "no_choice") else said

    def _said(self, gold: Choices, answer: str) -> str:
        return _boxed(answer, gold) if self.config.boxed else _said(answer, gold)

    def sentinels(self) -> Sequence[Sentinel]:
        """The first label is right, the second wrong, both are no answer."""
        first, second = self.config.labels[:2]
        answers = [(f"({first})", 1.0), (second, 0.0), (f"{first} or {second}", 0.0)]
        return known(first, [(f"\\boxed{{{text}}}" if self.config.boxed else text, value) for text, value in answers])

    def _options(self, options: Any) -> tuple[tuple[str, ...], dict[str, str]]:
        """(labels, label -> text) of the problem."""
        if options is None:
            return self.config.labels, {}
        if isinstance(options, Mapping):
            labels, texts = [str(label).strip() for label in options], [str(text) for text in options.values()]
        elif isinstance(options, list | tuple) and len(options) <= len(self.config.labels):
            labels, texts = list(self.config.labels[: len(options)]), [str(text) for text in options]
        else:
            raise GoldError(f"meta.options is {options!r:.200}: give a list of at most {len(self.config.labels)} texts")
        plain = [_plain(text) for text in texts]
        if len(labels) < 2 or len(set(plain)) < len(plain) or not all(plain) or not all(map(_WORD.fullmatch, labels)):
            raise GoldError(f"meta.options is {options!r:.200}: give two different texts at least, by label")
        for label, text in zip(labels, plain, strict=True):
            if _named(text, labels) not in (None, label):
                raise GoldError(f"option {label} is {text!r}, the label of another: nobody could tell what is meant")
        return tuple(labels), dict(zip(labels, plain, strict=True))


def _said(answer: str, gold: Choices) -> str:
    """The label that the answer names, "several" or "no_choice"."""
    if len(answer) > MAX_CHARACTERS:
        return "no_choice"
    by_text = _with_text(answer, gold.texts)
    if by_text is not None:
        return by_text
    answer = _TEXT.sub(r" \1 ", answer)
    boxes = _BOX.findall(answer)
    if len(boxes) > 1:
        return "several"
    if not boxes:
        return _read(_unwrapped(answer), gold)
    outside, said = _unwrapped(_BOX.sub(" ", answer)), _read(_unwrapped(boxes[0]), gold)
    if _mentioned(outside, gold.labels) - {_named(boxes[0], gold.labels)} or _with_another_text(outside, said, gold):
        return "several"
    beside = _DENIED.search(outside) or _HEDGED.search(outside)
    return "no_choice" if beside or _PART.search(answer) or _ANOTHER.search(answer) else said


def _boxed(answer: str, gold: Choices) -> str:
    """What the last box says, whatever stands around it."""
    boxes = _BOX.findall(_TEXT.sub(r" \1 ", answer))
    return _read(_unwrapped(boxes[-1]), gold) if boxes else "no_choice"


def _read(text: str, gold: Choices) -> str:
    """The label of a plain text: nothing but a label, or a label, a mark and what belongs to it."""
    lead_in = _LEAD_IN.match(text)
    text = text[lead_in.end() :] if lead_in else text
    by_text = _with_text(text, gold.texts)
    if by_text is not None:
        return by_text
    word = _WORD.search(text)
    label = _named(word[0], gold.labels) if word else None
    if word is None or label is None or text[: word.start()].strip(" ([") or len(text[: word.start()]) > 3:
        return _several_or_none(text, gold.labels)
    after = text[word.end() :]
    mark = _MARK.match(after)
    rest = after[mark.end() :] if mark else after
    if not rest:
        return label
    marked = bool(mark and mark[0].strip())  # "B) 42" names an option, "B 42" may name anything
    if gold.texts and _plain(rest) == gold.texts[label]:
        return label
    if gold.texts or not marked or _DENIED.search(rest):
        return _several_or_none(text, gold.labels)
    return "several" if _mentioned(rest, gold.labels) - {label} else label


def _several_or_none(text: str, labels: Sequence[str]) -> str:
    return "several" if len(_mentioned(text, labels)) > 1 else "no_choice"


def _mentioned(text: str, labels: Sequence[str]) -> set[str]:
    """The labels that stand alone in a text, in capitals as they are given; "A" before a word is an article."""
    words = [*_WORD.finditer(text)]
    found = set()
    for word, after in zip_longest(words, words[1:]):
        article = word[0] in ("A", "a") and after is not None and text[word.end() : after.start()] == " "
        if word[0] in labels and not (article and after and after[0].islower() and after[0] not in _JOINING):
            found.add(word[0])
    return found


def _named(text: str, labels: Sequence[str]) -> str | None:
    """The label that the whole text is, whatever its case."""
    wanted = text.strip().casefold()
    return next((label for label in labels if label.casefold() == wanted), None)


def _with_text(text: str, texts: Mapping[str, str]) -> str | None:
    """The label of the option whose text this is."""
    plain = _plain(text) if texts else ""
    return next((label for label, own in texts.items() if own == plain), None)


def _with_another_text(outside: str, said: str, gold: Choices) -> bool:
    """Whether what stands around a box has the text of an option that is not the box's."""
    padded = f" {' '.join(_WORD.findall(outside.casefold()))} "
    others = (" ".join(_WORD.findall(text)) for label, text in gold.texts.items() if label != said)
    return any(f" {text} " in padded for text in others if text)


def _plain(text: str) -> str:
    """An option's text, comparable: case, markup, white space and a full stop at the end do not count."""
    return " ".join(_unwrapped(text).casefold().split()).rstrip(".").strip()


def _unwrapped(text: str) -> str:
    """Without LaTeX's and Markdown's wrapping, full-width letters made plain."""
    return " ".join(_WRAPPED.sub(" ", unicodedata.normalize("NFKC", text)).split())
