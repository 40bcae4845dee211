"""The tensorboard observer writes what it is told, and its absence is a message."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from r1_plugins.tracking import tensorboard
from r1core.choices import Use
from r1core.events import RunStarted
from r1core.plugins import Observers, PluginHost
from r1core.types import Step


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    tensorboard.r1_run_end()


def observers(said: list[str]) -> Observers:
    return PluginHost.discover(allow=()).observers([Use(use="tensorboard")], said.append)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["tensors"]
    return {tag: [(e.step, round(float(make_ndarray(e.tensor_proto)), 4)) for e in events.Tensors(tag)] for tag in tags}


def test_every_metric_of_every_step_is_a_scalar(tmp_path: Path) -> None:
    said: list[str] = []
    watching = observers(said)
    watching.run_start(folder=tmp_path, recipe={}, started=RunStarted(folder=str(tmp_path), rows=()))
    watching.stage_start(folder=tmp_path / "stages" / "base", stage="base")
    watching.stage_start(folder=tmp_path / "stages" / "other", stage="other")
    for step in (1, 2):
        watching.step_end(stage="base", step=step, report=Step(metrics={"loss": 1 / step, "rewards/format/mean": 0.5}))
    watching.stage_end(stage="base", metrics={"pass@1": 0.25})
    watching.run_end(folder=tmp_path, error="")
    assert said == []
    assert scalars(tmp_path / "tensorboard" / "base") == {
        "loss": [(1, 1.0), (2, 0.5)],
        "rewards/format/mean": [(1, 0.5), (2, 0.5)],
        "final/pass@1": [(0, 0.25)],
    }
    assert scalars(tmp_path / "tensorboard" / "other") == {}


def test_a_run_that_failed_leaves_what_was_seen(tmp_path: Path) -> None:
    watching = observers([])
    watching.stage_start(folder=tmp_path / "stages" / "base", stage="base")
    watching.step_end(stage="base", step=7, report=Step(metrics={"loss": 2.0}))
    watching.run_end(folder=tmp_path, error="NaN")
    assert scalars(tmp_path / "tensorboard" / "base") == {"loss": [(7, 2.0)]}


def test_a_step_of_a_stage_that_started_elsewhere_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    observers(said).step_end(stage="unknown", step=1, report=Step(metrics={"loss": 1.0}))
    assert said == []


def test_without_the_package_it_says_so_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said: list[str] = []
    watching = observers(said)
    watching.run_start(folder=tmp_path, recipe={}, started=RunStarted(folder=str(tmp_path), rows=()))
    watching.stage_start(folder=tmp_path / "stages" / "base", stage="base")
    watching.step_end(stage="base", step=1, report=Step(metrics={"loss": 1.0}))
    watching.run_end(folder=tmp_path, error="")
    assert len(said) == 1
    assert "pip install 'r1core[train]'" in said[0]
    assert not (tmp_path / "tensorboard").exists()
