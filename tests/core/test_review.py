"""People look at a dataset: it passes unedited, or as their file says, and a file that does not fit is refused.

Runs of base -> samples -> review -> student, with a stage beside them that must never run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_recipes
from toy_runs import TIMES, Ran, contents, copied, go, job_of, planned

from r1core.errors import RecipeError, RefusedError, SetupError
from r1core.events import StageFinished, StageNote, StageSkipped, StageStarted
from r1core.stages import run_stage
from r1core.stages.review_file import mark, read_reviews
from r1core.store import kills, problem_of, read_rows

STAGES = """\
  base: BASE
  samples:
    sample: {prompts: 6, samples: 2}
    model: base
    problems: Numbers
    rewards: [Exact]
    filters: [Right]
  reviewed: {review: {path: REVIEWS}, data: samples}
  student: {train: {use: Climb, data: [reviewed]}, model: base}
  other: {train: Climb, model: base}
"""
Rows = list[dict[str, Any]]


def stages_of(folder: Path) -> str:
    return STAGES.replace("REVIEWS", str(folder / "reviews.jsonl"))


def laid_out(folder: Path) -> Rows:
    """What reviewers get."""
    text = (folder / "run/stages/reviewed/review.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def written(folder: Path, rows: Rows) -> Path:
    path = folder / "reviews.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def data_of(folder: Path, stage: str) -> Rows:
    return list(read_rows(folder / "run/stages" / stage / "data"))


def notes(ran: Ran) -> list[str]:
    return [note.text for note in ran.of(StageNote, "reviewed")]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the line has run without a review, then with an edited one, then again."""
    return tmp_path_factory.mktemp("line")


@pytest.fixture(scope="module")
def unedited(line: Path) -> tuple[Ran, Rows]:
    return go(line, stages_of(line), jobs=1), laid_out(line)


@pytest.fixture(scope="module")
def edited(line: Path, unedited: tuple[Ran, Rows]) -> Ran:
    first, second, *rest = (dict(row) for row in unedited[1])
    first["text"] = "<think>by hand</think><answer>10</answer>"
    second |= {"keep": False, "reason": "dull"}
    written(line, [*rest, second, first])  # in any order
    return go(line, stages_of(line), jobs=1)


# --- what it leaves ------------------------------------------------------------------------------


def test_without_a_file_the_rows_pass_as_they_are(line: Path, unedited: tuple[Ran, Rows]) -> None:
    ran, laid = unedited
    source = data_of(line, "samples")
    kept = [row for row in source if row["keep"]]
    assert 2 < len(kept) < len(source)
    (finished,) = ran.of(StageFinished, "reviewed")
    assert finished.metrics == {"review/edited": 0, "review/rejected": 0, "review/unchanged": len(kept)}
    export, path = line / "run/stages/reviewed/review.jsonl", line / "reviews.jsonl"
    assert notes(ran) == [f"passed unedited; to edit: copy {export} to {path}, change text or keep, run again"]
    assert [(row["id"], row["sample"], row["text"]) for row in laid] == [
        (row["id"], row["sample"], row["text"]) for row in kept
    ]
    assert set(laid[0]) == {"id", "sample", "question", "prefilled", "text", "keep", "reason", "edit", "was"}
    assert (laid[0]["question"], laid[0]["keep"]) == (f"say {laid[0]['id']}", True)


def test_an_edit_runs_the_review_and_what_depends_on_it_and_nothing_else(edited: Ran) -> None:
    assert edited.order(StageStarted) == ["reviewed", "student"]
    assert {event.stage for event in edited.of(StageSkipped)} == {"base", "samples", "other"}


def test_text_and_keep_are_those_of_the_file(line: Path, edited: Ran, unedited: tuple[Ran, Rows]) -> None:
    laid = unedited[1]
    before = {(row["id"], row["sample"]): row for row in data_of(line, "samples")}
    after = {(row["id"], row["sample"]): row for row in data_of(line, "reviewed")}
    assert list(after) == list(before)
    first, second = ((row["id"], row["sample"]) for row in laid[:2])
    assert (after[first]["text"], after[first]["keep"]) == ("<think>by hand</think><answer>10</answer>", True)
    assert (after[first]["thinking"], after[first]["answer"]) == ("by hand", "10")
    assert after[first]["tokens"] is None
    assert after[first]["status"] is None, "what was scored was another text"
    assert problem_of(after[first]).completion == "<think>by hand</think><answer>10</answer>"
    assert (after[second]["keep"], after[second]["reason"]) == (False, "dull")
    assert after[second]["text"] == before[second]["text"]
    assert all(str(after[key]) == str(before[key]) for key in before if key not in (first, second))


