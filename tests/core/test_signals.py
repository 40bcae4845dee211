"""Signals stages: what a teacher says of kept texts, killed anywhere and run again; and caches of somebody else.

Runs of toys (toy_signals.py), whose verdict on a token follows from the token and the teacher's skill alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toy_signals
from toy_runs import Ran, contents, go, planned
from toy_signals import verdict

from r1core.errors import NumericsError, RecipeError, RefusedError, SetupError
from r1core.events import StageFinished, StageNote, StageStarted, StepDone
from r1core.stages import signal_texts
from r1core.stages.signals import signals_of
from r1core.store import kills, read_metrics, read_rows
from r1core.store.rows import count_rows
from r1core.store.signals import StoredSignals, bytes_of
from r1core.types import TrainSequence

HERE = toy_signals.HERE
STAGES = f"""\
  base: BASE
  better: {{train: {{use: Climb, steps: 4}}, model: base}}
  texts:
    sample: {{prompts: 10, samples: 2, chunk: 4}}
    model: base
    problems: Numbers
    rewards: [Exact]
    filters: [Right]
  more: {{sample: {{prompts: 3, answers: given}}, problems: Numbers}}
  graded: {{signals: SIGNALS, model: better, data: [texts, more], policy: "{HERE}:Teacher" SAMPLER}}
  student: {{train: {{use: "{HERE}:Copy", signals: graded}}, model: base}}
