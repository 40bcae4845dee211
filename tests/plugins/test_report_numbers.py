"""Any number that a stage may have logged gives a page, and an axis says what it means."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import planned, stage, whole

from r1_plugins.report.curves import Panel, Series, columns, panels
from r1_plugins.report.gather import gather
from r1_plugins.report.glossary import words_of
from r1_plugins.report.learning import shown
from r1_plugins.report.lines import chart
from r1_plugins.report.svg import labels, number, ticks
from r1_plugins.report.write import write

HUGE = (1e308, -1e308, 5e-324, 2.3e-308, float("nan"), float("inf"), float("-inf"), 10**400, 0.0, 1e-5)
NUMBERS = st.one_of(st.floats(), st.sampled_from(HUGE), st.floats(0, 1), st.integers())


def logged(folder: Path, rows: list[dict[str, Any]]) -> Any:
    own = stage(folder, "zero")
    (own / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return columns(gather(folder).stages["zero"])


def in_place(svg: str) -> bool:
    """Whether every coordinate of the lines and rings is a number within the drawing."""
    drawn = re.findall(r' d="([^"]*)"', svg) + re.findall(r' c[xy]="([^"]*)"', svg) + re.findall(r' y="([^"]*)"', svg)
    values = [float(each) for text in drawn for each in re.findall(r"nan|inf|-?\d+(?:\.\d+)?", text)]
    return bool(values) and all(-1 <= value <= 351 for value in values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned(tmp_path_factory.mktemp("numbers") / "run")


@settings(max_examples=150, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=40), metric=st.sampled_from(["lr", "clip_ratio/region_mean"]))
def test_a_chart_is_drawn_of_whatever_was_logged(folder: Path, values: list[float], metric: str) -> None:
    name = "learning_rate" if metric == "lr" else metric
    told = logged(folder, [{"step": step, name: value} for step, value in enumerate(values, start=1)])
    for panel in shown(panels(told))["panels"]:
        assert in_place(str(panel["svg"])), panel["svg"]


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.one_of(NUMBERS, st.none(), st.text(max_size=2)), min_size=1, max_size=5))
def test_what_is_no_step_is_not_drawn(folder: Path, steps: list[Any]) -> None:
    for panel in shown(panels(logged(folder, [{"step": step, "loss": 1.0} for step in steps])))["panels"]:
        assert in_place(str(panel["svg"]))


def test_a_run_whose_learning_rate_exploded_has_its_page(tmp_path: Path) -> None:
    folder = whole(tmp_path / "run", "plain")
    same = {"learning_rate": 1e308, "rollouts/tokens": 1e308}
    rows = [{"step": step, "reward": value, **same} for step, value in enumerate(HUGE)]
    logged(folder, rows)
    write(folder)
    html = (folder / "report.html").read_text()
    assert "Learning rate" in html
    assert "1e300" in html  # the fault fired: the number was drawn


def test_ticks_read_as_what_they_are() -> None:
    assert labels(ticks(0, 1e-3)) == ["0", "2.5e-4", "5e-4", "7.5e-4", "0.001"]
    assert labels([1000.25, 1000.5, 1000.75]) == ["1000.25", "1000.5", "1000.75"]
    assert labels([0.0, 0.25, 0.5], share=True) == ["0 %", "25 %", "50 %"]
    assert [number(v) for v in (2.5e-4, -7.5e-5, 1234.5, 999_999, 2.5e6, 1e308)] == [
        *("2.5e-4", "-7.5e-5", "1234", "1M", "2.5M", "1e308")
    ]


@given(low=st.floats(-1e300, 1e300), span=st.floats(1e-4, 10))
def test_every_label_says_its_tick(low: float, span: float) -> None:
    found = ticks(low, low + span * max(abs(low), 1e-200))
    step = min((after - before for before, after in pairwise(found)), default=abs(low))
    for value, words in zip(found, labels(found), strict=True):
        said = float(words.replace("M", "e6").replace("k", "e3"))
        assert abs(said - value) <= 0.02 * step + 1e-9 * abs(value), (value, words)


def test_a_line_of_equal_numbers_lies_within_its_chart() -> None:
    for value in (0.0, 5.0, -5.0, 1e300, -1e300, 5e-324):
        points = ((1.0, value), (2.0, value))
        assert in_place(str(chart(Panel(title="t", metric="m", unit="", series=(Series(name="s", points=points),)))))


# --- how a table was measured ----------------------------------------------------------------------------


def test_the_glossary_says_how_each_set_was_sampled(tmp_path: Path) -> None:
    folder = whole(tmp_path / "run", "plain")
    asked = {"problems": {"number": 500}, "samples": 8, "k": 1, "temperature": 0.6, "top_p": 0.95}
    greedy = {**asked, "samples": 1, "temperature": 0.0, "top_p": 1.0}
    sets = {"pass@1": asked, "greedy": greedy, "own": {**asked, "k": 4}}
    told = {"sets": sets, "models": {"base": {}, "zero": {}, "student": {}}}
    manifest = folder / "stages" / "table" / "data" / "manifest.json"
    manifest.write_text(json.dumps(told))
    words = words_of(gather(folder))
    way = "8 answers to each of 500 problems, temperature 0.6, top-p 0.95"
    assert words["pass@1"] == f"Share of held-out problems that a sampled answer solves. Here: {way}."
    assert words["greedy"].endswith("Here: 1 answer to each of 500 problems, temperature 0, top-p 1.")
    assert words["own"] == f"A set of this recipe. Here: {way}, k = 4."
    manifest.write_text(json.dumps({**told, "models": {"base": {"sampled": {"temperature": 1.0}}, "zero": {}}}))
    assert f"temperature 1, top-p 0.95, or {way}." in words_of(gather(folder))["pass@1"]
    write(folder)
    assert "temperature 0.6, top-p 0.95" in (folder / "report.html").read_text()


@pytest.mark.parametrize("manifest", ["", "[]", '{"sets": {"pass@1": 3}, "models": {"a": {}}}'])
def test_a_manifest_that_says_nothing_promises_nothing(tmp_path: Path, manifest: str) -> None:
    folder = whole(tmp_path / "run", "plain")
    (folder / "stages" / "table" / "data" / "manifest.json").write_text(manifest)
    assert words_of(gather(folder))["pass@1"] == "Share of held-out problems that a sampled answer solves."