def test_the_counts_are_told(edited: Ran, line: Path, unedited: tuple[Ran, Rows]) -> None:
    count = len(unedited[1])
    (finished,) = edited.of(StageFinished, "reviewed")
    assert finished.metrics == {"review/edited": 1, "review/rejected": 1, "review/unchanged": count - 2}
    said = f"edited 1, rejected 1, unchanged {count - 2} of {count} answers, by {line / 'reviews.jsonl'}"
    assert notes(edited) == [said]


def test_what_reviewers_get_stays_the_samplers_own(line: Path, edited: Ran, unedited: tuple[Ran, Rows]) -> None:
    assert laid_out(line) == unedited[1]


def test_a_file_that_does_not_fit_is_refused_before_anything_runs(
    line: Path, edited: Ran, unedited: tuple[Ran, Rows]
) -> None:
    path = line / "reviews.jsonl"
    was = path.read_bytes()
    try:
        written(line, unedited[1][1:])
        with pytest.raises(RecipeError, match=r"no line for id .*; to reject it") as caught:
            go(line, stages_of(line), jobs=1)
        assert caught.value.events == []  # type: ignore[attr-defined]
    finally:
        path.write_bytes(was)
    assert go(line, stages_of(line), jobs=1).order(StageStarted) == []


def test_a_file_of_bad_lines_is_refused_before_there_is_any_data(tmp_path: Path) -> None:
    (tmp_path / "reviews.jsonl").write_text('{"id": "0"}\n')
    with pytest.raises(RecipeError, match=r"reviews\.jsonl:1:1: 'sample' must be a whole number, it is not there"):
        go(tmp_path, stages_of(tmp_path), jobs=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["file:1", "file:2", "artifact:1", "artifact.done:1"])