"""
SIGNALS = "{k: 4, chunk: 3}"


def stages(signals: str = SIGNALS, sampler: str = "", text: str = STAGES) -> str:
    return text.replace("SIGNALS", signals).replace(
        "SAMPLER", f', sampler: {{use: "{HERE}:{sampler}}}' if sampler else ""
    )


def own(folder: Path) -> Path:
    return folder / "run/stages/graded"


def signals_in(folder: Path) -> StoredSignals:
    return StoredSignals(own(folder) / "signals")


def notes(ran: Ran) -> list[str]:
    return [note.text for note in ran.of(StageNote, "graded")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A folder in which all of it has run."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, go(folder, stages(), jobs=1)


# --- what it leaves ------------------------------------------------------------------------------------


def test_every_kept_text_has_its_signal_in_order(whole: tuple[Path, Ran]) -> None:
    folder, _ = whole
    kept = [row for stage in ("texts", "more") for row in read_rows(folder / f"run/stages/{stage}/data") if row["keep"]]
    found = signals_in(folder)
    assert 6 < len(kept) == len(found)
    assert len(list((own(folder) / "signals").glob("*.parquet"))) == -(-len(kept) // 3)
    skill = json.loads((folder / "run/stages/better/model/model.safetensors").read_text())["skill"]
    for number, row in enumerate(kept):
        signal = found[number]
        ids = [1, *map(ord, row["text"]), 0]
        assert (signal.ids.tolist(), signal.start) == (ids, 1), "the prompt, the text, and the end token"
        sequence = TrainSequence(ids=signal.ids, start=1, columns={})
        top_ids, top_logprobs, logprobs = verdict(sequence, k=4, temperature=1.0, skill=skill)
        np.testing.assert_array_equal(signal.top_ids, top_ids)
        np.testing.assert_array_equal(signal.top_logprobs, top_logprobs)
        np.testing.assert_array_equal(signal.logprobs, logprobs)
        assert signal.present.all()
        assert len(signal.present) == len(row["text"]) + 1
    assert found.lengths.tolist() == [len(row["text"]) + 2 for row in kept]


def test_it_says_whose_they_are_and_how_they_were_made(whole: tuple[Path, Ran]) -> None:
    folder, ran = whole
    about, plan = dict(signals_in(folder).about), planned(folder, stages())
    teacher = {"stage": "better", "fingerprint": plan.fingerprints["better"]}
    counts = {name: about.pop(name) for name in ("rows", "tokens", "counted", "present")}
    assert about == {
        "teacher": teacher,
        "tokens_of": teacher,
        "temperature": 1.0,
        "k": 4,
        "scheme": "top_k",
        "tokenizer": "of toys",
        "template": "none",
    }
    assert counts["tokens"] == signals_in(folder).lengths.sum() == counts["counted"] + counts["rows"]
    (finished,) = ran.of(StageFinished, "graded")
    assert finished.metrics["signals/mass"] == pytest.approx(1 - 2**-4, abs=1e-6)
    assert notes(ran)[-1].startswith(f"signals of {counts['present']:,} of {counts['counted']:,} tokens of ")
    sealed = json.loads((own(folder) / "stage.json").read_text())["files"]
    assert "signals/signals.json" in sealed
    assert "signals/part-00000.parquet" in sealed


def test_a_trainer_reads_them(whole: tuple[Path, Ran]) -> None:
    folder, ran = whole
    (finished,) = ran.of(StageFinished, "student")
    found = signals_in(folder)
    told = {name: finished.metrics[name] for name in ("texts", "tokens", "k")}
    assert told == {"texts": len(found), "tokens": found.lengths.sum(), "k": 4}


def test_the_sampled_scheme_keeps_the_texts_own_tokens_alone(tmp_path: Path) -> None:
    ran = go(tmp_path, stages("{scheme: sampled, temperature: 2.0}"), jobs=1, until_stage="graded")
    found = signals_in(tmp_path)
    assert found[0].top_ids.shape == (len(found[0].ids) - 1, 0)
    assert np.isfinite(found[0].logprobs).all()
    assert (found.about["scheme"], found.about["k"], found.about["temperature"]) == ("sampled", 0, 2.0)
    assert "signals/mass" not in ran.of(StageFinished, "graded")[0].metrics


def test_a_changed_way_of_keeping_them_makes_this_stage_and_its_students_anew_and_nothing_else(
    whole: tuple[Path, Ran], tmp_path: Path
) -> None:
    shutil.copytree(whole[0] / "run", tmp_path / "run")
    ran = go(tmp_path, stages("{k: 4, temperature: 0.5, chunk: 3}"), jobs=1)
    assert ran.order(StageStarted) == ["graded", "student"]


# --- a teacher elsewhere -------------------------------------------------------------------------------


def test_a_sampler_is_the_teacher_where_the_stage_names_one(tmp_path: Path) -> None:
    silent = ord("4")
    go(tmp_path, stages(sampler=f'Faraway", silent: [{silent}]'), jobs=1, until_stage="graded")
    found = signals_in(tmp_path)
    assert found.about["teacher"] == {"server": "nowhere", "model": "skill 3.0"}
    assert found.about["tokens_of"]["stage"] == "better"
    assert found.about["present"] < found.about["counted"]
    for number in range(len(found)):
        signal = found[number]
        counted = signal.ids[signal.start :]
        assert signal.present.tolist() == (counted != silent).tolist(), "no signal is not a signal of the tail"
        assert (signal.top_ids[~signal.present] == -1).all()
        assert np.isneginf(signal.top_logprobs[~signal.present]).all()
        np.testing.assert_allclose(signal.logprobs[signal.present], (-3 - counted / 100)[signal.present], rtol=1e-6)


def test_a_model_whose_numbers_are_none_stops_the_run(tmp_path: Path) -> None:
    broken = stages().replace(":Teacher", ":Broken")
    with pytest.raises(NumericsError, match=r"log-probs of a text of \d+ tokens are NaN"):
        go(tmp_path, broken, jobs=1, until_stage="graded")
    assert not list(own(tmp_path).rglob("*.parquet"))


def test_a_teacher_that_says_nothing_at_all_is_refused(tmp_path: Path) -> None:
    silent = [*range(128)]
    with pytest.raises(RefusedError, match=r"none of \d+ tokens has a signal"):
        go(tmp_path, stages(sampler=f'Faraway", silent: {silent}'), jobs=1, until_stage="graded")


# --- killed and run again ------------------------------------------------------------------------------


def left(folder: Path) -> dict[str, Any]:
    """Every file of the stage less what holds times."""
    metrics = [
        {name: value for name, value in row.items() if not name.startswith("time/")}
        for row in read_metrics(own(folder) / "metrics.jsonl")
    ]
    sealed = json.loads((own(folder) / "stage.json").read_text())["files"]
    return {**contents(own(folder), "stage.json", "output.log", "metrics.jsonl"), "m": metrics, "sealed": sealed}


def killed(folder: Path, place: str, monkeypatch: pytest.MonkeyPatch, recipe: str) -> Ran:
    """Run the stage, and have it killed there."""
    log = folder / "kills"
    log.unlink(missing_ok=True)
    monkeypatch.setenv(kills.AT, f"graded/{place}")
    monkeypatch.setenv(kills.LOG, str(log))
    with pytest.raises(SetupError, match=r"stages\.graded: its process was killed by SIGKILL") as caught:
        go(folder, recipe, until_stage="graded", jobs=1)
    monkeypatch.delenv(kills.AT)
    assert log.read_text().split() == [f"graded/{place.partition(':')[0]}"]
    events: Ran = caught.value.events  # type: ignore[attr-defined]
    return events


def without_signals(whole: Path, folder: Path) -> Path:
    """A copy of the run in which nothing is graded yet."""
    shutil.copytree(whole / "run", folder / "run")
    shutil.rmtree(own(folder))
    return folder


@pytest.mark.parametrize("unit", [1, 2, 4])
def test_a_killed_stage_ends_with_the_same_bytes(
    whole: tuple[Path, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: int
) -> None:
    folder = without_signals(whole[0], tmp_path)
    killed(folder, f"unit:{unit}", monkeypatch, stages())
    for place in ("file", "ledger.append"):
        ran = killed(folder, place, monkeypatch, stages())
        assert (f"going on after unit {unit - 1} of 4" in notes(ran)) == (unit > 1)
    ran = killed(folder, "ledger.done", monkeypatch, stages())
    ran = go(folder, stages(), until_stage="graded", jobs=1)
    assert f"going on after unit {unit} of 4" in notes(ran)
    assert [event.step for event in ran.of(StepDone)] == list(range(unit + 1, 5)), "no text is graded twice"
    assert left(folder) == left(whole[0])


def test_killed_before_it_says_whose_they_are_it_says_so_later(
    whole: tuple[Path, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = without_signals(whole[0], tmp_path)
    killed(folder, "file:5", monkeypatch, stages())
    assert not (own(folder) / "signals/signals.json").exists()
    ran = go(folder, stages(), until_stage="graded", jobs=1)
    assert not ran.of(StepDone)
    assert left(folder) == left(whole[0])


def test_another_model_under_the_same_name_is_noticed_when_a_stage_goes_on(
    whole: tuple[Path, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may serve something else by now; nothing of the recipe has changed."""
    folder, model = without_signals(whole[0], tmp_path), tmp_path / "served"
    recipe = stages(sampler=f'Faraway", served: "{model}"')
    model.write_text("3.0")
    killed(folder, "unit:2", monkeypatch, recipe)
    model.write_text("2.0")
    with pytest.raises(RefusedError, match="grades the first text otherwise than before, by 1 nats a token"):
        go(folder, recipe, until_stage="graded", jobs=1)
    model.write_text("3.01")
    ran = go(folder, recipe, until_stage="graded", jobs=1)
    assert "going on after unit 1 of 4" in notes(ran)


