"""The arithmetic of the report: lines thinned and smoothed, languages counted, lists and drawings that fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from report_runs import INPUTS, answer, metrics, planned, stage, whole
from small_disk import files_of_at_most

from r1_plugins.report import figure
from r1_plugins.report.curves import POINTS, SMOOTHED, WINDOW, Series, columns, panels, smoothed, thinned
from r1_plugins.report.gather import gather
from r1_plugins.report.graph import boxes, depths, layers
from r1_plugins.report.samples import EACH, PROBLEMS, Right, _answer, fitting
from r1_plugins.report.scores import Measured, breakdowns, headline, measured
from r1_plugins.report.svg import number, ticks
from r1_plugins.report.texts import batches, eastern_share
from r1_plugins.report.write import write
from r1core.errors import SetupError
from r1core.store.rollouts import TEXT
from r1core.store.rows import write_rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = whole(tmp_path_factory.mktemp("runs") / "toy")
    write(folder)
    return folder


def page_of(folder: Path) -> str:
    write(folder)
    return (folder / "report.html").read_text()


def test_thinning_keeps_means_and_the_last_step() -> None:
    points = [(float(step), float(step % 2)) for step in range(1, 10 * POINTS + 1)]
    found = thinned(points)
    assert len(found) == POINTS
    assert found[-1] == (10.0 * POINTS, 0.5)
    assert {value for _, value in found} == {0.5}
    assert thinned(points[:POINTS]) == tuple(points[:POINTS])


def test_a_smoothed_line_is_the_mean_of_the_nearest_points() -> None:
    points = tuple((float(step), float(step == 20)) for step in range(1, 41))
    found = dict(smoothed(points))
    half = WINDOW // 2
    assert {step for step, value in found.items() if value} == set(range(20 - half, 20 + half + 1))
    assert found[20] == pytest.approx(1 / WINDOW)
    assert dict(smoothed(((1.0, 3.0), *points[1:])))[1.0] == pytest.approx(3 / (half + 1))
    assert Series(name="many", points=points).line == smoothed(points)
    few = points[: SMOOTHED - 1]
    assert Series(name="few", points=few).line == few
    assert Series(name="rings", points=points, marked=True).line == points


def test_the_language_of_thinking_is_counted_in_words() -> None:
    assert eastern_share("先算 3 + 4 then add two") == pytest.approx(1 / 4)
    assert eastern_share("k is 7") == 0.0
    assert eastern_share("b c h k 12") is None


def test_thinking_in_no_language_or_none_at_all_is_worth_nothing(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run")
    own = stage(folder, "zero") / "rollouts"
    rows = [{**answer("1", "x", score=1.0), "language": "zh", "thinking": t} for t in ("我们 算", "then add", "", None)]
    write_rows(own, rows, columns=TEXT)
    (found,) = batches(gather(folder).stages["zero"])
    assert (found.language, found.thought) == (0.25, 0.5)


def test_lists_of_samples_get_shorter_where_texts_are_long() -> None:
    items = [{"question": "x" * 1000, "n": n} for n in range(PROBLEMS)]
    found = fitting(items, 10_000)
    assert len(json.dumps(found)) <= 10_000
    assert (found[0]["n"], found[-1]["n"]) == (0, PROBLEMS - 1)
    assert len(found) >= 8
    assert fitting(items, 10**6) == items
    assert len(fitting(items, 1)) == 1


def test_a_page_of_long_answers_stays_small(tmp_path: Path) -> None:
    folder = whole(tmp_path / "run", "word " * 20_000)
    html = page_of(folder)
    assert "more characters]" in html
    assert len(html.encode()) < 3_000_000
    data = json.loads(re.search(r'id="samples-data">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert all(len(a) <= EACH for each in data for item in each["items"] for a in item["answers"].values())


def test_null_metrics_are_left_out_of_the_lines(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run")
    metrics(stage(folder, "base"), [{"loss": 1.0}, {"loss": None}, {"loss": 3.0}])
    assert columns(gather(folder).stages["base"])["loss"] == [(1.0, 1.0), (3.0, 3.0)]
    assert [panel.title for panel in panels({"loss": [(1.0, 1.0)]})] == ["Loss"]


def test_lines_of_models_begin_with_a_measured_model_that_none_precedes(run: Path) -> None:
    found = measured(gather(run))
    assert [(each.name, each.root) for each in found] == [("base", "base"), ("zero", "base"), ("student", "base")]
    assert headline(found) == "pass@1"


def test_curves_by_k_stand_in_the_order_of_their_numbers() -> None:
    names = ("pass@64/cons=16", "pass@64/k=1", "pass@64/k=16", "pass@64/k=2", "pass@1/task=b", "pass@1/task=a")
    found = breakdowns([Measured(name="m", root="m", metrics=dict.fromkeys(names, 0.5))])
    assert [head for head, _ in found["pass@64 pass@k and cons@k"]] == ["k = 1", "k = 2", "k = 16", "cons@16"]
    assert [head for head, _ in found["pass@1 by task"]] == ["b", "a"]


def test_every_box_stands_below_what_it_reads(run: Path) -> None:
    found = boxes(gather(run), {})
    depth = depths({box.name: box for box in found})
    assert set(depth) == set(INPUTS)
    assert all(depth[each] < depth[box.name] for box in found for each in box.reads)
    assert sum(len(row) for row in layers(found)) == 5 + 2  # base passes two layers on its way to student


def test_axes_have_round_numbers() -> None:
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(0, 130, 4) == [0, 50, 100]
    assert [number(v) for v in (0, 12.3456, 42_000, 1e-5)] == ["0", "12.3", "42k", "1e-5"]
    assert number(0.123, share=True) == "12.3 %"


def test_an_answer_is_right_as_its_set_says() -> None:
    row = {
        **{
            "parts": {"accuracy": 0.0, "helpful": 0.75},
            "score": 0.2,
            "score_reason": "",
            "finish": "stop",
            "tokens": 3,
        },
        **{"thinking": "t", "answer": "a", "prefilled": "", "text": "a"},
    }
    marks = {
        (reward, at_least): _answer(row, Right.of({"reward": reward, "at_least": at_least}))["right"]
        for reward in (None, "helpful", "safe")
        for at_least in (0.5, 0.8)
    }
    assert [marks["helpful", 0.5], marks["helpful", 0.8], marks[None, 0.5]] == [True, False, False]
    assert marks["safe", 0.5] is None


# --- what else a page must do ----------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["report.html", "report.png"])
def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    folder = whole(tmp_path / "run", "plain")
    monkeypatch.setattr(figure, "DPI", 1000)  # larger than the page
    write(folder)
    (folder / file).write_bytes(b"of before")
    room = (folder / "report.html").stat().st_size + 4096
    with files_of_at_most(room), pytest.raises(SetupError, match="cannot be written: ") as told:
        write(folder)
    fix = f"free space on the disk, then: r1 report {folder}"
    assert (told.value.where, told.value.fix) == (str(folder / file), fix)
    assert (folder / file).read_bytes() == b"of before"
    assert not list(folder.glob(".report*"))


def test_the_convention_of_a_loss_stands_beside_its_stage(tmp_path: Path) -> None:
    folder = whole(tmp_path / "run", "plain")
    assert "Loss: " not in page_of(folder)
    record = folder / "stages" / "student" / "stage.json"
    told = {"traces": "forward KL, <teacher> first", "beta": 0.5}
    record.write_text(json.dumps({**json.loads(record.read_text()), "divergence": told}))
    assert "Loss: <b>traces</b> forward KL, &lt;teacher&gt; first; <b>beta</b> 0.5</p>" in page_of(folder)