def test_a_review_that_is_killed_is_done_again_to_the_same_bytes(
    line: Path, edited: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder, log = copied(line, tmp_path), tmp_path / "kills"
    monkeypatch.setenv(kills.AT, f"reviewed/{place}")
    monkeypatch.setenv(kills.LOG, str(log))
    with pytest.raises(SetupError, match="killed by SIGKILL"):
        go(folder, stages_of(line), jobs=1, from_stage="reviewed", until_stage="reviewed")
    assert log.read_text() == f"reviewed/{place.partition(':')[0]}\n"
    monkeypatch.delenv(kills.AT)
    go(folder, stages_of(line), jobs=1, until_stage="reviewed")
    own = Path("run/stages/reviewed")
    assert contents(folder / own, *TIMES) == contents(line / own, *TIMES)


# --- the stage by itself ---------------------------------------------------------------------------


Reviewing = Callable[..., tuple[dict[str, float], Rows]]


@pytest.fixture
def review(line: Path, unedited: tuple[Ran, Rows], tmp_path: Path) -> Reviewing:
    """Runs the stage alone, on the line's samples and these reviews."""

    def run(*rows: dict[str, Any]) -> tuple[dict[str, float], Rows]:
        written(tmp_path, list(rows))
        job, _ = job_of(tmp_path, stages_of(tmp_path), "reviewed", samples=line / "run/stages/samples/data")
        return run_stage(job), list(read_rows(job.folder / "data"))

    return run


def test_all_that_is_wrong_is_said_at_once(review: Reviewing, unedited: tuple[Ran, Rows], tmp_path: Path) -> None:
    first, second, third, *rest = (dict(row) for row in unedited[1])
    open_block = {**first, "text": "<think>no end"}
    stale = {**second, "was": mark("another answer")}
    unknown = {**third, "id": "nobody"}
    with pytest.raises(RecipeError) as caught:
        review(open_block, stale, unknown, stale, *rest)
    said, path = str(caught.value), tmp_path / "reviews.jsonl"
    assert said.splitlines() == [
        f"{path}: no line for id {third['id']!r}, sample {third['sample']}; "
        "to reject it, give it a line with `keep` false",
        f"{path}:1:1: the edited text must open and close one think block, with nothing before it",
        f"{path}:2:1: the answer is another than the one that was reviewed; review it again",
        f"{path}:3:1: id 'nobody', sample {third['sample']} is not among the data's kept answers",
        f"{path}:4:1: id {second['id']!r}, sample {second['sample']} was on line 2 already",
        "5 errors",
    ]


def test_without_its_mark_a_line_goes_by_its_id(review: Reviewing, unedited: tuple[Ran, Rows]) -> None:
    rows = [{key: row[key] for key in ("id", "sample", "text", "keep")} for row in unedited[1]]
    assert review(*rows)[0]["review/unchanged"] == len(rows)


def test_an_answer_may_lose_its_thinking_but_not_half_of_it(review: Reviewing, unedited: tuple[Ran, Rows]) -> None:
    first, *rest = unedited[1]
    metrics, rows = review({**first, "text": "hello"}, *rest)
    assert metrics["review/edited"] == 1
    (edited,) = [row for row in rows if row["text"] == "hello"]
    assert (edited["thinking"], edited["answer"]) == (None, None)


def test_rejecting_all_answers_is_refused(review: Reviewing, unedited: tuple[Ran, Rows]) -> None:
    with pytest.raises(RefusedError, match=r"all \d+ answers are rejected"):
        review(*({**row, "keep": False} for row in unedited[1]))


# --- the file ----------------------------------------------------------------------------------------


GOOD = {"id": "a", "sample": 0, "text": "x", "keep": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{oops", "not JSON: Expecting property name"),
        ("[1]", "an object is wanted, got list"),
        (json.dumps({**GOOD, "id": 3}), "'id' must be text, got 3"),
        (json.dumps({**GOOD, "sample": True}), "'sample' must be a whole number, got true"),
        (json.dumps({**GOOD, "text": None}), "'text' must be text, got null"),
        (json.dumps({**GOOD, "keep": "no"}), "'keep' must be true or false, got \"no\""),
        (json.dumps({k: v for k, v in GOOD.items() if k != "keep"}), "'keep' must be true or false, it is not there"),
        (json.dumps({**GOOD, "reason": 3}), "'reason' must be text"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{text}\n")
    with pytest.raises(RecipeError) as caught:
        read_reviews(path, None)
    assert str(caught.value).startswith(f"{path}:3:1: {said}")


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(b'{"id": "caf\xe9"}\n')
    with pytest.raises(RecipeError, match=r":1:1: not UTF-8 at byte 12"):
        read_reviews(path, None)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        read_reviews(tmp_path, None)


def test_an_error_stays_readable_when_every_line_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text("no\n" * 500)
    with pytest.raises(RecipeError, match="and 480 more"):
        read_reviews(path, None)


# --- the plan ----------------------------------------------------------------------------------------


def test_a_review_stage_reads_one_dataset_and_nothing_else(tmp_path: Path) -> None:
    def refused(stage: str) -> str:
        recipe = toy_recipes.HEAD + toy_recipes.STAGES + f"  seen: {stage}\n"
        return toy_recipes.refused(tmp_path, recipe)

    assert "missing key 'data': a review stage looks at the data of another" in refused("{review: {path: x.jsonl}}")
    assert "a review stage looks at the data of one stage" in refused("{review: {path: x.jsonl}, data: [kept, kept]}")
    assert "a review stage looks at the data of one stage" in refused(
        "{review: {path: x.jsonl}, data: [{use: numbers}]}"
    )
    assert "'zero' is not data: a train stage makes a model" in refused("{review: {path: x.jsonl}, data: zero}")
    assert "a review stage does not read 'model'" in refused("{review: {path: x.jsonl}, data: kept, model: zero}")
    assert "unknown key 'pth'" in refused("{review: {pth: x.jsonl}, data: kept}")


def test_a_review_takes_no_engines_so_they_never_make_it_stale(tmp_path: Path) -> None:
    plan = planned(tmp_path, stages_of(tmp_path), threads="2")
    assert set(plan.stage("reviewed").plain) == {"review", "data"}
    assert "threads" in plan.stage("student").plain
