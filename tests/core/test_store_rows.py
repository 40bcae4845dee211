"""Rows: what goes in comes out, the same rows are the same bytes, and damage is noticed."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core.errors import SetupError
from r1core.store import problem_of, read_rows, rollout_row, write_rows
from r1core.types import Problem, Response, Rollout, Score, Verdict

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def row(*, text="<think>a</think><answer>4</answer>", score=None, reference="4", meta=None, sample=0, **given):
    problem = Problem(
        id="p1", messages=({"role": "user", "content": "2+2?"},), reference=reference, language="zh", meta=meta or {}
    )
    rollout = Rollout(
        problem=problem,
        sample=sample,
        prompt_ids=np.arange(3),
        completion_ids=np.arange(5),
        logprobs=None,
        response=Response.parse(text, **given),
    )
    return rollout_row(rollout, score, Verdict(keep=True, reason="kept"))


def test_a_rollout_comes_back_as_it_went_in(tmp_path):
    score = Score(value=1.5, reason="correct", parts={"accuracy": 1.0, "format": 0.5})
    rows = [row(score=score), row(text="a</think>4", sample=1, finish="length", prefilled="<think>")]
    write_rows(tmp_path, rows)
    first, second = read_rows(tmp_path)
    assert first == rows[0]
    assert (first["thinking"], first["answer"], first["tokens"], first["keep"]) == ("a", "4", 5, True)
    assert (first["score"], first["status"], first["score_reason"]) == (1.5, "verdict", "correct")
    assert (first["parts"], first["reason"]) == ({"accuracy": 1.0, "format": 0.5}, "kept")
    assert (second["finish"], second["prefilled"], second["status"]) == ("length", "<think>", None)
    assert math.isnan(second["score"])


def test_some_columns_can_be_read_alone(tmp_path):
    write_rows(tmp_path, [row(score=Score(value=1.0, parts={"accuracy": 1.0}))])
    (found,) = read_rows(tmp_path, ("parts", "tokens"))
    assert found == {"parts": {"accuracy": 1.0}, "tokens": 5}


def test_an_unknown_score_stays_unknown(tmp_path):
    score = Score(value=math.nan, status="infrastructure", reason="down", parts={"judge": math.nan, "format": 1.0})
    write_rows(tmp_path, [row(score=score)])
    (found,) = read_rows(tmp_path)
    assert math.isnan(found["score"])
    assert math.isnan(found["parts"]["judge"])
    assert (found["parts"]["format"], found["status"]) == (1.0, "infrastructure")


def test_a_row_becomes_a_problem_to_learn_from(tmp_path):
    write_rows(tmp_path, [row(meta={"level": 3}), row(finish="length")])
    found, cut = map(problem_of, read_rows(tmp_path))
    assert (found.finish, cut.finish) == ("stop", "length")
    assert found == Problem(
        id="p1",
        messages=({"role": "user", "content": "2+2?"},),
        reference="4",
        language="zh",
        meta={"level": 3},
        completion="<think>a</think><answer>4</answer>",
        prefilled="",
    )


@settings(max_examples=30, deadline=None)
@given(reference=JSON, meta=st.dictionaries(st.text("ab", max_size=3), JSON, max_size=2))
def test_any_json_comes_back(tmp_path_factory, reference, meta):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, [row(reference=reference, meta=meta)])
    (found,) = read_rows(folder)
    assert (found["reference"], found["meta"]) == (reference, meta)


def test_half_a_surrogate_pair_does_not_lose_the_part(tmp_path):
    write_rows(tmp_path, [row(text="x\ud800y", reference={"a": "\udfff"})])
    (found,) = read_rows(tmp_path)
    assert found["text"] == "x?y"


def test_parts_are_read_in_order_and_the_same_rows_are_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        for part in (2, 0, 1):
            write_rows(tmp_path / folder, [row(sample=part * 2000 + k) for k in range(1500)], part=part)
    one, two = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in one] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    samples = [found["sample"] for found in read_rows(tmp_path / "one")]
    assert samples == sorted(samples)
    assert len(samples) == 4500


def test_a_part_may_be_empty(tmp_path):
    write_rows(tmp_path, [])
    assert list(read_rows(tmp_path)) == []


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1PAR1", None])
def test_a_damaged_part_is_a_setup_error_with_its_path(tmp_path, content):
    path = write_rows(tmp_path, [row(sample=k) for k in range(200)])
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(SetupError, match=r"part-00000\.parquet"):
        list(read_rows(tmp_path))


def test_a_flipped_bit_in_a_score_is_noticed(tmp_path):
    path = write_rows(tmp_path, [row(sample=k, score=Score(value=math.sin(k))) for k in range(50)])
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<d", math.sin(3)))] ^= 1
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"part-00000\.parquet"):
        list(read_rows(tmp_path))


def test_a_folder_without_rows_is_a_setup_error(tmp_path):
    with pytest.raises(SetupError, match="no rows"):
        list(read_rows(tmp_path))


def test_a_row_without_a_column_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(KeyError, match="text"):
        write_rows(tmp_path, [{key: value for key, value in row().items() if key != "text"}])
    assert list(tmp_path.iterdir()) == []
