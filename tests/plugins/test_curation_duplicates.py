"""Texts that are the same, and nearly the same: what is found, what is not, and that nothing is forgotten."""

# ruff: noqa: RUF001 - full-width letters are meant

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_traces import group, reasons, words

from r1_plugins.curation import NoDuplicates
from r1_plugins.curation.index import Index
from r1_plugins.curation.sketches import Sketches, alike, band_width, keys_of, sketches_of
from r1core.ngrams import hashes_of


def filter_of(**options: Any) -> NoDuplicates:
    return NoDuplicates(NoDuplicates.Config.model_validate(options))


# --- exact -----------------------------------------------------------------------------------------


def test_the_first_stays_and_the_others_say_whose_double_they_are() -> None:
    judge = filter_of()
    assert reasons(judge, group("say 8", "say 9", "SAY  8\n", name="a")) == ["kept", "kept", "duplicate (of a.0)"]
    assert reasons(judge, group("say 10", "ｓａｙ 9", name="b")) == ["kept", "duplicate (of a.1)"]


def test_signs_tell_exact_texts_apart() -> None:
    assert reasons(filter_of(), group("x + 1", "x - 1", "x+1")) == ["kept"] * 3


def test_a_part_is_compared_and_what_lacks_it_is_no_double() -> None:
    texts = group("<think>a</think> 8", "<think>b</think> 8", "eight", "eight")
    assert reasons(filter_of(of="answer"), texts) == ["kept", "duplicate (of p.0)", "kept", "kept"]
    assert reasons(filter_of(of="thinking"), texts) == ["kept"] * 4


def test_the_scope_of_a_problem_forgets_the_others() -> None:
    judge = filter_of(scope="problem")
    assert reasons(judge, group("8", "8", name="a")) == ["kept", "duplicate (of a.0)"]
    assert reasons(judge, group("8", name="b")) == ["kept"]
    assert judge.learned() == b""


def test_of_one_question_all_answers_stay_or_go() -> None:
    judge = filter_of(of="question")
    assert reasons(judge, group("8", "8", name="a")) == ["kept", "kept"]
    assert reasons(judge, group("7", "6", name="A")) == ["duplicate (of a)"] * 2


@given(st.lists(st.text(alphabet="ab \n", max_size=6), min_size=1, max_size=12))
def test_what_stays_is_each_text_once_whatever_its_case_and_space(texts: list[str]) -> None:
    said = reasons(filter_of(), group(*(text.upper() if i % 2 else text for i, text in enumerate(texts))))
    normal = [" ".join(text.split()) for text in texts]
    for place, (text, reason) in enumerate(zip(normal, said, strict=True)):
        first = not text or text not in normal[:place]
        assert (reason == "kept") == first
        assert first or reason == f"duplicate (of p.{normal.index(text)})"


# --- near ------------------------------------------------------------------------------------------


def changed(text: list[str], count: int, seed: str) -> list[str]:
    """The text with so many words replaced, far from each other: each takes five n-grams with it."""
    found = list(text)
    for number in range(count):
        found[10 + 10 * number] = f"new{seed}{number}"
    return found


def similarity(text: list[str], other: list[str]) -> float:
    one, two = (set(hashes_of(each, 5).tolist()) for each in (text, other))
    return len(one & two) / len(one | two)


def test_texts_that_are_much_alike_are_found_and_others_not() -> None:
    texts = [words(200, f"text {i}") for i in range(40)]
    near = [changed(text, 2, "near") for text in texts]  # 0.90 alike
    far = [changed(text, 12, "far") for text in texts]  # 0.53 alike
    assert {round(similarity(a, b), 2) for a, b in zip(texts, near, strict=True)} == {0.9}
    assert {round(similarity(a, b), 2) for a, b in zip(texts, far, strict=True)} == {0.53}
    judge = filter_of(similarity=0.75)
    assert reasons(judge, group(*map(" ".join, texts), name="first")) == ["kept"] * 40
    assert reasons(judge, group(*map(" ".join, far), name="far")) == ["kept"] * 40
    said = reasons(judge, group(*map(" ".join, near), name="near"))
    assert [why.partition(",")[0] for why in said] == [f"near_duplicate (of first.{i}" for i in range(40)]


def test_near_is_off_unless_it_is_asked_for() -> None:
    text = words(200, "text")
    assert reasons(filter_of(), group(" ".join(text), " ".join(changed(text, 1, "x")))) == ["kept", "kept"]


def test_short_and_empty_texts_are_compared_whole() -> None:
    said = reasons(
        filter_of(similarity=0.5), group("two words", "TWO  words", "", "", "two other", "5", "-5", "{}", "∅")
    )
    assert said == ["kept", "duplicate (of p.0)", *["kept"] * 7]


