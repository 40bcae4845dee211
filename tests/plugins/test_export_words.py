"""What strangers wrote stays text in a card, and a stage that is not whole is not exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from talking_model import build
from test_export import done, refused

from r1_plugins.export.lineage import Step, without_places
from r1_plugins.export.markdown import code, front, plain, table
from r1_plugins.export.words import sentence
from r1core.errors import RecipeError, RefusedError
from r1core.store import RunDirectory, StageRecord

HOSTILE = "x`](http://evil.example)<script>|\n---\nlicense: mit\n# gone \x1b[31m\u202e"


def test_a_name_cannot_end_its_span_its_cell_or_its_line() -> None:
    for text in (plain(HOSTILE), code(HOSTILE)):
        assert "\n" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<" not in plain(HOSTILE)
    assert r"\]" in plain(HOSTILE)
    fence = code(HOSTILE).partition("x")[0].strip()
    assert fence == "``", "one backtick within, two around"
    rows = list(table(["a", "b"], [[plain(HOSTILE), code(HOSTILE)]]))
    assert rows[2].replace("\\|", "").count("|") == 3


def test_front_matter_is_one_yaml_value() -> None:
    loaded = YAML(typ="safe", pure=True).load(f"license: {front(HOSTILE)}\nother: 1\n")
    assert loaded.keys() == {"license", "other"}
    assert loaded["other"] == 1


def test_a_licence_is_said_by_somebody_or_unknown(tmp_path: Path) -> None:
    source = build(tmp_path / "model")
    done(source, tmp_path / "none")
    assert 'license: "unknown"' in (tmp_path / "none" / "README.md").read_text()
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# base\n")
    done(source, tmp_path / "said")
    assert json.loads((tmp_path / "said" / "r1_run.json").read_text())["model"]["license"]["id"] == "apache-2.0"
    done(source, tmp_path / "given", "--license", HOSTILE)
    card = (tmp_path / "given" / "README.md").read_text()
    assert YAML(typ="safe", pure=True).load(card.split("---\n")[1])["library_name"] == "transformers"
    assert "<script>" not in card.split("---\n", 2)[2]


def stage_of(folder: Path, model: Path, *, recorded: bool, finished: bool) -> Path:
    """A stage of a run with this model, as far as it got."""
    run = folder / "run"
    stage = RunDirectory(run).stage("r1")
    if recorded:
        stage.begin("f" * 64, inputs={}, made_from={"kind": "train", "stage": {}})
    shutil.copytree(model, stage.path / "model")
    if finished:
        stage.finish({"loss": 0.5}, wall_s=1.0, cpu_s=1.0)
    (run / "recipe.resolved.yaml").write_text("name: x\nstages:\n  r1: {}\n")
    return stage.path


@pytest.mark.parametrize(("recorded", "said"), [(False, "has no stage.json"), (True, "is not finished")])
def test_a_stage_that_has_not_finished_is_refused(tmp_path: Path, recorded: bool, said: str) -> None:
    stage = stage_of(tmp_path, build(tmp_path / "model"), recorded=recorded, finished=False)
    error = refused(stage, tmp_path / "out")
    assert isinstance(error, RecipeError)
    assert f"stage 'r1' {said}: its model may be half a model" in str(error)
    assert not (tmp_path / "out").exists()


def test_a_stage_whose_file_is_not_what_was_sealed_is_refused(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, build(tmp_path / "model"), recorded=True, finished=True)
    weights = stage / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    error = refused(stage, tmp_path / "out")
    assert isinstance(error, RefusedError)
    assert "model/model.safetensors: not what the stage wrote" in str(error)
    assert not (tmp_path / "out").exists()


def test_what_people_did_to_a_dataset_is_told_and_no_more(tmp_path: Path) -> None:
    counts = {"review/edited": 2.0, "review/rejected": 1.0, "review/unchanged": 7.0}
    for metrics, said in (
        (counts, "10 answers laid out for people to review: 2 edited, 1 rejected."),
        ({"review/unchanged": 7.0}, "7 answers laid out for people to review; none was edited or rejected."),
    ):
        record = StageRecord(status="finished", fingerprint="f" * 64, metrics=metrics)
        assert said in sentence(Step(id="data", kind="review", record=record))


def test_no_path_of_the_machine_leaves_it() -> None:
    made = {
        "problems": {"use": "jsonl", "path": "/home/me/secret/data.jsonl"},
        "model": ["/mnt/models/r1", "base"],
        "k": 3,
    }
    told = without_places(made)
    assert told == {"problems": {"use": "jsonl", "path": "data.jsonl"}, "model": ["r1", "base"], "k": 3}
