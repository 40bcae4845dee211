"""`jsonl`: rows become problems with stable ids; every bad row is named with its line before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1_plugins.datasets import Jsonl, r1_sources
from r1core.errors import RecipeError
from r1core.types import Problem


def read(path: Path, **options: Any) -> list[Problem]:
    return list(Jsonl(Jsonl.Config.model_validate({"path": str(path), **options})).problems(seed=0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def fill(file: Path, *rows: Any) -> Path:
    """Rows as JSON; a string is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def refused(file: Path, *rows: Any, **options: Any) -> str:
    fill(file, *rows)
    with pytest.raises(RecipeError) as caught:
        read(file, **options)
    return str(caught.value)


def test_the_module_registers_its_sources() -> None:
    assert [source.name for source in r1_sources()] == ["jsonl", "parquet", "datasets", "from_data"]


def test_a_row_becomes_a_problem(file: Path) -> None:
    row = {"id": 7, "prompt": "算 3", "reference": ["3", "三"], "domain": "arith", "language": "zh", "level": 2}
    assert read(fill(file, row)) == [
        Problem(
            id="7",
            messages=({"role": "user", "content": "算 3"},),
            reference=["3", "三"],
            domain="arith",
            language="zh",
            meta={"level": 2},
        )
    ]


def test_only_the_prompt_is_required(file: Path) -> None:
    (problem,) = read(fill(file, {"prompt": "hello"}))
    assert (problem.reference, problem.domain, problem.language, problem.completion) == (None, "reasoning", "en", None)


def test_fields_can_have_other_names(file: Path) -> None:
    row = {"q": "hello", "gold": 4, "text": "<think></think>4", "topic": "maths", "lang": "zh"}
    names = {"prompt": "q", "reference": "gold", "completion": "text", "domain": "topic", "language": "lang"}
    (problem,) = read(fill(file, row), **names)
    assert (problem.question, problem.reference, problem.completion) == ("hello", 4, "<think></think>4")
    assert (problem.domain, problem.language, problem.meta) == ("maths", "zh", {})


def test_a_prompt_can_be_a_conversation(file: Path) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<think> so"}]
    (problem,) = read(fill(file, {"prompt": messages}))
    assert list(problem.messages) == messages


def test_order_is_kept_and_blank_lines_are_skipped(file: Path) -> None:
    fill(file, {"prompt": "b"}, "", "   ", {"prompt": "a"})
    assert [problem.question for problem in read(file)] == ["b", "a"]


def test_ids_made_from_rows_are_stable_and_differ_for_equal_prompts(file: Path) -> None:
    fill(file, {"prompt": "same"}, {"prompt": "same"})
    first = [problem.id for problem in read(file)]
    assert first == [problem.id for problem in read(file)]
    assert len(set(first)) == 2
    fill(file, {"prompt": "same", "level": 1}, {"prompt": "other"})
    again = [problem.id for problem in read(file)]
    assert again[0] == first[0]
    assert again[1] != first[1]


def test_every_bad_row_is_named_in_one_error(file: Path) -> None:
    said = refused(file, {"prompt": "fine"}, "{oops", ["a list"], {"question": "x"}, {"prompt": 3})
    assert f"{file}:2:1: not JSON" in said
    assert f"{file}:3:1: expected a JSON object, got list" in said
    assert f'{file}:4:1: no field \'prompt\'; got question; expected {{"prompt": "...", "reference": ...}}' in said
    assert f"{file}:5:1: field 'prompt' must be text, got 3" in said
    assert "4 errors" in said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": ""}, "'prompt' must be text"),
        ({"prompt": []}, "empty list of messages"),
        ({"prompt": [{"role": "user"}]}, '{"role": "...", "content": "..."}'),
        ({"prompt": ["hi"]}, '{"role": "...", "content": "..."}'),
        ({"prompt": "x", "domain": 3}, "'domain' must be text, got 3"),
        ({"prompt": "x", "language": None}, "'language' must be text, got null"),
        ({"prompt": "x", "id": True}, "'id' must be text or a whole number"),
    ],
)
def test_a_wrong_shape_is_said(file: Path, row: dict[str, Any], said: str) -> None:
    assert said in refused(file, row)


def test_a_completion_that_was_asked_for_must_be_there(file: Path) -> None:
    said = refused(file, {"prompt": "x"}, {"prompt": "y", "text": 4}, completion="text")
    assert '1:1: no field \'text\'; got prompt; expected {"prompt": "...", "reference": ..., "text": "..."}' in said
    assert "2:1: field 'text' must be text, got 4" in said


def test_ids_must_be_unique(file: Path) -> None:
    said = refused(file, {"id": "a", "prompt": "x"}, {"prompt": "y"}, {"id": "a", "prompt": "z"})
    assert "3:1: id 'a' is taken by line 1" in said


def test_an_error_stays_readable_when_every_row_is_bad(file: Path) -> None:
    assert "20 errors" in refused(file, *["no"] * 500)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.jsonl.*No such file"):
        read(tmp_path / "nowhere.jsonl")


def test_a_bad_last_row_is_found_before_the_first_problem_is_given_out(file: Path) -> None:
    fill(file, {"prompt": "fine"}, {"wrong": 1})
    with pytest.raises(RecipeError):
        Jsonl(Jsonl.Config(path=str(file))).problems(seed=0)


@given(prompts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5))
def test_any_text_comes_back_unchanged(tmp_path_factory: pytest.TempPathFactory, prompts: list[str]) -> None:
    file = tmp_path_factory.mktemp("data") / "data.jsonl"
    file.write_bytes(b"".join(json.dumps({"prompt": p}, ensure_ascii=False).encode() + b"\n" for p in prompts))
    assert [problem.question for problem in read(file)] == prompts


def test_a_file_that_is_not_utf8_is_refused_and_a_byte_order_mark_is_not(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "x"}\n')
    assert [problem.question for problem in read(file)] == ["x"]
    file.write_bytes(b'{"prompt": "caf\xe9"}\n')
    with pytest.raises(RecipeError, match=r":1:1: not UTF-8 at byte 16"):
        read(file)
