"""A stage's life on disk: begun, finished, stale, damaged, and what is kept while it is made again."""

from __future__ import annotations

import math

import pytest

from r1core.errors import SetupError
from r1core.store import RunDirectory, StageDirectory, mark_folder, read_json


@pytest.fixture
def stage(tmp_path):
    with RunDirectory.open(tmp_path / "run") as run:
        yield run.stage("dev1")


def make(stage, fingerprint, content=b"weights", **given):
    stage.begin(fingerprint, inputs={"base": "b0"}, **given)
    stage.model.mkdir()
    (stage.model / "model.safetensors").write_bytes(content)
    return stage.finish({"loss": 0.5}, wall_s=2.0, cpu_s=1.5)


def test_a_stage_goes_from_missing_through_partial_to_finished(stage):
    assert stage.state("f1") == "missing"
    stage.begin("f1", inputs={})
    assert stage.state("f1") == "partial"
    assert stage.state("f2") == "stale"
    stage.finish({}, wall_s=0.0, cpu_s=0.0)
    assert stage.state("f1") == "finished"
    assert stage.state("f2") == "stale"


def test_the_record_says_what_the_stage_was_made_from_and_what_it_left(stage):
    made = make(stage, "f1")
    assert stage.record() == made
    assert (made.status, made.fingerprint, made.inputs) == ("finished", "f1", {"base": "b0"})
    assert (made.metrics, made.wall_s, made.cpu_s) == ({"loss": 0.5}, 2.0, 1.5)
    assert made.files == {f"model/{name}": mark for name, mark in mark_folder(stage.model).items()}
    assert made.files["model/model.safetensors"].size == 7
    assert made.started.endswith("+00:00")
    assert made.started <= made.finished


def test_a_metric_that_is_not_a_number_survives(stage):
    stage.begin("f1", inputs={})
    stage.finish({"kl": math.nan}, wall_s=0.0, cpu_s=0.0)
    assert math.isnan(stage.record().metrics["kl"])


def test_what_a_trainer_tells_stands_beside_the_rest_and_comes_back(stage):
    stage.begin("f1", inputs={})
    made = stage.finish({}, wall_s=0.0, cpu_s=0.0, told={"divergence": {"live": "forward KL", "tokens": 3}})
    assert read_json(stage.path / "stage.json")["divergence"] == {"live": "forward KL", "tokens": 3}
    assert stage.record() == made
    assert made.told == {"divergence": {"live": "forward KL", "tokens": 3}}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_changed_file_is_damage(stage, damage):
    make(stage, "f1")
    path = stage.model / "model.safetensors"
    if damage == "flip":
        path.write_bytes(b"Weights")
    elif damage == "truncate":
        path.write_bytes(b"weight")
    else:
        path.unlink()
    assert stage.state("f1") == "damaged"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "finished"}', "null", "unknown"])
def test_a_record_that_cannot_be_read_is_damage(stage, text):
    make(stage, "f1")
    if text == "unknown":
        text = (stage.path / "stage.json").read_text().replace("{", '{"steps": 3, ', 1)
    (stage.path / "stage.json").write_text(text)
    assert stage.state("f1") == "damaged"
    with pytest.raises(SetupError, match=r"stage\.json"):
        stage.record()


def test_a_folder_without_a_record_is_partial(stage):
    stage.model.mkdir(parents=True)
    assert stage.state("f1") == "partial"


def set_aside(stage):
    return StageDirectory(stage.path.parent / ".stale" / stage.id)


def test_a_stale_stage_is_kept_until_its_successor_finishes(stage):
    make(stage, "f1", b"old")
    stage.begin("f2", inputs={})
    assert (set_aside(stage).model / "model.safetensors").read_bytes() == b"old"
    assert not stage.model.exists()
    stage.finish({}, wall_s=0.0, cpu_s=0.0)
    assert not set_aside(stage).path.exists()


def test_a_finished_predecessor_outlives_half_done_successors(stage):
    make(stage, "f1", b"old")
    for fingerprint in ("f2", "f3"):
        stage.begin(fingerprint, inputs={})
        assert not (stage.path / "half").exists()
        (stage.path / "half").touch()
    assert set_aside(stage).record().fingerprint == "f1"
    assert not (stage.path.parent / ".discarded-dev1").exists()


def test_resuming_keeps_what_a_half_done_stage_has_but_not_its_torn_files(stage):
    stage.begin("f1", inputs={})
    (stage.path / "checkpoint").mkdir()
    stage.data.mkdir()
    (stage.data / ".part-00000.parquet.tmp-17").touch()
    stage.begin("f1", inputs={}, resume=True)
    assert (stage.path / "checkpoint").is_dir()
    assert mark_folder(stage.data) == {}


def test_resuming_starts_afresh_when_the_fingerprint_changed(stage):
    stage.begin("f1", inputs={})
    (stage.path / "checkpoint").mkdir()
    stage.begin("f2", inputs={}, resume=True)
    assert not (stage.path / "checkpoint").exists()


def test_opening_the_run_again_removes_what_kills_left_behind(tmp_path):
    with RunDirectory.open(tmp_path) as run:
        make(run.stage("dev1"), "f1")
        half = run.path / "stages" / ".discarded-dev2"
        half.mkdir()
        predecessor = set_aside(run.stage("dev1")).path
        predecessor.mkdir(parents=True)
        make(run.stage("dev3"), "f1")
        run.stage("dev3").begin("f2", inputs={})
    with RunDirectory.open(tmp_path) as run:
        assert not half.exists()
        assert not predecessor.exists()
        assert set_aside(run.stage("dev3")).record().fingerprint == "f1"
