"""Problems that an evaluation set has, too, are left out and told; others stay, whatever language they are in."""

# ruff: noqa: RUF001 - full-width signs are meant

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.datasets import Jsonl
from r1_plugins.datasets.decontamination import Grams
from r1core.errors import RecipeError
from r1core.ngrams import hashes_of, words_of
from r1core.types import Problem

SPOKEN = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
HAN = "小明有四十八个苹果他把一半分给了朋友还剩下多少个苹果"


def asked(text: str) -> Problem:
    return Problem(id="x", messages=({"role": "user", "content": text},))


def shared(evaluation: str, training: str, n: int = 10) -> str | None:
    """The n-gram in common."""
    found = Grams([("test.jsonl", evaluation)], n=n).shared(asked(training))
    return None if found is None else found.gram


# --- what counts as the same -----------------------------------------------------------------------


def test_ten_words_in_a_row_are_found_whatever_stands_around_them() -> None:
    quoted = "Once upon a time " + " ".join(SPOKEN.split()[3:13]) + " nobody knew why."
    assert shared(SPOKEN, quoted) == "to 48 of her friends in april and then she"


def test_nine_words_in_a_row_are_not_ten() -> None:
    quoted = "Once upon a time " + " ".join(SPOKEN.split()[3:12]) + " nobody knew why."
    assert shared(SPOKEN, quoted) is None
    assert shared(SPOKEN, quoted, n=9) is not None


def test_case_punctuation_width_and_line_breaks_do_not_hide_them() -> None:
    assert shared(SPOKEN, SPOKEN.upper().replace(" ", "\n-- ").replace("48", "４８")) is not None


def test_the_order_of_the_words_counts() -> None:
    assert shared(SPOKEN, " ".join(reversed(SPOKEN.split()))) is None


def test_a_short_question_is_compared_whole() -> None:
    assert shared("What is 2 + 2?", "what is 2 * 2") == "what is 2 2"
    assert shared("What is 2 + 2?", "Please say: what is 2 + 2?") is None
    assert shared("Please say: what is 2 + 2, and why do you think so?", "What is 2 + 2?") is None


@pytest.mark.parametrize(
    ("evaluation", "training"),
    [
        (HAN, "请问：" + HAN[5:17] + "？"),
        ("りんごが四十八個あります。半分を友だちにあげました。", "りんごが四十八個あります、と言いました"),
        ("사과가마흔여덟개있습니다반을친구에게주었습니다", "사과가 마흔여덟 개 있습니다"),
        ("มีแอปเปิ้ลสี่สิบแปดลูกแบ่งให้เพื่อนครึ่งหนึ่ง", "เขามีแอปเปิ้ลสี่สิบแปดลูก"),
    ],
)
def test_where_words_are_not_spaced_each_character_is_one(evaluation: str, training: str) -> None:
    assert shared(evaluation, training) is not None
    assert shared(evaluation, training[:6]) is None


def test_words_of_mixed_text() -> None:
    assert words_of("Solve x_1 + 2x = 5！求x的值") == ["solve", "x", "1", "2x", "5", "求", "x", "的", "值"]


@given(
    before=st.lists(st.sampled_from("abcdefg"), max_size=30),
    after=st.lists(st.sampled_from("abcdefg"), max_size=30),
    n=st.integers(2, 8),
)
def test_hashes_meet_exactly_where_words_do(before: list[str], after: list[str], n: int) -> None:
    def grams(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + n]) for i in range(max(len(words) - n, 0) + 1)} - {()}

    alike = bool(grams(before) & grams(after))
    assert alike == bool(set(hashes_of(before, n).tolist()) & set(hashes_of(after, n).tolist()))


def test_only_hashes_are_kept() -> None:
    texts = [("a.jsonl", " ".join(f"w{(7 * i + j) % 9973}" for j in range(50))) for i in range(400)]
    grams = Grams(texts, n=10)
    distinct = {tuple(words_of(text)[i : i + 10]) for _, text in texts for i in range(41)}
    assert grams.nbytes == 8 * len(distinct)
    assert np.all(np.diff(grams._known[0].astype(object)) > 0)