def test_the_estimate_is_unbiased_and_as_sure_as_it_says() -> None:
    texts = [words(200, f"estimate {i}") for i in range(100)]
    others = [changed(text, 4, "e") for text in texts]
    one, two = (sketches_of([hashes_of(each, 5) for each in side], 128) for side in (texts, others))
    errors = [alike(a, b[None])[0] - similarity(s, t) for a, b, s, t in zip(one, two, texts, others, strict=True)]
    assert abs(np.mean(errors)) < 4 * 0.035 / 10  # 100 of them
    assert 0.02 < np.std(errors) < 0.05
    unlike = [alike(a, b[None])[0] for a, b in pairwise(one)]
    assert abs(np.mean(unlike)) < 0.005


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_miss_few_of_what_is_as_alike_as_is_asked_for(wanted: float) -> None:
    width, draw = band_width(wanted, 128), np.random.default_rng(7)
    assert 1 <= width <= 8
    one = draw.integers(0, 256, (4000, 128), dtype=np.uint8)
    same = draw.random((4000, 128)) < wanted
    two = np.where(same, one, draw.integers(0, 256, (4000, 128), dtype=np.uint8))
    met = (keys_of(one, width) == keys_of(two, width)).any(axis=1).mean()
    assert met > 0.985
    if wanted >= 0.5:  # below, a wider band would miss too many, and what is looked at in vain is all of it
        unlike = (keys_of(one, width) == keys_of(np.roll(two, 1, axis=0), width)).any(axis=1).mean()
        assert unlike < 0.01


def test_the_same_bytes_in_another_band_are_another_key() -> None:
    keys = keys_of(np.tile(np.arange(4, dtype=np.uint8), (1, 4)), 4)
    assert len(set(keys[0].tolist())) == 4


# --- memory ----------------------------------------------------------------------------------------


def test_pieces_bring_back_all_that_was_learned() -> None:
    draw, texts = Random(3), [words(60, f"m {i}") for i in range(60)]
    later = [changed(text, draw.randrange(3), "m") for text in texts]
    groups = [group(*map(" ".join, side[i : i + 5]), name=f"{n}.{i}") for i in range(0, 60, 5) for n, side in
              enumerate((texts, later))]  # fmt: skip
    unbroken, pieces = filter_of(similarity=0.6), []
    expected = []
    for each in groups:
        expected.append(reasons(unbroken, each))
        pieces.append(unbroken.learned())
    assert sum(why != "kept" for said in expected for why in said) > 20
    for stop in range(len(groups)):
        resumed = filter_of(similarity=0.6)
        for piece in filter(None, pieces[:stop]):
            resumed.relearn(piece)
        assert reasons(resumed, groups[stop]) == expected[stop]
        assert resumed.learned() == pieces[stop]


def test_a_piece_holds_what_is_new_and_nothing_else() -> None:
    judge = filter_of(similarity=0.8)
    judge.judge(group(" ".join(words(50, "a")), name="a"))
    first = judge.learned()
    assert len(first) == len(b'["a.0"]\n') + 8 + 128
    assert judge.learned() == b""
    judge.judge(group(" ".join(words(50, "a")), name="b"))
    assert judge.learned() == b""  # it did not stay


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=120), st.integers(1, 8), st.integers(4, 64))
def test_what_an_index_finds_does_not_depend_on_its_blocks(
    entries: list[tuple[int, int]], waiting: int, largest: int
) -> None:
    index, known = Index(waiting=waiting, largest=largest), dict[int, set[int]]()
    for key, row in entries:
        index.add(np.array([key], dtype=np.uint64), row)
        known.setdefault(key, set()).add(row)
    for keys in ([0], [3, 7], list(range(51))):
        wanted = sorted(set().union(*(known.get(key, set()) for key in keys)))
        assert index.find(np.array(keys, dtype=np.uint64)).tolist() == wanted


def test_an_index_of_many_keys_takes_twelve_bytes_each() -> None:
    index, draw = Index(), np.random.default_rng(0)
    for start in range(0, 20_000, 1000):
        keys = draw.integers(0, 2**63, (1000, 21), dtype=np.uint64)
        index.add_all(keys.ravel(), np.repeat(np.arange(start, start + 1000, dtype=np.uint32), 21))
    assert index.nbytes == 12 * 21 * 20_000


def test_sketches_are_found_by_their_numbers_over_blocks() -> None:
    sketches, rows = Sketches(16), np.random.default_rng(1).integers(0, 256, (150_000, 16), dtype=np.uint8)
    sketches.add(rows[:70_000])
    sketches.add(rows[70_000:])
    wanted = np.array([149_999, 0, 65_535, 65_536, 131_072], dtype=np.uint32)
    assert len(sketches) == 150_000
    assert (sketches.of(wanted) == rows[wanted]).all()