# --- caches of somebody else ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 2.0),
        ("k", 8),
        ("scheme", "sampled"),
        ("tokens_of", {"stage": "better", "fingerprint": "another teacher's"}),
    ],
)
def test_signals_that_the_stage_would_not_make_are_refused(
    whole: tuple[Path, Ran], tmp_path: Path, key: str, value: Any
) -> None:
    """Put there by hand, seal and all: as a cache that is copied from another run would be."""
    shutil.copytree(whole[0] / "run", tmp_path / "run")
    path = own(tmp_path) / "signals/signals.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(RecipeError, match=rf"(?s)not those of stage 'graded': {key} .*--from graded"):
        signals_of(planned(tmp_path, stages()), path.parent)
    assert len(signals_of(planned(tmp_path, stages()), own(whole[0]) / "signals")) > 0


# --- texts that the model would read otherwise ---------------------------------------------------------


def test_texts_that_the_models_template_begins_otherwise_are_refused_before_they_are_graded(
    whole: tuple[Path, Ran], tmp_path: Path
) -> None:
    shutil.copytree(whole[0] / "run", tmp_path / "run")
    opening = stages().replace(":Teacher", ":Opening")
    with pytest.raises(RecipeError, match="template opens the think block, and the text opens it again"):
        go(tmp_path, opening, jobs=1, until_stage="graded")
    assert not (own(tmp_path) / "signals/part-00000.parquet").exists()


