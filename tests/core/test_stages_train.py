"""A train stage: what the core does between a trainer's steps."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_runs import job_of
from toy_stages import WEIGHTS, Skill

from r1core.errors import NumericsError, RecipeError, RefusedError
from r1core.events import StageNote, StageStarted, StepDone
from r1core.stages import run_stage
from r1core.stages.base import Job
from r1core.stages.context import Context
from r1core.stages.legs import Legs
from r1core.stages.progress import Progress
from r1core.stages.sampling import sample_groups
from r1core.store import read_metrics
from r1core.store.rollouts import RolloutsWriter
from r1core.types import Answer, Problem

EVALUATE = "evaluate: {sets: {score: {problems: Numbers, limit: 50, temperature: 0}}}, rewards: [Exact]"
"""Greedily, `eval/score` is 0 below a skill of one half and 1 from there on."""


def prepared(tmp_path: Path, options: str = "", more: str = "", skill: float = 0.0) -> tuple[Job, list[Any]]:
    start = f"model: {{scratch: {{skill: {skill}}}}}, data: {{use: Numbers}}"
    body = f"train: {{use: Climb{options}}}, {start}{more and ', ' + more}"
    job, events = job_of(tmp_path, f"  stage: {{{body}}}\n", "stage")
    return job, events


def notes(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, StageNote)]


def logged(job: Job) -> list[dict[str, Any]]:
    return list(read_metrics(job.folder / "metrics.jsonl"))


def test_every_step_is_logged_shown_and_counted_from_one(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", steps: 3")
    run_stage(job)
    assert [row["step"] for row in logged(job)] == [1, 2, 3]
    assert [row["loss"] for row in logged(job)] == pytest.approx([0.9, 0.8, 0.7], abs=1e-6)
    assert [(e.step, e.total) for e in events if isinstance(e, StepDone)] == [(1, 3), (2, 3), (3, 3)]
    assert [e.total_steps for e in events if isinstance(e, StageStarted)] == [3]


def test_a_source_has_no_scored_answers(tmp_path: Path) -> None:
    job, _ = prepared(tmp_path)
    from_another = replace(job, stage=replace(job.stage, stage=job.stage.stage.model_copy(update={"model": "base"})))
    assert answers_of(job) == []  # of a model from scratch it is there for the tokenizer
    with pytest.raises(RecipeError, match="Numbers' has no scored answers"):
        answers_of(from_another)


def answers_of(job: Job) -> list[Answer]:
    with job.scoring() as scoring:
        record = RolloutsWriter(job.folder, keep="none", last=1)
        return Context(
            job, Skill(Skill.Config()), scoring, Legs(job), record, Progress(job), start=job.folder
        ).answers()


def test_the_model_is_left_and_nothing_that_was_only_needed_on_the_way(tmp_path: Path) -> None:
    job, _ = prepared(tmp_path)
    metrics = run_stage(job)
    assert json.loads((job.folder / "model" / WEIGHTS).read_text())["skill"] == pytest.approx(0.2, abs=1e-6)
    assert sorted(path.name for path in job.folder.iterdir()) == ["metrics.jsonl", "model"]
    assert metrics["loss"] == pytest.approx(0.8, abs=1e-6)


def test_a_model_from_scratch_depends_on_the_seed_alone(tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        job, _ = prepared(tmp_path / name)
        run_stage(job)
        weights.append((job.folder / "model" / WEIGHTS).read_text())
    assert weights[0] == weights[1]


# --- evaluation while it trains ----------------------------------------------------------------------


def test_a_model_is_measured_every_n_steps_and_at_the_end(tmp_path: Path) -> None:
    more = EVALUATE.replace("{sets", "{every: 3, sets")
    job, _ = prepared(tmp_path, ", steps: 7", more)
    run_stage(job)
    assert {row["step"]: row["eval/score"] for row in logged(job) if "eval/score" in row} == {3: 0.0, 6: 1.0, 7: 1.0}


def test_without_every_a_model_is_measured_at_the_end_only(tmp_path: Path) -> None:
    job, _ = prepared(tmp_path, ", steps: 4", EVALUATE)
    metrics = run_stage(job)
    assert [row["step"] for row in logged(job) if "eval/score" in row] == [4]
    assert metrics["eval/score"] == 0.0


def test_what_evaluation_scored_is_not_told_of_training(tmp_path: Path) -> None:
    rewards = "rewards: [Exact, {use: Brief, down: ['0']}]"  # in training, problem 0 goes by another name
    more = EVALUATE.replace("{sets", "{every: 1, sets").replace("rewards: [Exact]", f"problems: Numbers, {rewards}")
    job, _ = prepared(tmp_path, ", steps: 3, rollouts: true", more)
    run_stage(job)
    assert [row["verifier/infra_rate"] for row in logged(job)] == [0.0] * 3


def test_what_did_not_happen_is_not_measured(tmp_path: Path) -> None:
    job, _ = prepared(tmp_path, ", steps: 2", EVALUATE)
    run_stage(job)
    assert [name for row in logged(job) for name in row if name.startswith(("verifier/", "sampler/"))] == []


# --- extend ------------------------------------------------------------------------------------------

EXTEND = EVALUATE + ", extend: {until: {metric: eval/score, min: 0.9}, by: 0.5, times: TIMES}"


def extended(tmp_path: Path, times: int, gain: float) -> tuple[list[dict[str, Any]], list[Any]]:
    job, events = prepared(tmp_path, f", steps: 4, gain: {gain}", EXTEND.replace("TIMES", str(times)))
    run_stage(job)
    return logged(job), events


def test_a_metric_that_is_never_reached_extends_as_often_as_allowed_and_says_so(tmp_path: Path) -> None:
    rows, events = extended(tmp_path, times=3, gain=0.0)
    assert len(rows) == 4 + 3 * 2
    said = notes(events)
    assert said[:3] == [
        f"eval/score is 0.000 after {4 + 2 * n} steps, at least 0.9 is asked: "
        f"training on for 2 steps (extension {n + 1} of at most 3)"
        for n in range(3)
    ]
    assert said[3].endswith("going on with the model as it is, no extension is left")
    assert len(said) == 4
    assert [e.total_steps for e in events if isinstance(e, StageStarted)] == [4, 6, 8, 10]


def test_extending_stops_when_the_metric_is_reached(tmp_path: Path) -> None:
    rows, events = extended(tmp_path, times=3, gain=0.1)  # one half after 5 steps: the first extension ends at 6
    assert len(rows) == 6
    assert len(notes(events)) == 1
    assert rows[-1]["eval/score"] == 1.0


def test_a_metric_that_is_reached_extends_nothing_and_says_nothing(tmp_path: Path) -> None:
    rows, events = extended(tmp_path, times=3, gain=0.2)
    assert len(rows) == 4
    assert notes(events) == []


def test_each_extension_is_a_leg_of_its_own(tmp_path: Path) -> None:
    rows, _ = extended(tmp_path, times=1, gain=0.0)
    assert [row["position"] for row in rows] == [0, 1, 2, 3, 0, 1]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if "eval/score" in row] == [4, 6]


def test_extending_by_a_metric_that_nobody_computed_is_a_mistake(tmp_path: Path) -> None:
    by_domain = EXTEND.replace("limit: 50", "by: [domain]").replace("eval/score", "eval/score/domain=prime")
    job, _ = prepared(tmp_path, "", by_domain.replace("TIMES", "1"))
    with pytest.raises(RecipeError, match=r"extend: no metric 'eval/score/domain=prime'\n.*eval/score/domain=even"):
        run_stage(job)


# --- numbers that are not finite ---------------------------------------------------------------------


def test_single_steps_that_are_not_finite_are_counted_and_told(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", steps: 8, skipped: [1, 2, 6], bad: [4]")
    assert run_stage(job)["skipped_steps"] == 4
    assert notes(events) == ["4 of 8 steps were skipped: loss or gradient was not finite"]


def test_a_stage_whose_numbers_are_sound_counts_none(tmp_path: Path) -> None:
    job, events = prepared(tmp_path)
    assert run_stage(job)["skipped_steps"] == 0
    assert notes(events) == []


@pytest.mark.parametrize("options", [", skipped: [2, 3, 4]", ", bad: [2, 3, 4]", ", bad: [2, 4], skipped: [3]"])
def test_three_in_a_row_stop_the_stage_and_all_are_logged(tmp_path: Path, options: str) -> None:
    job, _ = prepared(tmp_path, ", steps: 9" + options)
    with pytest.raises(NumericsError, match=r"stages\.stage, step 5: .*3 steps in a row\n.*metrics\.jsonl"):
        run_stage(job)
    assert [row["step"] for row in logged(job)] == [1, 2, 3, 4, 5]
    assert not (job.folder / "model").exists()


# --- rollouts ----------------------------------------------------------------------------------------

ROLLOUTS = "problems: Numbers, rewards: [Exact, Brief]"


def test_rollouts_bring_their_metrics_and_an_answer_to_look_at(tmp_path: Path) -> None:
    job, events = prepared(tmp_path, ", rollouts: true", ROLLOUTS, skill=1.0)
    run_stage(job)
    row = logged(job)[0]
    assert row["sampler/logprob_gap"] == 0.0
    assert row["verifier/infra_rate"] == 0.0
    assert "time/step_s" in row
    sample = next(e.sample for e in events if isinstance(e, StepDone))
    assert sample.question == "say 0"
    assert sample.text.startswith("<think>")
    assert sample.score > 1.0


@pytest.mark.parametrize(("temperature", "kept"), [(1.0, True), (0.7, False)])
def test_only_logprobs_at_temperature_one_are_the_policys(tmp_path: Path, temperature: float, kept: bool) -> None:
    job, _ = prepared(tmp_path, ", rollouts: true", ROLLOUTS)
    policy = job.policy()
    policy.skill = 1.0
    groups = sample_groups(
        job.sampler(policy),
        policy,
        [Problem(id="a", messages=({"role": "user", "content": "say 0"},), reference="0")],
        samples=2,
        max_new_tokens=8,
        temperature=temperature,
        top_p=1.0,
        key=lambda index, sample: sample,
    )
    assert all((rollout.logprobs is not None) == kept for group in groups for rollout in group.rollouts)


def test_a_sampler_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = prepared(tmp_path, ", rollouts: true", ROLLOUTS)
    monkeypatch.setattr(type(job.policy()), "lag", 0.75)
    with pytest.raises(RefusedError, match=r"differ from the policy's by 0\.75 nats") as caught:
        run_stage(job)
    assert "`sync`" in caught.value.fix


def test_a_gap_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = prepared(tmp_path, ", rollouts: true", ROLLOUTS)
    monkeypatch.setattr(type(job.policy()), "lag", math.nan)
    with pytest.raises(RefusedError, match="nan nats"):
        run_stage(job)


def test_a_problem_that_comes_again_is_a_problem_of_its_own(tmp_path: Path) -> None:

    more = ROLLOUTS.replace("Numbers", "{use: Numbers, count: 3}")
    job, _ = prepared(tmp_path, ", rollouts: true", more)
    with job.scoring() as scoring:
        policy = Skill(Skill.Config())
        record = RolloutsWriter(job.folder, keep="none", last=1)
        context = Context(job, policy, scoring, Legs(job), record, Progress(job), start=tmp_path)
        groups = [g for at in context.steps(2) for g in context.rollouts(at, prompts=3, samples=2)]
    assert len({group.problem.id for group in groups}) == 6
    assert len({group.problem.question for group in groups}) == 3
    assert len({rollout.key for group in groups for rollout in group.rollouts}) == 12
    assert [[r.sample for r in group.rollouts] for group in groups] == [[0, 1]] * 6
