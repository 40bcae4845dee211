"""`scoring: {unreadable_golds: skip}`: problems that a reward cannot judge are left out, told, counted, never asked."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from test_stages_rewards import TABLE, TRACES, picky, recipe, refused
from toy_runs import Ran, contents, go, planned

from r1core.choices import Options
from r1core.components import ProblemSource
from r1core.errors import RecipeError, RefusedError, SetupError
from r1core.events import StageNote
from r1core.stages.golds import UNREADABLE
from r1core.stages.problems import Without, endless
from r1core.store import RunDirectory, kills, read_rows
from r1core.types import Problem

SKIP = "    scoring: {unreadable_golds: skip}\n"


def skipping(text: str) -> str:
    """The recipe, its last stage with the option."""
    return text + SKIP


def notes(ran: Ran) -> list[str]:
    return [note.text for note in ran.of(StageNote) if "left out" in note.text]


def asked(folder: Path) -> list[str]:
    """The golds of all problems that were answered, in order, one for each."""
    return list(dict.fromkeys(str(row["reference"]) for row in read_rows(folder)))


def test_refusing_is_the_rule_and_says_how_to_skip(tmp_path: Path) -> None:
    said = refused(tmp_path, recipe(TRACES, picky(digits='["3"]')))
    assert "`scoring: {unreadable_golds: skip}` leaves them out" in said


@pytest.mark.parametrize("name", ["Picky", "PickyHere"])
def test_what_cannot_be_judged_is_told_counted_and_not_asked(tmp_path: Path, name: str) -> None:
    ran = go(tmp_path, skipping(recipe(TRACES, picky(name, digits='["3", "7"]'))))
    stage = RunDirectory(tmp_path / "run").stage("traces")
    assert asked(stage.data) == ["0", "1", "2", "4", "5", "6", "8", "9"]
    assert stage.record().metrics[UNREADABLE] == 2.0
    (said,) = notes(ran)
    assert said.startswith("2 of 12 problems are left out, for their golds: source ")
    assert "Numbers, problem 4: reward" in said
    assert said.endswith(f":{name}: 7 is odd")


def test_only_three_are_told_and_how_many_more(tmp_path: Path) -> None:
    ran = go(tmp_path, skipping(recipe(TRACES, picky(digits='["1", "2", "3"]'), "{use: Numbers, count: 100}")))
    (said,) = notes(ran)
    assert said.startswith("30 of 100 problems are left out")
    assert said.count("is odd") == 3
    assert said.endswith("; and 27 more")


def test_the_sets_of_an_evaluation_and_the_beginning_of_an_endless_source_too(tmp_path: Path) -> None:
    ran = go(tmp_path, skipping(recipe(TABLE, picky(digits='["0"]'))))
    stage = RunDirectory(tmp_path / "run").stage("table")
    assert asked(stage.data / "base" / "pass@1") == ["1", "2", "3"]
    assert asked(stage.data / "base" / "greedy") == ["1", "2"]
    assert stage.record().metrics[UNREADABLE] == 3 + 26
    assert [said.partition(",")[0] for said in notes(ran)] == [
        "3 of 30 problems are left out",
        "26 of 256 problems are left out",
    ]


def test_where_all_golds_can_be_read_nothing_is_left_out_or_said(tmp_path: Path) -> None:
    ran = go(tmp_path, skipping(recipe(TRACES, picky())))
    assert notes(ran) == []
    assert RunDirectory(tmp_path / "run").stage("traces").record().metrics[UNREADABLE] == 0.0


def test_where_none_can_be_read_the_stage_is_refused(tmp_path: Path) -> None:
    text = skipping(recipe(TRACES, picky(digits='["0", "1", "2"]'), "{use: Numbers, count: 3}"))
    with pytest.raises(RecipeError, match=r"no problem of source .*Numbers has a gold that its rewards can judge"):
        go(tmp_path, text)


def test_a_gate_may_limit_how_many(tmp_path: Path) -> None:
    gate = f"    gate: [{{metric: {UNREADABLE}, max: 1}}]\n"
    go(tmp_path, skipping(recipe(TRACES, picky(digits='["3"]'))) + gate)
    with pytest.raises(RefusedError, match=UNREADABLE):
        go(tmp_path, skipping(recipe(TRACES, picky(digits='["3", "7"]'))) + gate)


def test_a_killed_stage_leaves_out_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = skipping(recipe(TRACES, picky(digits='["3", "7"]')))
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
    go(tmp_path / "unbroken", text)
    monkeypatch.setenv(kills.AT, "traces/unit:3")
    with pytest.raises(SetupError, match="killed by SIGKILL"):
        go(tmp_path / "killed", text)
    monkeypatch.delenv(kills.AT)
    go(tmp_path / "killed", text)
    unbroken, killed = (contents(tmp_path / name / "run/stages/traces/data") for name in ("unbroken", "killed"))
    assert unbroken == killed


def test_it_changes_no_fingerprint(tmp_path: Path) -> None:
    """What is skipped could not be made with `refuse` at all, so a finished stage is as good with either."""
    text = recipe(TRACES, picky())
    assert planned(tmp_path, text).fingerprints == planned(tmp_path, skipping(text)).fingerprints


class Five(ProblemSource):
    """0 to 4."""

    name = "five"

    def problems(self, *, seed):
        return (Problem(id=str(number)) for number in range(5))


def test_a_finite_source_starts_over_without_the_same_ones() -> None:
    source = Without(Five(Options()), {0, 3})
    assert [problem.id for problem in islice(endless(source, seed=0), 7)] == ["1", "2", "4", "1", "2", "4", "1"]