# --- room on the disk ----------------------------------------------------------------------------------


def test_signals_that_the_disk_has_no_room_for_are_refused_before_the_first_text(
    whole: tuple[Path, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = SimpleNamespace(folder=tmp_path, stage=planned(tmp_path, stages()).stage("graded"))
    folders = [whole[0] / f"run/stages/{stage}/data" for stage in ("texts", "more")]
    tokens = sum(count_rows(folder, kept=True).tokens for folder in folders)
    free = bytes_of(tokens, tokens, k=4) - 1
    monkeypatch.setattr(signal_texts.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(SetupError, match=r"(?s)signals of \d+ tokens take about .* are free.*scheme: sampled"):
        signal_texts.check_room(job, folders, left=1.0)  # type: ignore[arg-type]
    signal_texts.check_room(job, folders, left=0.9)  # type: ignore[arg-type]


# --- plans ---------------------------------------------------------------------------------------------


def refused(folder: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(folder, text)
    return str(caught.value)


def test_a_policy_that_tells_no_likeliest_tokens_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, stages().replace(f'"{HERE}:Teacher"', "Skill"))
    assert "Skill" in said
    assert "tells no likeliest tokens" in said


def test_a_sampler_that_grades_nothing_is_no_teacher(tmp_path: Path) -> None:
    assert "cannot be a teacher: it grades no texts" in refused(tmp_path, stages(sampler='Mute"'))
    nested = stages().replace("signals: graded}", f'signals: graded, teacher: {{use: "{HERE}:Mute"}}}}')
    assert "cannot be a teacher: it grades no texts" in refused(tmp_path, nested)
    fine = nested.replace("Mute", "Faraway")
    assert planned(tmp_path, fine).stage("student").stage.train is not None


def test_a_sampler_that_writes_nothing_is_asked_for_no_answers(tmp_path: Path) -> None:
    asked = stages().replace(
        "problems: Numbers\n    rewards", f'problems: Numbers\n    sampler: "{HERE}:Faraway"\n    rewards'
    )
    assert "writes no answers, it only grades" in refused(tmp_path, asked)


def test_only_texts_of_stages_are_graded(tmp_path: Path) -> None:
    said = refused(tmp_path, stages().replace("data: [texts, more]", "data: [texts, {use: Numbers}]"))
    assert "grades the texts of stages" in said
    assert "answers: given" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("signals: graded}", "signals: texts}", "'texts' is not signals: a sample stage makes data"),
        ("data: [texts, more]", "data: [base]", "'base' is not data: a train stage makes a model"),
        (SIGNALS, "{k: 4, scheme: sampled}", "scheme sampled keeps the text's own token alone: remove `k`"),
        (SIGNALS, "{temperature: 0}", "temperature"),
        (
            ", model: better, data",
            ", model: better, problems: Numbers, data",
            "a signals stage does not read 'problems'",
        ),
        (", data: [texts, more]", "", "missing key 'data': a signals stage grades the texts of other stages"),
        (", model: better, data", ", data", "missing key 'model': the teacher of a signals stage is a stage's model"),
    ],
)
def test_slips_are_said_with_what_to_do(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = stages()
    assert old in text
    assert said in refused(tmp_path, text.replace(old, new))
