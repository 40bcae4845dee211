"""Signals of real small models: what a stage keeps is what the model says, whoever asks it, and however often it dies.

Each run imports a random model, takes given answers, and grades them: with the policy, or over HTTP (toy_grader.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import torch
from toy_grader import ToyGrader, toy_grader

from r1core.components import Policy
from r1core.errors import RefusedError, SetupError
from r1core.events import Event, StageNote, StepDone
from r1core.pipeline import run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.store.signals import StoredSignals
from r1core.testing.tasks import component
from r1core.types import Signal

RECIPE = """\
r1: 1
name: graded
profile: none
engines: {policy: {use: transformers, device: cpu}, sampler: native}
stages:
  teacher: {import: MODEL}
  texts: {sample: {prompts: 6, answers: given}, problems: {use: jsonl, path: ROWS, completion: completion}}
  graded: {signals: SIGNALS, model: teacher, data: texts SAMPLER}
"""
ANSWERS = ("<think> w1 w2 w3 </think> <answer> w4 </answer>", "w5 w6 w5", "w7", "w1 w2", "w3", "w9 w8 w7 w6")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model.write_tokenizer(folder)
    component("policy", {"use": "transformers", "device": "cpu"}, folder).create(
        folder, tiny_model.ARCHITECTURE, seed=3
    )
    return folder


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    opened: Policy = component("policy", {"use": "transformers", "device": "cpu"}, model).open(model, trainable=False)
    return opened


@pytest.fixture
def server(policy: Policy) -> Iterator[ToyGrader]:
    with toy_grader(policy) as toy:
        yield toy


def run(folder: Path, model: Path, signals: str, *, sampler: str = "") -> list[Event]:
    """The recipe in `folder/run`; the events stay in the exception's `events` when it fails."""
    rows = [{"id": f"q{i}", "prompt": f"w{i} w0", "completion": text} for i, text in enumerate(ANSWERS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = RECIPE.replace("MODEL", str(model)).replace("ROWS", str(folder / "rows.jsonl")).replace("SIGNALS", signals)
    (folder / "recipe.yaml").write_text(text.replace("SAMPLER", f", sampler: {sampler}" if sampler else ""))
    host, events = PluginHost.discover(), list[Event]()
    try:
        run_plan(make_plan(resolve(folder / "recipe.yaml"), host), host, folder / "run", listener=events.append, jobs=1)
    except BaseException as error:
        error.events = events  # type: ignore[attr-defined]
        raise
    return events


def found(folder: Path) -> list[Signal]:
    stored = StoredSignals(folder / "run/stages/graded/signals")
    return [stored[row] for row in range(len(stored))]


def about(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "run/stages/graded/signals/signals.json").read_text())
    return told


def direct(policy: Policy, signal: Signal, temperature: float) -> np.ndarray:
    """(T, V) the model's log-probs of every token in each counted place, given those before: by its own forward."""
    with torch.no_grad():
        logits = policy.module()(torch.from_numpy(signal.ids)[None]).logits[0, signal.start - 1 : -1]
    return (logits.double() / temperature).log_softmax(-1).numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_signals_are_the_models_own_distribution_for_each_counted_token(
    tmp_path: Path, model: Path, policy: Policy, temperature: float
) -> None:
    run(tmp_path, model, f"{{k: 6, temperature: {temperature}, chunk: 4}}")
    signals = found(tmp_path)
    assert len(signals) == len(ANSWERS)
    for signal, text in zip(signals, ANSWERS, strict=True):
        assert signal.ids[signal.start :].tolist() == policy.completion_ids(text).tolist(), "the end token counts"
        expected = direct(policy, signal, temperature)
        np.testing.assert_allclose(signal.top_logprobs, np.take_along_axis(expected, signal.top_ids, axis=1), atol=1e-5)
        np.testing.assert_allclose(signal.top_logprobs, np.sort(expected, axis=1)[:, ::-1][:, :6], atol=1e-5)
        own = expected[np.arange(len(expected)), signal.ids[signal.start :]]
        np.testing.assert_allclose(signal.logprobs, own, atol=1e-5)
        assert signal.present.all()
    told = about(tmp_path)
    assert {name: told[name] for name in ("tokenizer", "ids", "end", "template")} == policy.text_marks


def test_texts_that_the_teacher_has_no_positions_for_are_not_graded_and_counted(tmp_path: Path, model: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(model, short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 10}))
    events = run(tmp_path, short, "{k: 6, chunk: 4}")
    signals = found(tmp_path)
    assert 0 < len(signals) < len(ANSWERS)
    assert max(len(signal.ids) for signal in signals) <= 10
    left_out = len(ANSWERS) - len(signals)
    assert about(tmp_path)["rows"] == len(signals)
    notes = [event.text for event in events if isinstance(event, StageNote)]
    assert any(note.startswith(f"{left_out} texts are left out") for note in notes)


