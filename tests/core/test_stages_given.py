"""Given answers: of a source or of another stage, in groups, read unit by unit; what a filter learns comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_units
from toy_runs import go, job_of

from r1core.components import DataFilter, ProblemSource
from r1core.errors import RecipeError
from r1core.stages import run_stage
from r1core.stages.given import Given
from r1core.stages.marking import Marking, fate
from r1core.store import StageDirectory, read_rows, rollout_row, write_rows
from r1core.types import Finish, Group, Problem, Response, Rollout, Score, Verdict

STAGES = "  curated: {sample: {answers: given, chunk: 2}, data: traces}\n  traces: {sample: SPEC, problems: Numbers}\n"
SPEC = "{answers: given}"


def answer(
    problem: str, sample: int, text: str = "8", *, finish: Finish = "stop", prefilled: str = "", tokens: int = 0
) -> Rollout:
    none = np.array([], dtype=np.int64)
    asked = Problem(id=problem, messages=({"role": "user", "content": f"say {problem}"},), reference="8")
    response = replace(Response.parse(text, finish=finish, prefilled=prefilled), tokens=tokens)
    return Rollout(problem=asked, sample=sample, prompt_ids=none, completion_ids=none, logprobs=None, response=response)


def curated(folder: Path, *rows: dict[str, Any], spec: str = "{answers: given, chunk: 2}") -> list[dict[str, Any]]:
    """The rows that a stage without rewards makes of these."""
    write_rows(folder / "data", rows)
    stages = STAGES.replace("{answers: given, chunk: 2}", spec).replace("SPEC", SPEC)
    job, _ = job_of(folder, stages, "curated", traces=folder / "data")
    run_stage(job)
    return list(read_rows(job.folder / "data"))


def scored(value: float) -> Score:
    return Score(value=value, parts={"exact": value}, reason="seen")


KEEP = Verdict(keep=True)


def test_rows_go_through_unchanged(tmp_path: Path) -> None:
    rows = [
        rollout_row(answer("a", 0, "<think>x</think> 8", finish="length", tokens=7), scored(1.0), KEEP),
        rollout_row(answer("a", 3, "x</think> 8", prefilled="<think>"), scored(0.5), Verdict(keep=False, reason="old")),
        rollout_row(answer("b", 0, ""), None, Verdict(keep=False, reason="refused: content_filter")),
        rollout_row(answer("c", 0), None, KEEP),
    ]
    write_rows(tmp_path / "as_read", rows)
    stored = list(read_rows(tmp_path / "as_read"))
    unscored = ("score",)  # NaN is not itself
    found = curated(tmp_path, *rows)
    assert [{k: v for k, v in row.items() if k not in unscored} for row in found] == [
        {k: v for k, v in row.items() if k not in unscored} for row in stored
    ]
    assert [row["score"] for row in found[:2]] == [1.0, 0.5]


def test_all_anew_forgets_verdicts_but_not_what_nobody_would_answer(tmp_path: Path) -> None:
    rows = [
        rollout_row(answer("a", 0), scored(1.0), Verdict(keep=False, reason="old")),
        rollout_row(answer("a", 1, ""), scored(0.0), Verdict(keep=False, reason="refused: content_filter")),
    ]
    found = curated(tmp_path, *rows, spec="{answers: given, rows: all}")
    assert [(row["keep"], row["reason"]) for row in found] == [(True, ""), (False, "refused: content_filter")]


def test_a_problem_of_which_some_answers_are_scored_asks_for_rewards(tmp_path: Path) -> None:
    rows = [rollout_row(answer("a", 0), scored(1.0), KEEP), rollout_row(answer("a", 1), None, KEEP)]
    with pytest.raises(RecipeError, match="answer 1 to problem 'a' was not scored, others to it were"):
        curated(tmp_path, *rows)


def test_a_limit_counts_problems_not_answers(tmp_path: Path) -> None:
    rows = [rollout_row(answer(name, i), None, KEEP) for name in "abc" for i in range(2)]
    found = curated(tmp_path, *rows, spec="{answers: given, prompts: 2}")
    assert [row["id"] for row in found] == ["a", "a", "b", "b"]


def test_rewards_score_rows_anew_in_groups_of_any_size(tmp_path: Path) -> None:
    rows = [
        rollout_row(answer("a", 0, "<think></think>8"), scored(0.1), KEEP),
        rollout_row(answer("a", 1, "<think></think>9"), scored(0.2), KEEP),
        rollout_row(answer("b", 0, "<think></think>8"), None, KEEP),
    ]
    write_rows(tmp_path / "data", rows)
    stages = STAGES.replace("data: traces}", "data: traces, rewards: [Exact], filters: [Right]}").replace("SPEC", SPEC)
    job, _ = job_of(tmp_path, stages, "curated", traces=tmp_path / "data")
    run_stage(job)
    assert [(row["score"], row["reason"]) for row in read_rows(job.folder / "data")] == [
        (1.0, ""),
        (0.0, "wrong"),
        (1.0, ""),
    ]


def test_curation_of_curation_and_a_source_without_a_number(tmp_path: Path) -> None:
    stages = STAGES.replace("SPEC", SPEC).replace("problems: Numbers", "problems: {use: Numbers, count: 5}")
    go(tmp_path, stages + "  again: {sample: {answers: given}, data: [curated, traces]}\n")
    rows = [row["text"] for row in read_rows(tmp_path / "run" / "stages" / "again" / "data")]
    assert rows == ["0", "1", "2", "3", "4"] * 2
    parts = (tmp_path / "run" / "stages" / "curated" / "data").iterdir()
    assert len(list(parts)) == 3


class Endless(ProblemSource):
    """Never ends."""

    @property
    def endless(self) -> bool:
        return True

    def problems(self, *, seed: int) -> Any:
        raise AssertionError("nobody may begin to read it")


def test_a_source_without_an_end_needs_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = job_of(tmp_path, STAGES.replace("SPEC", SPEC), "traces")
    monkeypatch.setattr(type(job), "asked", lambda self, use: Endless(Endless.Config()))
    with pytest.raises(RecipeError, match="never ends"):
        Given.of(job)


# --- what filters learn ----------------------------------------------------------------------------


class Heap(DataFilter):
    """Keeps a text the first time; remembers texts in pieces."""

    def __init__(self) -> None:
        super().__init__(self.Config())
        self.seen: list[str] = []
        self.new: list[str] = []

    def judge(self, group: Group) -> list[Verdict]:
        verdicts = []
        for rollout in group.rollouts:
            text = rollout.response.text
            known = text in self.seen
            verdicts.append(Verdict(keep=not known, reason=f"seen (like {text})" if known else ""))
            self.seen += [] if known else [text]
            self.new += [] if known else [text]
        return verdicts

    def learned(self) -> bytes:
        piece, self.new = "\n".join(self.new).encode(), []
        return piece

    def relearn(self, piece: bytes) -> None:
        self.seen += piece.decode().split("\n")


def group_of(*texts: str) -> Group:
    rollouts = tuple(answer("a", i, text) for i, text in enumerate(texts))
    return Group(problem=rollouts[0].problem, rollouts=rollouts)


def said(marking: Marking, *texts: str) -> Sequence[str]:
    return [verdict.reason for verdict in marking.mark(group_of(*texts))]


def test_pieces_are_written_once_and_given_back_in_order(tmp_path: Path) -> None:
    progress = StageDirectory(tmp_path).progress
    marking = Marking([Heap(), Heap()])
    assert said(marking, "x", "y", "x") == ["", "", "seen (like x)"]
    first = marking.save(progress, 0)
    assert said(marking, "y", "z") == ["seen (like y)", ""]
    second = marking.save(progress, 1)
    assert said(marking, "z") == ["seen (like z)"]
    assert marking.save(progress, 2) == []
    assert [path.read_bytes() for path in (*first, *second)] == [b"x\ny", b"x\ny", b"z", b"z"]
    heap = Heap()
    Marking([heap, Heap()]).load(progress, 2)
    assert heap.seen == ["x", "y", "z"]
    heap = Heap()
    Marking([heap, Heap()]).load(progress, 1)
    assert heap.seen == ["x", "y"]


def test_each_filter_is_counted_by_the_word_of_its_reason() -> None:
    marking = Marking([Heap(), Heap()])
    said(marking, "x", "y", "x", "x")
    assert marking.told() == [{"seen": 4, "rejected": {"seen": 2}}, {"seen": 2, "rejected": {}}]
    again = Marking([Heap(), Heap()], marking.told())
    said(again, "x", "x")
    assert again.told()[0] == {"seen": 6, "rejected": {"seen": 3}}
    assert fate(Verdict(keep=False, reason="seen (like x (y))")) == "seen"


def test_the_pieces_are_files_of_the_ledger(tmp_path: Path) -> None:
    """A piece that was damaged makes its unit, and what came after, one to be done again."""
    stages = f"""\
  traces:
    sample: {{answers: given, chunk: 2}}
    problems: {{use: Numbers, count: 6}}
    filters: ["{toy_units.HERE}:Piecemeal"]
"""
    job, _ = job_of(tmp_path, stages, "traces")
    stops = iter([False, True])
    job.stopping = lambda: next(stops)
    with pytest.raises(Exception, match="stopped on request after unit 2 of 3"):
        run_stage(job)
    pieces = sorted(job.folder.rglob("filter-0-*.bin"))
    assert len(pieces) == 2
    pieces[1].write_bytes(b"other")
    job, events = job_of(tmp_path, stages, "traces")
    run_stage(job)
    notes = [event.text for event in events if hasattr(event, "text")]
    assert "1 finished unit is damaged and is done again" in notes
    assert [row["text"] for row in read_rows(job.folder / "data")] == [str(i) for i in range(6)]
