"""`r1 report`: one page of a run that loads nothing, whatever its models wrote and however the run stands."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from report_runs import HOSTILE, metrics, planned, stage, whole

from r1_plugins.report import report
from r1_plugins.report.curves import panels
from r1_plugins.report.gather import gather
from r1_plugins.report.graph import boxes, graph
from r1_plugins.report.learning import shown
from r1_plugins.report.observer import r1_run_end
from r1_plugins.report.text import embedded, visible
from r1_plugins.report.write import write
from r1core.errors import RecipeError
from r1core.plugins import PluginHost


class Page(HTMLParser):
    """What a browser would make of it, as far as a test cares."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def charts_of(html: str) -> dict[str, list[dict[str, Any]]]:
    """title -> the points of each chart that has it, as the page's script reads them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for figure in re.findall(r'<figure class="panel">(.*?)</figure>', html, re.DOTALL):
        title = re.search(r"<figcaption>(?:<abbr[^>]*>)?([^<]*)", figure)
        data = next(attributes["data-chart"] for _, attributes in Page(figure).tags if "data-chart" in attributes)
        assert title is not None
        assert data is not None
        found.setdefault(title[1].strip(), []).append(json.loads(data))
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = whole(tmp_path_factory.mktemp("runs") / "toy")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return (run / "report.html").read_text()


def page_of(folder: Path) -> str:
    write(folder)
    return (folder / "report.html").read_text()


# --- what it says ----------------------------------------------------------------------------------------


def test_the_page_has_every_section_of_a_finished_run(html: str) -> None:
    ids = {attributes["id"] for tag, attributes in Page(html).tags if tag == "section" and "id" in attributes}
    wanted = {"story", "pipeline", "learning", "models", "data", "samples", "training", "cost", "lineage", "glossary"}
    assert wanted <= ids


def test_the_headline_goes_from_the_first_model_of_a_line_to_its_best(html: str) -> None:
    words = " ".join(re.sub("<[^>]+>", " ", html).split())
    assert "base solves 10.0 %, zero 50.0 % ." in words
    assert "+40.0" in words
    assert "45.0\u201355.0" in words


def test_the_command_that_makes_the_run_again_names_its_own_recipe(run: Path, html: str) -> None:
    assert f"r1 recipe {run}/recipe.resolved.yaml --run-dir NEW" in html
    assert "profile <b>smoke</b>" in html


def test_what_filters_rejected_is_said_with_the_reasons(html: str) -> None:
    assert "16 rows, 12 kept" in html
    assert "wrong 3" in " ".join(html.split())


def test_the_browser_gets_the_same_problem_of_each_model(html: str) -> None:
    data = json.loads(re.search(r'id="samples-data">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    first = data[0]
    assert first["labels"] == ["base", "zero", "student"]
    assert first["labels"][first["after"]] == "zero"
    assert set(first["items"][0]["answers"]) == {"base", "zero", "student"}
    assert [[a["right"] for a in item["answers"]["student"]] for item in first["items"]] == [
        [True, True],
        [True, True],
        [False, True],
    ]
    assert [each["name"] for each in data] == ["table · pass@1", "table · greedy", "zero · in training"]
    assert len(data[1]["items"]) == 2
    training = data[2]
    assert training["labels"] == ["step 1", "step 2"]


def test_each_chart_holds_the_numbers_of_metrics_jsonl(tmp_path: Path) -> None:
    folder = whole(tmp_path / "run", "plain")
    own = folder / "stages" / "zero"
    logged = [
        {"reward": x, "rewards/exact/mean": x / 2, "entropy": 1 / (1 + x), "grad_norm": 2 * x, "kl": x / 10}
        for x in (0.1 + 0.01 * (7 * i % 30) for i in range(40))
    ]
    metrics(own, logged)
    charts = charts_of(page_of(folder))
    wanted = {
        "Accuracy": {"zero": "rewards/exact/mean"},
        "Reward by component": {"reward": "reward", "exact": "rewards/exact/mean"},
        "Entropy": {"zero": "entropy"},
        "Gradient norm": {"grad_norm": "grad_norm"},
        "KL": {"kl": "kl"},
    }
    for title, lines in wanted.items():
        drawn = [each["s"] for each in charts[title] if {s["n"] for s in each["s"]} == set(lines)]
        of_zero = [series for each in drawn for series in each if len(series["p"]) == len(logged)]
        assert len(of_zero) == len(lines), title
        for series in of_zero:
            assert [x for x, _ in series["p"]] == list(range(1, 41))
            assert [y for _, y in series["p"]] == pytest.approx([row[lines[series["n"]]] for row in logged], rel=1e-4)


def test_what_was_measured_meanwhile_stands_in_the_chart_of_accuracy(html: str) -> None:
    lines = {series["n"]: series["p"] for series in charts_of(html)["Accuracy"][0]["s"]}
    assert lines == {"zero": [[1, 0.1], [2, 0.4]], "zero, held held out": [[1, 0.1], [2, 0.4]]}


def test_a_chart_of_zeros_is_a_line_of_text(html: str) -> None:
    titles = set(charts_of(html))
    assert "Reflection words" not in titles
    assert "Silent groups" in titles
    assert "(nothing reaches 1e-6), so without a chart: reflection words." in " ".join(html.split())
    told = panels({"loss": [(1.0, 0.0), (2.0, 1e-9)], "entropy": [(1.0, 0.0), (2.0, 0.5)]})
    assert [each["title"] for each in shown(told)["panels"]] == ["Entropy"]
    assert shown(told)["zeros"] == ["loss"]


def test_narrow_pages_get_drawings_and_a_list_of_their_own(html: str) -> None:
    kinds = [attributes.get("class") for tag, attributes in Page(html).tags if tag == "svg"]
    assert kinds.count("narrow") == kinds.count("broad") == 3  # the models, a filter, the times
    listed = re.search(r'<ol class="steps narrow">(.*?)</ol>', html, re.DOTALL)
    assert listed is not None
    words = " ".join(re.sub("<[^>]+>", " ", listed[1]).split())
    assert re.findall(r"student train sft .*? from base, traces", words)
    assert words.endswith("measures base, zero, student")


def test_the_drawing_names_what_an_evaluation_measures(run: Path) -> None:
    assert "measures: base, zero, student" in graph(boxes(gather(run), {}))


# --- what it must not do ---------------------------------------------------------------------------------


def test_text_of_models_is_text(html: str) -> None:
    assert "alert(1)" in html  # the fault fired: the text is on the page
    tags = Page(html).tags
    assert not [attributes for _, attributes in tags if any(name.startswith("on") for name in attributes)]
    assert "img" not in {tag for tag, _ in tags}
    assert len([tag for tag, _ in tags if tag == "script"]) == 2
    assert html.count("</script>") == 2
    assert not set(html) & set("\x1b\u202e\u202c\u200b")
    assert "49" not in re.findall(r"\b49\b", html)
    assert "{{7*7}}" in html


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, name)
        assert "style" not in attributes, tag
    assert "@import" not in html
    assert "url(" not in html
    policy = next(a["content"] for t, a in Page(html).tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_characters_that_act_become_marks() -> None:
    assert visible("a\x1b[0m\u202eb\n") == "a␛[0m[U+202E]b\n"
    assert visible("plain 你好") == "plain 你好"
    assert visible("\ud800") == "[U+D800]"


def test_embedded_json_cannot_end_its_element() -> None:
    text = embedded({"a": "</script><!--&\u2028"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


# --- runs that are not whole -----------------------------------------------------------------------------


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no run: no recipe\.resolved\.yaml"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_not_begun_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(report, [str(planned(tmp_path / "run"))], catch_exceptions=False)
    assert result.exit_code == 0
    assert "the run is not started" in result.output
    assert "5 of 5 stages not started: base, zero, traces, student, table" in result.output
    assert "No stage has finished yet." in (tmp_path / "run" / "report.html").read_text()


def test_a_run_at_work_and_one_that_was_killed_differ_by_the_owner(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run")
    own = stage(folder, "base", status="running")
    metrics(own, [{"loss": 2.0}])
    (own / "output.log").write_text("\x1b[31mlast words\n")
    (folder / ".lock").write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    assert gather(folder).outcome == "running"
    (folder / ".lock").write_text(f"process {2**22 + 1} on {socket.gethostname()}\n")
    facts = gather(folder)
    assert facts.outcome == "unfinished"
    assert "1 of 5 stages begun and not finished: base" in facts.said
    assert "␛[31mlast words" in page_of(folder)


def test_a_stage_whose_input_was_made_anew_is_stale(tmp_path: Path) -> None:
    folder = whole(tmp_path / "run", "plain")
    assert gather(folder).stages["student"].state == "finished"
    stage(folder, "traces", fingerprint="another")
    found = gather(folder).stages["student"]
    assert (found.state, found.why) == ("stale", "made from another traces than lies here now")
    assert "stale" in page_of(folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("results.json", "results.json cannot be read"),
        ("stages/zero/stage.json", "1 of 5 stages damaged: zero"),
        ("stages/zero/metrics.jsonl", "Length of the thinking"),
        ("stages/table/data/zero/pass@1/part-00000.parquet", 'id="samples"'),
        ("stages/zero/rollouts/part-00000.parquet", "step 2"),
        ("stages/traces/report.json", 'id="models"'),
    ],
)
def test_a_damaged_file_costs_its_own_part_alone(tmp_path: Path, file: str, said: str) -> None:
    folder = whole(tmp_path / "run", "plain")
    assert (folder / file).is_file()
    (folder / file).write_bytes(b"{ not it")
    html = page_of(folder)
    assert said in html
    assert 'id="lineage"' in html


@pytest.mark.parametrize("rows", [7, "no", [7, {"model": "base"}, {"model": 3, "metrics": {}}, {"metrics": {}}]])
def test_a_table_that_is_none_is_left_out(tmp_path: Path, rows: object) -> None:
    folder = whole(tmp_path / "run", "plain")
    (folder / "results.json").write_text(json.dumps({"rows": rows, "wall_s": "long"}))
    html = page_of(folder)
    assert "No model has been measured" in html
    assert 'id="story"' not in html


def test_the_error_of_a_failed_run_is_on_its_page(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run")
    r1_run_end(folder, f"gate said no {HOSTILE}")
    html = (folder / "report.html").read_text()
    assert "ended with an error" in html
    assert "gate said no &lt;script&gt;" in html


def test_a_run_that_was_asked_to_stop_did_not_fail(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run")
    r1_run_end(folder, "stopped on request\n  stages.base: saved")
    assert 'class="badge interrupted">interrupted<' in (folder / "report.html").read_text()


def test_without_matplotlib_there_is_a_line_and_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "r1_plugins.report.figure", raising=False)
    folder = whole(tmp_path / "run", "plain")
    result = CliRunner().invoke(report, [str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "report.png is left out" in result.output
    assert (folder / "report.html").is_file()
    assert not (folder / "report.png").exists()


def test_the_main_figure_is_a_picture(run: Path) -> None:
    data = (run / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000


# --- who calls it ----------------------------------------------------------------------------------------


def test_every_run_is_watched_unless_it_is_left_out() -> None:
    rows = {row.name: row for row in PluginHost.discover().report()}
    assert rows["observer-report"].components == ("observer report",)
    left_out = PluginHost.discover(deny=["no:report"])
    assert left_out.warnings == ()
    found = {row.name: (row.status, row.detail) for row in left_out.report()}
    assert found["observer-report"] == ("disabled", "-p no:report")
    assert found["command-report"][0] == "ok"
    said: list[str] = []
    for host, calls in ((PluginHost.discover(), 1), (left_out, 0)):
        observers = host.observers([], said.append, of_all=True)
        assert len(observers._calls) == calls
    assert PluginHost.discover().observers([], said.append)._calls == []
    assert said == []
