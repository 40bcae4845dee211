"""Observers see frozen data, and nothing they do can stop a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from third_party import install, toy_host

from r1core.choices import Use
from r1core.errors import RecipeError
from r1core.events import RunStarted
from r1core.plugin_host.observers import Observers
from r1core.plugins import PluginHost
from r1core.types import Step


def observers(said: list[str], *names: str) -> Observers:
    return PluginHost.discover().observers([Use(use=name) for name in names], said.append)


def test_an_observer_gets_the_arguments_that_it_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-watch")
    watching = observers([], "watch")
    watching.run_start(folder=tmp_path, recipe={}, started=RunStarted(folder=str(tmp_path), rows=()))
    watching.stage_start(folder=tmp_path, stage="base")
    watching.stage_end(stage="base", metrics={"loss": 1.0})
    watching.run_end(folder=tmp_path, error="")
    import r1core_watch  # type: ignore[import-not-found]

    assert r1core_watch.SEEN == ["base", ("base", {"loss": 1.0})]


def test_a_failing_observer_is_reported_once_and_never_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-watch")
    said: list[str] = []
    watching = observers(said, "watch")
    for step in (1, 2, 3):
        watching.step_end(stage="base", step=step, report=Step(metrics={}))
    assert said == [
        "observer 'watch' (r1core-watch==0.3.0): r1_step_end raised ConnectionError: step 1 was not sent "
        f"at {site / 'r1core_watch.py'}:15 in r1_step_end; the run goes on"
    ]


WRITES = """
import copy, json
from r1core import hookimpl
@hookimpl
def r1_run_start(recipe):
    json.dumps(recipe)
    copy.deepcopy(recipe)["stages"]["base"]["gate"] = ()
    recipe["stages"]["base"].clear()
@hookimpl
def r1_step_end(report):
    report.metrics["reward"] = 99.0
@hookimpl
def r1_stage_end(metrics):
    metrics["reward"] = 99.0
"""


def test_what_observers_get_is_frozen_all_the_way_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-watch")
    (site / "r1core_watch.py").write_text(WRITES, encoding="utf-8")
    said: list[str] = []
    watching = observers(said, "watch")
    recipe, metrics = {"stages": {"base": {"gate": [{"metric": "reward", "min": 2.0}]}}}, {"reward": 1.0}
    watching.run_start(folder=tmp_path, recipe=recipe, started=RunStarted(folder=str(tmp_path), rows=()))
    watching.step_end(stage="base", step=1, report=Step(metrics=metrics))
    watching.stage_end(stage="base", metrics=metrics)
    assert metrics == {"reward": 1.0}, "a gate asks for what was measured"
    assert recipe["stages"]["base"]["gate"] == [{"metric": "reward", "min": 2.0}]
    assert ["raised TypeError: what an observer gets is frozen: copy it" in line for line in said] == [True] * 3


def test_what_an_observer_lacks_is_one_plain_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-watch")
    lacks = "raise SetupError('it needs ink', where='somewhere', fix='buy some')"
    (site / "r1core_watch.py").write_text(
        "from r1core import hookimpl\nfrom r1core.errors import SetupError\n"
        f"@hookimpl\ndef r1_run_end():\n    {lacks}\n",
        encoding="utf-8",
    )
    said: list[str] = []
    observers(said, "watch").run_end(folder=tmp_path, error="")
    assert said == ["observer 'watch': it needs ink; buy some"]


def test_one_module_under_two_names_observes_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-watch")
    watching = observers([], "watch", "watchman")
    watching.stage_start(folder=tmp_path, stage="base")
    import r1core_watch

    assert r1core_watch.SEEN == ["base"]


def test_names_and_options_of_observers_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-watch")
    with pytest.raises(RecipeError, match="did you mean 'watch'"):
        observers([], "wtach")
    with pytest.raises(RecipeError, match=r"plugin 'toy' .* observes nothing"):
        toy_host().observers([Use(use="toy")], print)
    with pytest.raises(RecipeError, match="takes no options, got project"):
        PluginHost.discover().observers([Use.model_validate({"use": "watch", "project": "x"})], print)
