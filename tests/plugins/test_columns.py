"""One mapping for all sources of rows: JSONL, parquet and `datasets` say the same of the same rows."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.datasets import Datasets, Jsonl, Parquet
from r1_plugins.datasets.columns import after_hashes, last_box
from r1core.components import ProblemSource
from r1core.errors import RecipeError, SetupError
from r1core.types import Problem

SOURCES: list[type[ProblemSource]] = [Jsonl, Parquet, Datasets]
ROWS: list[dict[str, Any]] = [
    {"id": "a", "ask": "2 + 2?", "extra": {"gold": "4", "by": "me"}, "options": ["3", "4"], "level": 1},
    {"id": "b", "ask": "3 + 3?", "extra": {"gold": "6", "by": "you"}, "options": ["6", "7"], "level": 2},
]


def write(kind: type[ProblemSource], folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in a file of the source's kind."""
    if kind is Jsonl:
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path if kind is Parquet else folder


def opened(kind: type[ProblemSource], path: Path, **options: Any) -> ProblemSource:
    return kind(kind.Config.model_validate({"path": str(path), **options}))


def read(kind: type[ProblemSource], path: Path, **options: Any) -> list[Problem]:
    return list(opened(kind, path, **options).problems(seed=0))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library `datasets` keeps what it has read outside the tests' folders otherwise."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


# --- columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SOURCES)
def test_all_sources_read_the_same_problems(kind: type[ProblemSource], tmp_path: Path) -> None:
    path = write(kind, tmp_path, ROWS)
    first, second = read(kind, path, prompt="ask", reference="extra.gold", domain="extra.by")
    assert (first.question, first.reference, first.domain, first.id) == ("2 + 2?", "4", "me", "a")
    assert (second.question, second.reference, second.domain, second.id) == ("3 + 3?", "6", "you", "b")
    assert first.meta == {"extra": ROWS[0]["extra"], "options": ["3", "4"], "level": 1}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_template_builds_the_prompt_of_columns(kind: type[ProblemSource], tmp_path: Path) -> None:
    path = write(kind, tmp_path, ROWS)
    (first, _) = read(kind, path, template="{{level}} {level}: {ask}\n{options}", reference="extra.gold")
    assert first.question == "{level} 1: 2 + 2?\n3\n4"
    assert first.meta == {"extra": ROWS[0]["extra"]}


@pytest.mark.parametrize("kind", SOURCES)
def test_messages_are_read_and_other_keys_of_theirs_are_not(kind: type[ProblemSource], tmp_path: Path) -> None:
    said = [{"role": "system", "content": "Be brief.", "name": "x"}, {"role": "user", "content": "hi", "name": "y"}]
    (problem,) = read(kind, write(kind, tmp_path, [{"prompt": said}]))
    assert list(problem.messages) == [{"role": m["role"], "content": m["content"]} for m in said]


@pytest.mark.parametrize("kind", SOURCES)
def test_nested_columns_are_walked_into(kind: type[ProblemSource], tmp_path: Path) -> None:
    rows = [{"turns": [{"text": "hi"}, {"text": "hello"}]}]
    (problem,) = read(kind, write(kind, tmp_path, rows), prompt="turns.0.text", completion="turns.1.text")
    assert (problem.question, problem.completion) == ("hi", "hello")


def test_a_column_whose_own_name_has_dots_comes_first(tmp_path: Path) -> None:
    (problem,) = read(Jsonl, write(Jsonl, tmp_path, [{"a.b": "dotted", "a": {"b": "nested"}}]), prompt="a.b")
    assert problem.question == "dotted"


@pytest.mark.parametrize("template", ["no column", "{}", "{a!r}", "{a:>3}", "{a"])
def test_a_template_that_is_more_or_less_than_names_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match=r"template|brace"):
        Jsonl.Config(path="x", template=template)


# --- references ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3 and 4 are 7.\n#### 7", "7"),
        ("#### 1,234", "1234"),
        ("#### -12,345.50", "-12345.50"),
        ("#### 1,2", "1,2"),
        ("a #### 1 #### 2", "2"),
    ],
)
def test_the_answer_behind_hashes(text: str, found: str) -> None:
    assert after_hashes(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"So $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed 5", "5"),
        (r"\fbox{x}", "x"),
        (r"\boxed{}", ""),
    ],
)
def test_what_the_last_box_holds(text: str, found: str) -> None:
    assert last_box(text) == found


@given(st.text(st.characters(exclude_characters="{}\\", exclude_categories=["Cs"])))
def test_any_text_comes_out_of_its_box(text: str) -> None:
    assert last_box(r"\boxed{0} \boxed{" + text + "}.") == text.strip()


@pytest.mark.parametrize(
    ("part", "reference", "said"),
    [
        ("after_hashes", "seven", 'has no "####"'),
        ("last_box", "seven", r"has no \boxed{}"),
        ("last_box", r"\boxed{7", "never closed"),
        ("last_box", r"\boxed{ }", "nothing where `last_box` looks"),
        ("last_box", 7, "must be text, got 7"),
    ],
)
def test_a_reference_without_the_part_is_a_wrong_row(part: str, reference: Any, said: str, tmp_path: Path) -> None:
    path = write(Jsonl, tmp_path, [{"prompt": "x", "reference": "#### 7"}, {"prompt": "x", "reference": reference}])
    with pytest.raises(RecipeError) as caught:
        read(Jsonl, path, reference_from=part)
    assert f"{path}:2:1" in str(caught.value)
    assert said in str(caught.value)