# --- in a recipe -----------------------------------------------------------------------------------


def write(path: Path, *prompts: Any, name: str = "prompt") -> Path:
    path.write_text("".join(json.dumps({name: prompt}, ensure_ascii=False) + "\n" for prompt in prompts))
    return path


def source(path: Path, *against: Any, **options: Any) -> Jsonl:
    given = {"against": [str(one) if isinstance(one, Path) else one for one in against], **options}
    return Jsonl(Jsonl.Config.model_validate({"path": str(path), "decontaminate": given}))


def test_rows_are_left_out_and_told_with_the_words_once(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", "what is left", SPOKEN, HAN, "What else is left?")
    test = write(tmp_path / "test.jsonl", "Hark! " + SPOKEN, HAN[3:], name="question")
    opened, told = source(train, {"path": str(test), "prompt": "question"}), []
    opened.listener = told.append
    for _ in range(2):
        assert [p.question for p in opened.problems(seed=0)] == ["what is left", "What else is left?"]
    assert told == [
        "2 of 4 rows share 10 words in a row with an evaluation set:\n"
        "  line 2: 'natalia sold clips to 48 of her friends in april' (test.jsonl)\n"
        "  line 3: '四 十 八 个 苹 果 他 把 一 半' (test.jsonl)"
    ]
    assert opened.where(1) == f"{train}:4:1"


def test_several_sets_are_read_and_the_one_that_has_it_is_named(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", SPOKEN, "stays")
    first, second = write(tmp_path / "first.jsonl", "nothing"), write(tmp_path / "second.jsonl", SPOKEN)
    opened, told = source(train, first, second, ngram=13), []
    opened.listener = told.append
    assert len(list(opened.problems(seed=0))) == 1
    assert "(second.jsonl)" in told[0]


def test_conversations_are_compared_by_what_the_user_says(tmp_path: Path) -> None:
    system, user = {"role": "system", "content": SPOKEN}, {"role": "user", "content": "Fine. " + HAN}
    train = write(tmp_path / "train.jsonl", [system, {"role": "user", "content": "stays"}], [system, user])
    test = write(tmp_path / "test.jsonl", [system, user])
    (left,) = source(train, test).problems(seed=0)
    assert left.question == "stays"


def test_a_parquet_file_may_be_the_evaluation_set(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{"prompt": SPOKEN}]), tmp_path / "test.parquet")
    train = write(tmp_path / "train.jsonl", SPOKEN, "stays")
    assert len(list(source(train, tmp_path / "test.parquet").problems(seed=0))) == 1


def test_a_set_that_has_everything_is_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", SPOKEN)
    with pytest.raises(RecipeError, match=r"every row has 10 words in a row .*natalia.* of train\.jsonl"):
        source(train, train).problems(seed=0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "has no questions"),
        ('{"question": "x"}', "row 1: no field 'prompt'"),
        ('{"prompt": "x"}\n{"prompt": 3}', "row 2: field 'prompt' is no text"),
        ("{oops", "row 1: not JSON"),
    ],
)
def test_an_evaluation_set_that_cannot_be_compared_with_is_refused(rows: str, said: str, tmp_path: Path) -> None:
    train, test = write(tmp_path / "train.jsonl", "x"), tmp_path / "test.jsonl"
    test.write_text(rows)
    with pytest.raises(RecipeError, match=said):
        source(train, test).problems(seed=0)


def test_a_missing_evaluation_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"decontaminate: cannot read .*nowhere\.jsonl"):
        source(write(tmp_path / "train.jsonl", "x"), tmp_path / "nowhere.jsonl").problems(seed=0)


@pytest.mark.parametrize("options", [{"against": []}, {"against": ["x.jsonl"], "ngram": 1}, {"ngram": 10}])
def test_slips_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Jsonl.Config.model_validate({"path": "x", "decontaminate": options})
