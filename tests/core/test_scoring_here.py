"""Rewards in the stage's process: judges, asked while it samples; models, asked for all at once; what is logged."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import pytest
from test_scoring import group, spec
from test_scoring_batches import arrivals, meanwhile

from r1core.errors import Interrupted, R1Error, RefusedError, SetupError
from r1core.scoring import ScoringService
from r1core.types import Problem


def judge(tmp_path, name="Judge", **options):
    return meanwhile(
        name, runs="stage", remote=name == "Judge", options={"log": str(tmp_path / "log"), **options}, lowest=0.0
    )


def calls(tmp_path):
    """(in the main thread, when, answers) of each call."""
    lines = map(json.loads, (tmp_path / "log").read_text().splitlines())
    return [(is_main, when, answers) for what, is_main, when, answers in lines if what == "asked"]


class Within:
    """A context that a test can look at."""

    def __init__(self, folder):
        self.folder = folder
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def stopping(self):
        return False


def test_a_judge_is_asked_for_complete_groups_while_others_are_still_sampled(tmp_path):
    groups = [group(["yes", "no"]), group(["no", "yes", "no"]), group(["yes"])]
    with ScoringService([spec("Exact"), judge(tmp_path)]) as service, service.batch([2, 3, 1]) as batch:
        for place in (0, 1, 2, 3):
            batch.add(place, [rollout for each in groups for rollout in each.rollouts][place])
        until = time.monotonic() + 20.0
        while len((tmp_path / "log").read_text().splitlines()) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        ((is_main, _, asked),) = calls(tmp_path)
        assert (is_main, asked) == (False, ["yes", "no"])
        scored = batch.finish(groups)
    assert sorted(answer for _, _, answers in calls(tmp_path) for answer in answers) == ["no"] * 3 + ["yes"] * 3
    assert [[score.parts["judge"] for score in each.scores] for each in scored] == [
        *([0.25, 0.0], [0.0, 0.25, 0.0], [0.25])
    ]


def asking():
    """The threads in which judges are asked."""
    return [each for each in threading.enumerate() if each.name.startswith("r1-") and each.name != "r1-scoring"]


def test_leaving_a_batch_ends_what_a_judge_was_asked(tmp_path):
    """Nobody asks on behind the back of a stage that goes down, and what is under way is not torn off."""
    with ScoringService([judge(tmp_path)]) as service:
        with service.batch([1, 1]) as batch:
            batch.add(0, group(["yes"]).rollouts[0])
            assert asking()
        assert not asking()
        (scored,) = service.score([group(["no"])])
    assert scored.scores[0].parts["judge"] == 0.0


def test_a_model_is_asked_once_for_all_in_the_stages_own_thread(tmp_path):
    groups = [group(["yes", "no"]), group(["no"])]
    with ScoringService([judge(tmp_path, "Model")]) as service, service.batch([2, 1]) as batch:
        for place, rollout in arrivals(groups):
            batch.add(place, rollout)
        assert not calls(tmp_path)
        batch.finish(groups)
    ((is_main, _, answers),) = calls(tmp_path)
    assert is_main
    assert sorted(answers) == ["no", "no", "yes"]


@pytest.mark.parametrize("name", ["Judge", "Model"])
@pytest.mark.parametrize(("answer", "error"), [("refuse", RefusedError), ("interrupt", Interrupted)])
def test_what_stops_the_run_passes_through(tmp_path, name, answer, error):
    with ScoringService([judge(tmp_path, name)]) as service, pytest.raises(error) as caught:
        service.score([group(["yes", answer])])
    assert isinstance(caught.value, R1Error)
    assert caught.value.exit_code == error.exit_code


def test_a_judge_that_refuses_stops_the_sampling(tmp_path):
    with ScoringService([judge(tmp_path)]) as service, service.batch([1] * 1000) as batch:
        batch.add(0, group(["refuse"]).rollouts[0])
        with pytest.raises(RefusedError):
            sample(batch, group(["yes"]).rollouts[0])


def sample(batch, rollout):
    for place in range(1, 1000):
        batch.add(place, rollout)
        time.sleep(0.01)


def test_a_reward_is_prepared_once_before_the_first_answer(tmp_path):
    contexts = {}

    def context(part):
        contexts[part] = Within(tmp_path / part)
        return contexts[part]

    with ScoringService([spec("Exact"), judge(tmp_path)], contexts=context) as service:
        assert not (tmp_path / "log").exists()
        service.score([group(["yes"])])
        service.score([group(["no"])])
    whats = [json.loads(line)[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert whats == ["prepared", "asked", "asked"]
    assert list(contexts) == ["judge"]
    assert contexts["judge"].notes == ["the judge is ready"]


def test_a_reward_outside_a_run_is_prepared_with_a_folder_that_does_not_last(tmp_path):
    with ScoringService([judge(tmp_path)]) as service:
        service.score([group(["yes"])])
        what, _, folder, _ = json.loads((tmp_path / "log").read_text().splitlines()[0])
        assert what == "prepared"
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_one_that_cannot_be_prepared_is_named(tmp_path):
    service = ScoringService([judge(tmp_path)], contexts=lambda part: None)
    with service, pytest.raises(SetupError, match="reward 'judge' cannot be prepared: AttributeError"):
        service.score([group(["yes"])])


# --- what is logged ----------------------------------------------------------------------------------


def test_each_reward_is_counted_where_there_are_several(tmp_path):
    faulty = spec("Fault", options={"log": str(tmp_path / "faults")}, timeout_s=0.5, only_for={"domain": "general"})
    general = Problem(id="g", reference="yes", domain="general")
    with ScoringService([spec("Exact"), faulty, judge(tmp_path)], max_infrastructure_rate=1.0) as service:
        service.score([group(["yes", "yes", "lost"]), group(["sleep", "raise", "yes", "unreachable"], problem=general)])
        found, again = service.metrics(), service.metrics()
    assert {key: value for key, value in found.items() if not key.startswith("time/")} == {
        "verifier/infra_rate": 2 / 7,
        "verifier/failure_rate": 2 / 7,
        "verifier/timeout_rate": 1 / 7,
        "verifier/exact/infra_rate": 0.0,
        "verifier/exact/failure_rate": 0.0,
        "verifier/exact/timeout_rate": 0.0,
        "verifier/fault/infra_rate": 1 / 4,
        "verifier/fault/failure_rate": 2 / 4,
        "verifier/fault/timeout_rate": 1 / 4,
        "verifier/judge/infra_rate": 1 / 7,
        "verifier/judge/failure_rate": 0.0,
        "verifier/judge/timeout_rate": 0.0,
        "verifier/judge/gap": (3 * -0.75) / 6,
        "verifier/judge/calls": found["verifier/judge/calls"],
    }
    assert found["verifier/judge/calls"] >= 1
    assert found["time/verifier/judge/cost_s"] == 1.0
    assert 500 <= found["time/verifier/fault/p99_ms"] < 500 + 5 * 250
    assert 0 < found["time/verifier/exact/p99_ms"] < 500
    assert again == {}, "nothing was scored since"


def test_one_reward_is_counted_once():
    with ScoringService([spec("Exact")]) as service:
        service.score([group(["yes"])])
        assert sorted(service.metrics()) == [
            "time/verifier/exact/p99_ms",
            "time/verifier_s",
            "verifier/failure_rate",
            "verifier/infra_rate",
            "verifier/timeout_rate",
        ]


def test_a_gap_is_taken_over_what_both_have_scored(tmp_path):
    with ScoringService([spec("Exact"), judge(tmp_path)], max_infrastructure_rate=1.0) as service:
        service.score([group(["lost"])])
        assert not [key for key, value in service.metrics().items() if key.endswith("gap") or math.isnan(value)]