def test_a_teacher_behind_http_gives_the_same_signals(
    tmp_path: Path, model: Path, policy: Policy, server: ToyGrader
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    run(here, model, "{k: 6, chunk: 4}")
    run(there, model, "{k: 6, chunk: 4}", sampler=f'{{use: remote_teacher, endpoint: {{url: "{server.url}"}}}}')
    for ours, theirs in zip(found(here), found(there), strict=True):
        assert ours.top_ids.tolist() == theirs.top_ids.tolist()
        np.testing.assert_allclose(ours.top_logprobs, theirs.top_logprobs, atol=1e-4)
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-4)
        assert theirs.present.all()
    told = about(there)
    assert told["teacher"]["root"] == "/models/teacher"
    assert told["tokens_of"] == about(here)["teacher"]
    assert {**told, "teacher": 0} == {**about(here), "teacher": 0}


def test_a_server_that_dies_half_way_ends_the_run_and_the_same_command_goes_on(
    tmp_path: Path, model: Path, server: ToyGrader
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    folder.mkdir()
    sampler = f'{{use: remote_teacher, endpoint: {{url: "{server.url}", give_up_s: 0.5}}}}'
    run(whole, model, "{k: 4, chunk: 2}", sampler=sampler)
    probed, texts = 2, len(ANSWERS)
    assert len(server.asked) == probed + texts
    server.asked.clear()
    server.fault = lambda number: 503 if number >= probed + 3 else None
    with pytest.raises(SetupError, match=r"no answer after .* HTTP 503") as caught:
        run(folder, model, "{k: 4, chunk: 2}", sampler=sampler)
    assert server.faults > 0
    assert caught.value.exit_code == 3
    done = [event for event in caught.value.events if isinstance(event, StepDone) and event.stage == "graded"]  # type: ignore[attr-defined]
    assert [event.step for event in done] == [1]
    server.fault, server.faults = lambda number: None, 0
    server.asked.clear()
    events = run(folder, model, "{k: 4, chunk: 2}", sampler=sampler)
    notes = [event.text for event in events if isinstance(event, StageNote) and event.stage == "graded"]
    assert "going on after unit 1 of 3" in notes
    assert len(server.asked) == probed + 1 + texts - 2, "the probe, one text to know it by, and those that were left"
    left = "run/stages/graded/signals"
    parts = {path.name: path.read_bytes() for path in (whole / left).iterdir()}
    assert {path.name: path.read_bytes() for path in (folder / left).iterdir()} == parts


def test_a_server_that_cannot_be_the_teacher_ends_the_run_before_the_first_text(
    tmp_path: Path, model: Path, server: ToyGrader
) -> None:
    server.most = 5
    sampler = f'{{use: remote_teacher, endpoint: {{url: "{server.url}"}}}}'
    with pytest.raises(RefusedError, match="--max-logprobs 6") as caught:
        run(tmp_path, model, "{k: 6}", sampler=sampler)
    assert caught.value.exit_code == 4
    assert not list((tmp_path / "run/stages/graded").rglob("*.parquet"))