# --- rows that are wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "place"), [(Parquet, "rows.parquet, row 2"), (Datasets, "[train], row 2")])
def test_a_wrong_row_is_named(kind: type[ProblemSource], place: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path, [{"prompt": "x"}, {"prompt": ""}, {"prompt": None}])
    with pytest.raises(RecipeError) as caught:
        read(kind, path)
    assert f"{place}: field 'prompt' must be text, got \"\"" in str(caught.value)
    assert "row 3: field 'prompt' must be text, got null" in str(caught.value)
    assert "2 errors" in str(caught.value)


@pytest.mark.parametrize("kind", SOURCES)
def test_twenty_wrong_rows_are_shown_and_the_others_counted(kind: type[ProblemSource], tmp_path: Path) -> None:
    path = write(kind, tmp_path, [{"prompt": ""}] * 50)
    with pytest.raises(RecipeError) as caught:
        read(kind, path)
    assert str(caught.value).count("must be text") == 20
    assert "20 errors, and 30 more wrong rows" in str(caught.value)


@pytest.mark.parametrize(("kind", "place"), [(Jsonl, "line 1"), (Parquet, "row 1"), (Datasets, "row 1")])
def test_an_id_that_comes_twice_is_named_with_both_rows(kind: type[ProblemSource], place: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path, [{"key": 7, "prompt": "x"}, {"key": 7, "prompt": "y"}])
    with pytest.raises(RecipeError, match=f"id '7' is taken by {place}"):
        read(kind, path, id="key")


@pytest.mark.parametrize(
    ("kind", "place"), [(Jsonl, "rows.jsonl:2:1"), (Parquet, "rows.parquet, row 2"), (Datasets, "[train], row 2")]
)
def test_a_problem_is_found_again_by_its_number(kind: type[ProblemSource], place: str, tmp_path: Path) -> None:
    source = opened(kind, write(kind, tmp_path, ROWS), prompt="ask")
    assert source.where(1).endswith(place)
    assert source.where(7) == "problem 8"
    assert not source.endless


# --- kinds of files ----------------------------------------------------------------------------------


def test_typed_columns_become_json(tmp_path: Path) -> None:
    row = {"prompt": "x", "day": datetime.date(2024, 2, 29), "share": float("nan"), "image": b"\x00", "none": None}
    (problem,) = read(Parquet, write(Parquet, tmp_path, [row]))
    assert problem.meta == {"day": "2024-02-29", "share": None, "none": None}


def test_a_folder_of_parts_is_read_by_name(tmp_path: Path) -> None:
    for number in (1, 0):
        pq.write_table(pa.Table.from_pylist([{"prompt": f"part {number}"}]), tmp_path / f"part-{number}.parquet")
    assert [problem.question for problem in read(Parquet, tmp_path)] == ["part 0", "part 1"]
    assert opened(Parquet, tmp_path).where(1).endswith("row 2")


@pytest.mark.parametrize("split", ["train", None])
def test_a_saved_data_set_is_read_with_or_without_splits(tmp_path: Path, split: str | None) -> None:
    import datasets

    found = datasets.Dataset.from_list([{"prompt": "saved"}])
    (datasets.DatasetDict({split: found}) if split else found).save_to_disk(tmp_path / "saved")
    assert [problem.question for problem in read(Datasets, tmp_path / "saved")] == ["saved"]


def test_a_split_may_be_a_slice(tmp_path: Path) -> None:
    path = write(Datasets, tmp_path, [{"prompt": str(number)} for number in range(5)])
    assert [problem.question for problem in read(Datasets, path, split="train[3:]")] == ["3", "4"]


# --- what cannot be read -----------------------------------------------------------------------------


def test_a_file_that_is_no_parquet_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(RecipeError, match="No such file"):
        read(Parquet, path)
    path.write_text("no parquet")
    with pytest.raises(RecipeError, match=r"cannot read .*\n.*whole and not encrypted"):
        read(Parquet, path)
    with pytest.raises(RecipeError, match=r"no \.parquet file"):
        read(Parquet, _empty(tmp_path))


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_an_unknown_split_is_said(tmp_path: Path) -> None:
    path = write(Datasets, tmp_path, ROWS)
    with pytest.raises(RecipeError, match="check path, config and split"):
        read(Datasets, path, prompt="ask", split="nowhere")


OFFLINE = """
import sys
from r1_plugins.datasets import Datasets
from r1core.errors import R1Error
try:
    list(Datasets(Datasets.Config(path="somebody/no-such-data")).problems(seed=0))
except R1Error as error:
    print(type(error).__name__, error.exit_code, str(error).replace(chr(10), " | "))
"""


def test_a_hub_that_cannot_be_reached_is_one_line_and_the_environments_fault(tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", OFFLINE], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SetupError 3 source 'datasets', somebody/no-such-data: cannot be fetched: ")
    assert "download it first and give its folder" in done.stdout


@pytest.mark.parametrize(("kind", "package"), [(Parquet, "pyarrow"), (Datasets, "datasets")])
def test_a_package_that_is_missing_is_named(
    kind: type[ProblemSource], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(kind, tmp_path, [{"prompt": "x"}])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match=rf"{package} is not installed\n.*r1core\[train\]"):
        read(kind, path)


def test_the_sources_import_nothing_heavy() -> None:
    code = "import sys, r1_plugins.datasets; assert not {'pyarrow', 'datasets', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
