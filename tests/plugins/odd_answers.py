"""Every rule with a problem of its kind, and texts that nobody but a model would write: for fuzzing and for times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from r1_plugins import rules
from r1core.components import Reward
from r1core.types import Problem, Response

MILLION = 1_000_000
PERSON = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NAMES = {"correct": [f"Person Number {n}" for n in range(40)], "wrong": [{"answer": "Nobody At All", "score": -1}]}
READING = {
    "reading": 6,
    "unit": "bar",
    "normal": [4, 8],
    "alarm": [3, 9],
    "trip": [0, 16],
    "actions": {"normal": ["wait"]},
}


@dataclass(frozen=True)
class Setting:
    """A rule with its options, and the problem that it is asked about."""

    label: str
    rule: Reward
    problem: Problem


def settings() -> list[Setting]:
    """Every rule, some with several options."""
    asked: list[tuple[type[Reward], dict[str, Any], Any, dict[str, Any]]] = [
        (rules.Accuracy, {}, "8", {}),
        (rules.Exact, {"case": False, "unicode": "nfkc", "spaces": "none"}, ["8", "acht"], {}),
        (rules.Choice, {}, "B", {}),
        (rules.Choice, {"require_tags": False}, "B", {"options": ["41", "42", "a b"]}),
        (rules.Numeric, {"relative": 0.01}, 42, {}),
        (rules.Numeric, {"unit": "optional"}, {"value": 42, "unit": "m/s^2"}, {}),
        (rules.GradedAnswers, {}, NAMES, {}),
        (rules.GradedAnswers, {"max_edits": 3, "several": "mean", "accents": True}, NAMES, {}),
        (rules.JsonSchema, {"partial": 0.5}, PERSON, {}),
        (rules.Sensor, {}, READING, {}),
        (rules.Format, {}, None, {}),
        (rules.Format, {"min_thinking_chars": 100_000}, None, {}),
        (rules.Language, {}, None, {}),
        (rules.Language, {"languages": ["en", "de", "fr", "zh", "ru", "uk", "ja"]}, None, {}),
        (rules.Length, {"longest": 1000, "shape": "cosine"}, None, {}),
        (rules.Overlong, {"longest": 1000, "margin": 100}, None, {}),
        (rules.Repetition, {"n": 3}, None, {}),
        (rules.Repetition, {"n": 40}, None, {}),
    ]
    return [
        Setting(
            f"{rule.name} {options or ''}".strip(),
            rule(rule.Config(**options)),
            Problem(id="p", reference=gold, meta=meta),
        )
        for rule, options, gold, meta in asked
    ]


def placements(text: str) -> Iterator[Response]:
    """The text bare, as thinking, as the answer, and as both; its tokens counted, by half of them."""
    for number, whole in enumerate(
        (text, f"<think>{text}</think><answer>8</answer>", f"<think>so</think><answer>{text}</answer>",
         f"<think>{text}</think>{text}", f"<think>{text}</think><answer>{text}</answer>")
    ):  # fmt: skip
        yield replace(Response.parse(whole), tokens=len(text) if number % 2 else None)


PIECES = (
    "a", "B", "8", "-", ".", ",", "/", "^", "*", "%", "$", "`", "```", "(", ")", "[", "]", "{", "}", '"', "\\", ":",
    "|", "_", "'", " ", "\n", "\t", "\r", "\x00", "\x1b", "\x7f", "\u00a0", "\u00ad", "\u200b", "\u200d", "\u202e",
    "\u2066", "\ufeff", "\ud800", "\udfff", "\ue000", "\uffff", "\U0010ffff", "\u0301", "\u3164", "¼", "²", "٣", "८",
    "\uff18", "é", "ß", "ﷺ", "字", "かな", "한글", "слово", "שלום", "مرحبا", "👩‍🚀", "word", "Wort", "und", "or", "1e5",
    "1,000", "3/4", "m/s", "kg", "°C", "\\frac{", "\\boxed{", "\\text{", "\\(", "\\[", "$$", "<think>", "</think>",
    "<answer>", "</answer>", "https://", "null", "NaN", "alarm", "Answer: ",
)  # fmt: skip

TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(alphabet=st.characters(), max_size=100),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.tuples(st.sampled_from(PIECES), st.integers(0, 3000), st.text(max_size=5)).map(lambda t: t[0] * t[1] + t[2]),
)
"""Short ones, and one piece over and over."""


def _to(length: int, piece: str) -> str:
    return piece * (length // len(piece))


LARGE: dict[str, Callable[[], str]] = {
    "1 MB of one letter": lambda: _to(MILLION, "a"),
    "1 MB of words": lambda: _to(MILLION, "word "),
    "1 MB of different words": lambda: " ".join(f"w{n}" for n in range(150_000)),
    "1 MB of sentences": lambda: _to(MILLION, "This is a sentence of some words. Und das ist ein deutscher Satz. "),
    "1 MB of digits": lambda: _to(MILLION, "7"),
    "1 MB of Chinese": lambda: _to(MILLION, "我们先把数相加。"),
    "1 MB of NULs": lambda: _to(MILLION, "\x00"),
    "1 MB of zero-width characters": lambda: _to(MILLION, "\u200b"),
    "1 MB of lone surrogates": lambda: _to(MILLION, "\ud800"),
    "1 MB right to left": lambda: _to(MILLION, "\u202e\u05e9\u05dc\u05d5\u05dd "),
    "1 MB of marks": lambda: _to(MILLION, "e\u0301\u0316"),
    "1 MB of opened formulas": lambda: _to(MILLION, "\\( "),
    "1 MB of fences": lambda: _to(MILLION, "```\n"),
    "1 MB of tags": lambda: _to(MILLION, "<answer>"),
    "1 MB of brackets": lambda: _to(MILLION, "[{("),
    "100,000 newlines": lambda: "\n" * 100_000,
    "100,000 short lines": lambda: "ok so\n" * 100_000,
    "100,000 listed names": lambda: "Ann, " * 100_000,
}
