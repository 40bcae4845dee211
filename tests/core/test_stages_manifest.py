"""The manifest of an evaluation: what it says, what its hashes are of, and that a resumed one says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_runs import job_of
from toy_stages import WEIGHTS

from r1core.stages import run_stage
from r1core.stages.manifest import like, manifest, templates
from r1core.store import read_json

STAGES = """\
  weak: BASE
  strong: BASE
  table:
    evaluate:
      sets:
        pass@1: {problems: Numbers, limit: 6, samples: 2, top_p: 0.9}
        greedy: {problems: Numbers, limit: 4, temperature: 0, models: [strong]}
    models: [weak, strong]
    sampling: {max_new_tokens: 7}
    rewards: [Exact]
    seed: 3
"""


def told(folder: Path, stages: str = STAGES) -> dict[str, Any]:
    models = {name: folder / name for name in ("weak", "strong")}
    for place in models.values():
        place.mkdir(parents=True)
        (place / WEIGHTS).write_text(json.dumps({"skill": 0.5}))
    job, _ = job_of(folder, stages, "table", **models)
    run_stage(job)
    found: dict[str, Any] = read_json(job.folder / "data" / "manifest.json")
    return found


def test_it_says_how_each_set_was_measured(tmp_path: Path) -> None:
    found = told(tmp_path)
    facts = found["sets"]["pass@1"]
    assert {name: facts[name] for name in ("samples", "k", "temperature", "top_p", "max_new_tokens", "seed")} == {
        "samples": 2,
        "k": 1,
        "temperature": 1.0,
        "top_p": 0.9,
        "max_new_tokens": 7,
        "seed": 3,
    }
    assert facts["problems"]["number"] == 6
    assert len(facts["problems"]["sha256"]) == 64
    assert facts["reward"] == "Exact"
    assert len(facts["rewards"]["Exact"]["source"]) == 64
    assert facts["sampler"]["source"]
    assert "seed" in facts["keys"]


def test_each_model_has_the_hash_of_every_set_that_it_was_measured_on(tmp_path: Path) -> None:
    models = told(tmp_path)["models"]
    assert list(models["weak"]["like"]) == ["pass@1"]
    assert list(models["strong"]["like"]) == ["pass@1", "greedy"]
    assert models["weak"]["like"]["pass@1"] == models["strong"]["like"]["pass@1"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("limit: 6", "limit: 5"),
        ("samples: 2", "samples: 3"),
        ("top_p: 0.9", "top_p: 0.8"),
        ("max_new_tokens: 7", "max_new_tokens: 8"),
        ("seed: 3", "seed: 4"),
        ("{problems: Numbers, limit: 6", "{problems: {use: Numbers, count: 6}, limit: 5"),
        ("rewards: [Exact]", "rewards: [Exact, {use: Brief}]"),
    ],
)
def test_whatever_must_be_like_is_in_the_hash(tmp_path: Path, before: str, after: str) -> None:
    assert before in STAGES
    here, there = told(tmp_path / "a"), told(tmp_path / "b", STAGES.replace(before, after))
    assert here["models"]["weak"]["like"]["pass@1"] != there["models"]["weak"]["like"]["pass@1"]


def test_options_that_say_what_always_held_leave_fingerprints_as_they_were(tmp_path: Path) -> None:
    models = {name: tmp_path / name for name in ("weak", "strong")}
    job, _ = job_of(tmp_path, STAGES, "table", **models)
    assert not {"thinking", "also_k"} & job.stage.made_from["stage"]["evaluate"]["sets"]["pass@1"].keys()
    said = STAGES.replace("top_p: 0.9", "top_p: 0.9, thinking: optional, also_k: [2]")
    (tmp_path / "said").mkdir()
    other, _ = job_of(tmp_path / "said", said, "table", **models)
    assert other.stage.made_from["stage"]["evaluate"]["sets"]["pass@1"]["thinking"] == "optional"
    assert other.stage.fingerprint != job.stage.fingerprint


def test_the_same_evaluation_has_the_same_manifest(tmp_path: Path) -> None:
    assert told(tmp_path / "a") == told(tmp_path / "b")


def test_another_template_is_another_measure_and_another_tokenizer_is_not() -> None:
    facts = {"samples": 2}
    one = like(facts, {"template": "a", "tokenizer": "x"})
    assert one == like(facts, {"template": "a", "tokenizer": "y"})
    assert one != like(facts, {"template": "b", "tokenizer": "x"})
    marks = {"p": {"template": "a"}, "q": {"template": "b"}, "r": {"template": "a"}}
    assert templates(marks) == [["p", "r"], ["q"]]
    assert templates({**marks, "elsewhere": {}}) == [["p", "r"], ["q"]]  # nobody knows how that one was asked
    models = manifest({"s": facts}, marks, {"p": ["s"], "q": ["s"], "r": []})["models"]
    assert models["p"]["like"] != models["q"]["like"]
    assert models["r"]["like"] == {}
