"""What the combined score says: weights, parts, who gets which reward, and the limits on outages."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from r1core.errors import RecipeError, RefusedError, SetupError
from r1core.schedules import Window
from r1core.scoring import RewardSpec, ScoringService
from r1core.types import Group, Problem, Response, Rollout

TOYS = Path(__file__).parents[1] / "fixtures" / "scoring_rewards.py"


def spec(name, **given):
    return RewardSpec(name=f"toys/{name.lower()}", target=f"{TOYS}:{name}", **given)


def group(answers, *, problem=None):
    problem = problem or Problem(id="p", messages=({"role": "user", "content": "?"},), reference="yes")
    ids = np.zeros(1, dtype=np.int64)
    return Group(
        problem=problem,
        rollouts=tuple(
            Rollout(
                problem=problem,
                sample=k,
                prompt_ids=ids,
                completion_ids=ids,
                logprobs=None,
                response=Response.parse(f"<think>hm</think><answer>{answer}</answer>"),
            )
            for k, answer in enumerate(answers)
        ),
    )


def scores(specs, groups, **given):
    with ScoringService(specs, **given) as service:
        return [score for scored in service.score(groups) for score in scored.scores]


def test_value_is_the_weighted_sum_of_raw_parts_and_the_reason_the_first_rewards():
    right, wrong = scores([spec("Exact"), spec("Length", weight=0.5)], [group(["yes", "no"])])
    length = float(len("<think>hm</think><answer>yes</answer>"))
    assert right.parts == {"exact": 1.0, "length": length}
    assert right.value == 1.0 + 0.5 * length
    assert (right.status, right.reason) == ("verdict", "correct")
    assert (wrong.value, wrong.reason) == (0.5 * (length - 1), "wrong")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_answer_gets_its_own_score_whatever_the_number_of_workers(workers):
    groups = [group([f"{'x' * (g * 7 + k)}" for k in range(5)]) for g in range(13)]
    found = scores([spec("Length"), spec("Exact")], groups, workers=workers)
    frame = len("<think>hm</think><answer></answer>")
    assert [score.parts["length"] for score in found] == [frame + g * 7 + k for g in range(13) for k in range(5)]


def test_a_reward_is_absent_where_it_does_not_apply():
    specs = [spec("Exact"), spec("Length", only_for={"domain": "general", "level": "3"})]
    general = Problem(id="g", reference="yes", domain="general", meta={"level": 3})
    elsewhere = Problem(id="e", reference="yes", domain="general", meta={"level": 2})
    first, second = scores(specs, [group(["yes"], problem=general), group(["yes"], problem=elsewhere)])
    assert set(first.parts) == {"exact", "length"}
    assert second.parts == {"exact": 1.0}
    assert second.value == 1.0


def test_a_window_limits_a_reward_to_the_last_steps():
    with ScoringService([spec("Exact"), spec("Length", active=Window(last=2))]) as service:
        before = service.score([group(["yes"])], step=7, total=10)[0].scores[0]
        within = service.score([group(["yes"])], step=8, total=10)[0].scores[0]
    assert (set(before.parts), set(within.parts)) == ({"exact"}, {"exact", "length"})


def test_an_answer_that_no_reward_applies_to_is_a_mistake_in_the_recipe():
    with pytest.raises(RecipeError, match=r"no reward applies to problem .*domain"):
        scores([spec("Exact", only_for={"domian": "x"})], [group(["yes"])])


@pytest.mark.parametrize("runs", ["worker", "stage"])
def test_a_reward_that_sees_the_answer_does_not_see_the_thinking(runs):
    (found,) = scores([spec("Length", sees="answer", runs=runs)], [group(["yes"])])
    assert (found.value, found.reason) == (0.0, "thinking=None")


def test_a_stage_reward_runs_in_the_calling_process_and_a_worker_reward_does_not():
    specs = [spec("Process", runs="stage"), spec("Process")]
    (found,) = scores(specs, [group(["yes"])])
    assert found.parts["process"] == os.getpid()
    assert found.parts["process_2"] != os.getpid()


def test_a_stage_reward_that_raises_about_one_answer_fails_that_one(tmp_path):
    options = {"log": str(tmp_path / "log")}
    raised, right = scores([spec("Fault", runs="stage", options=options, lowest=-1.0)], [group(["raise", "yes"])])
    assert (raised.status, raised.value, raised.reason) == ("answer_failure", -1.0, "verifier_error: LookupError")
    assert (right.status, right.value) == ("verdict", 1.0)


def test_a_stage_reward_that_raises_about_every_answer_has_judged_none(tmp_path):
    """A model that has run out of memory says nothing of answers."""
    broken = spec("Fault", runs="stage", options={"log": str(tmp_path / "log")}, lowest=-1.0)
    with ScoringService([broken], max_infrastructure_rate=1.0) as service:
        (found,) = service.score([group(["raise", "raise"])])
    assert [score.status for score in found.scores] == ["infrastructure"] * 2
    assert [score.reason for score in found.scores] == ["verifier_error: LookupError"] * 2


def test_the_first_reward_says_what_is_correct():
    specs = [RewardSpec(name=n, target="m:C") for n in ("chem/accuracy", "accuracy")]
    assert ScoringService(specs).correct_part == "accuracy"


def test_a_spec_takes_over_what_the_class_declares():
    from r1core.components import Reward

    class Slow(Reward):
        timeout_s = 9.0
        lowest = -2.0
        remote = True

    found = RewardSpec.of(Slow, name="slow", target="m:Slow", options={"a": 1}, weight=0.5)
    assert (found.timeout_s, found.lowest, found.remote, found.weight) == (9.0, -2.0, True, 0.5)
    assert found.options == {"a": 1}


@pytest.mark.parametrize(("options", "wanted"), [({}, "answer"), ({"sees": "response"}, "response")])
def test_a_reward_with_an_option_sees_is_shown_what_the_recipe_says(options, wanted):
    from r1core.components import Reward

    class Chosen(Reward):
        class Config(Reward.Config):
            sees: str = Field("answer", description="what it is shown")

    assert RewardSpec.of(Chosen, name="chosen", target="m:Chosen", options=options).sees == wanted


def test_one_infrastructure_failure_makes_the_whole_score_unknown(tmp_path):
    specs = [spec("Exact"), spec("Fault", options={"log": str(tmp_path / "log")})]
    lost, known = scores(specs, [group(["unreachable", "yes"])], max_infrastructure_rate=0.5)
    assert math.isnan(lost.value)
    assert (lost.status, lost.reason, lost.known) == ("infrastructure", "connection refused", False)
    assert lost.parts["exact"] == 0.0
    assert math.isnan(lost.parts["fault"])
    assert (known.status, known.value) == ("verdict", 2.0)


def test_too_many_infrastructure_failures_stop_the_run_and_name_the_reward(tmp_path):
    specs = [spec("Exact"), spec("Fault", options={"log": str(tmp_path / "log")})]
    with pytest.raises(RefusedError, match=r"2 of 4 answers.*2 by reward 'toys/fault'.*connection refused") as caught:
        scores(specs, [group(["unreachable", "yes", "no", "unreachable"])], max_infrastructure_rate=0.4)
    assert caught.value.exit_code == 4


def test_metrics_cover_what_was_scored_since_the_last_call(tmp_path):
    specs = [spec("Fault", options={"log": str(tmp_path / "log")})]
    with ScoringService(specs, max_infrastructure_rate=1.0) as service:
        service.score([group(["unreachable", "yes"]), group(["raise", "nan"])])
        first, second = service.metrics(), service.metrics()
    assert (first["verifier/infra_rate"], first["verifier/failure_rate"]) == (0.25, 0.5)
    assert first["time/verifier_s"] > 0
    assert second == {}


@pytest.mark.parametrize("runs", ["worker", "stage"])
@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("Unbuildable", {}, "no_such_package_anywhere"),
        ("NoSuchClass", {}, "NoSuchClass"),
        ("Fault", {"options": {"colour": "red"}}, "colour"),
        ("Path", {}, "is not a Reward"),
    ],
)
def test_a_reward_that_cannot_be_built_is_a_setup_error_before_any_scoring(runs, name, given, said):
    with pytest.raises(SetupError, match=said) as caught, ScoringService([spec(name, runs=runs, **given)]):
        pass
    assert f"toys/{name.lower()}" in str(caught.value)
