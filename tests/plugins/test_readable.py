"""Filters that read the thinking: long paragraphs, code, repetition; in English and in Chinese."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.rejection import NoCode, NoLongParagraphs, NoRepetition
from r1_plugins.rejection.repetition import ends_in_loop, repeated_share, words_of
from r1core.components import DataFilter
from r1core.types import Group, Problem, Response, Rollout

PROBLEM = Problem(id="p")


def group(*texts: str, prefilled: str = "") -> Group:
    ids = np.array([1])
    rollouts = tuple(
        Rollout(
            problem=PROBLEM,
            sample=sample,
            prompt_ids=ids,
            completion_ids=ids,
            logprobs=None,
            response=Response.parse(text, prefilled=prefilled),
        )
        for sample, text in enumerate(texts)
    )
    return Group(problem=PROBLEM, rollouts=rollouts)


def judged(kind: type[DataFilter], *texts: str, prefilled: str = "", **options: Any) -> list[str]:
    """The reason of each rejection, `kept` for what is kept."""
    filter_ = kind(kind.Config.model_validate(options))
    assert filter_.needs == frozenset()
    verdicts = filter_.judge(group(*texts, prefilled=prefilled))
    return ["kept" if verdict.keep else verdict.reason for verdict in verdicts]


def thought(thinking: str, answer: str = "8") -> str:
    return f"<think>{thinking}</think><answer>{answer}</answer>"


# --- paragraphs ----------------------------------------------------------------------------------


def test_the_longest_paragraph_decides() -> None:
    texts = [thought("x" * 9 + "\n\n" + "y" * n + "\n \t\nz") for n in (10, 11)]
    assert judged(NoLongParagraphs, *texts, max_chars=10) == ["kept", "long_paragraph"]


def test_one_line_break_ends_no_paragraph_and_windows_ones_count_alike() -> None:
    assert judged(NoLongParagraphs, thought("12345\n67890"), max_chars=10) == ["long_paragraph"]
    assert judged(NoLongParagraphs, thought("12345\r\n\r\n67890"), max_chars=10) == ["kept"]


def test_characters_count_in_any_language_and_the_answer_does_not() -> None:
    texts = [thought("先算" * times) for times in (5, 6)]
    assert judged(NoLongParagraphs, *texts, max_chars=10) == ["kept", "long_paragraph"]
    assert judged(NoLongParagraphs, thought("x", answer="y" * 99), max_chars=10) == ["kept"]


def test_without_a_closed_think_block_all_of_the_text_is_read() -> None:
    assert judged(NoLongParagraphs, "x" * 99, max_chars=50) == ["long_paragraph"]
    assert judged(NoLongParagraphs, "x" * 99, prefilled="<think>", max_chars=50) == ["long_paragraph"]
    assert judged(NoCode, "so ```x``` it", prefilled="<think>") == ["code_block"]


# --- code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "so\n```python\nx = 1\n```\nfine",
        "so ```x = 1``` fine",
        "```\nnever closed",
        "so\n~~~\nx = 1\n~~~",
        "1. so\n   ```\n   x = 1\n   ```",
        "so\n\n    x = 1\n    y = 2\n\nfine",
        "so\n\n\tx = 1\n\n\ty = 2",
        "so\r\n\r\n    x = 1\r\n    y = 2",
        "let me write\ndef f(x):\n    return x",
        "let me write\nclass A:\n    x = 1",
        "for i in range(3):\n    print(i)",
        "int main() {\n    return 0;\n}",
    ],
)
def test_code_blocks_are_found(code: str) -> None:
    assert judged(NoCode, thought(code)) == ["code_block"]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "the `x` of it",
        "so\n\n    3 + 5 = 8\n\nfine",
        "so 3 + 5:\n    that is 8\n    and more",
        "cases:\n\n    - one\n    - two\n    * three\n    1. four\n    (ii) five",
        "1. one\n\n    that goes on\n    and on\n\nso",
        "so ~~ about",
        "一\n二",
    ],
)
def test_words_are_no_code(words: str) -> None:
    assert judged(NoCode, thought(words)) == ["kept"]


def test_code_in_the_answer_is_no_code_in_the_thinking() -> None:
    assert judged(NoCode, thought("so", answer="```x = 1```")) == ["kept"]


def test_how_many_indented_lines_make_code_is_an_option() -> None:
    text = thought("so\n\n    x = 1\n    y = 2\n    z = 3")
    results = [judged(NoCode, text, indented_lines=n) for n in (0, 1, 3, 4)]
    assert results == [["kept"], ["code_block"], ["code_block"], ["kept"]]


def test_a_long_line_is_read_in_no_time() -> None:
    """Quadratic patterns would take minutes here."""
    text = "def f(" + " " * 200_000 + "\n    class A" + " " * 200_000 + "\n    " + ") " * 100_000
    assert judged(NoCode, thought(text)) == ["kept"]


# --- repetition --------------------------------------------------------------------------------------


def prose(words: int, seed: int = 0, alphabet: str = "abcdefghijklmnop") -> str:
    """Random words: nothing comes twice but by chance."""
    source = random.Random(seed)
    return " ".join("".join(source.choices(alphabet, k=6)) for _ in range(words))


def han(count: int, seed: int = 0) -> str:
    source = random.Random(seed)
    return "".join(chr(source.randrange(0x4E00, 0x9FA5)) for _ in range(count))


def test_words_are_words_and_han_characters_are_words_too() -> None:
    assert words_of("Let x2 be 10,000. Let's") == ["let", "x2", "be", "10", ",", "000", ".", "let", "'", "s"]
    assert words_of("先 算3加5") == ["先", "算", "3", "加", "5"]
    assert words_of("naïve ответ ひら") == ["naïve", "ответ", "ひ", "ら"]


def test_what_is_said_once_is_kept() -> None:
    assert judged(NoRepetition, thought(prose(500)), thought(han(500)), thought("")) == ["kept"] * 3


@pytest.mark.parametrize("text", [prose(120), han(120)], ids=["words", "characters"])
def test_what_is_said_twice_is_repetition(text: str) -> None:
    again = f"{text}. {prose(3, seed=9)} {text} {prose(3, seed=8)}"
    assert judged(NoRepetition, thought(again)) == ["repetition"]
    assert judged(NoRepetition, thought(again), max_share=0.5) == ["kept"]


@pytest.mark.parametrize("loop", ["wait, let me check again. ", "等一下 我 再 算 一遍 。 ", "1 2 3 4 5 "])
def test_an_end_that_loops_is_found_even_cut_short(loop: str) -> None:
    text = prose(300) + " " + (loop * 6)[:-3]
    assert judged(NoRepetition, thought(text), max_share=1.0) == ["loop"]
    assert judged(NoRepetition, text, prefilled="<think>", max_share=1.0) == ["loop"]
    assert judged(NoRepetition, thought(text), loops=8, max_share=1.0) == ["kept"]


def test_a_loop_in_the_answer_counts_and_a_few_signs_are_none() -> None:
    assert judged(NoRepetition, thought("so", answer="8 " * 40)) == ["loop"]
    assert judged(NoRepetition, thought("so !!!!!! ......")) == ["kept"]


@given(
    head=st.lists(st.sampled_from("abc"), max_size=12),
    unit=st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    times=st.integers(1, 6),
    cut=st.integers(0, 3),
    loops=st.integers(2, 5),
    least=st.integers(1, 12),
)
def test_a_loop_is_just_what_a_slow_search_finds(
    head: list[str], unit: list[str], times: int, cut: int, loops: int, least: int
) -> None:
    words = head + (unit * times)[: len(unit) * times - cut]
    slow = any(
        all(words[i] == words[i - period] for i in range(len(words) - size + period, len(words)))
        for size in range(max(least, 2), len(words) + 1)
        for period in range(1, size // loops + 1)
    )
    assert ends_in_loop(words, least=least, loops=loops) == slow


@given(st.lists(st.sampled_from("ab"), max_size=30), st.integers(1, 6))
def test_the_share_lies_between_none_and_all_but_one(words: list[str], n: int) -> None:
    share = repeated_share(words, n)
    assert 0 <= share < 1
    assert repeated_share(words + words, n) >= share


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (NoLongParagraphs, {"max_chars": 0}),
        (NoCode, {"indented_lines": -1}),
        (NoRepetition, {"n": 0}),
        (NoRepetition, {"max_share": 1.1}),
        (NoRepetition, {"loops": 1}),
    ],
)
def test_options_that_make_no_sense_are_refused(kind: type[DataFilter], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.Config.model_validate(options)
