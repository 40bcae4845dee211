"""Answers that are scored as they come: in any order, at any time, from anywhere, each gets its own score."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_scoring import group, spec
from test_scoring_faults import fault, fired

from r1core.errors import RecipeError
from r1core.scoring import RewardSpec, ScoringService

MEANWHILE = Path(__file__).parents[1] / "fixtures" / "scoring_meanwhile.py"


def meanwhile(name, **given):
    return RewardSpec(name=name.lower(), target=f"{MEANWHILE}:{name}", **given)


def arrivals(groups) -> Iterator[tuple[int, object]]:
    """(place, answer), as a sampler would give them: in no particular order."""
    answers = list(enumerate(rollout for each in groups for rollout in each.rollouts))
    random.Random(0).shuffle(answers)
    yield from answers


# --- while the stage samples -------------------------------------------------------------------------


def test_answers_are_scored_while_others_are_still_sampled():
    with ScoringService([meanwhile("Slow")]) as service, service.batch([4, 4]) as batch:
        groups = [group(["a"] * 4), group(["b"] * 4)]
        for place, rollout in arrivals(groups):
            batch.add(place, rollout)
        time.sleep(3.0)  # the stage is at work; scoring takes 0.8 s of one worker
        begun = time.monotonic()
        scored = batch.finish(groups)
        waited_s = time.monotonic() - begun
    assert waited_s < 0.8 * 5 / 8
    assert all(score.value < begun for one in scored for score in one.scores)


def test_a_deadline_is_kept_while_the_stage_is_at_work(tmp_path):
    with ScoringService([fault(tmp_path)]) as service, service.batch([2]) as batch:
        answers = group(["sleep", "yes"])
        for place, rollout in enumerate(answers.rollouts):
            batch.add(place, rollout)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:  # it keeps the interpreter busy, too
            sum(range(1000))
        begun = time.monotonic()
        (scored,) = batch.finish([answers])
        assert time.monotonic() - begun < 0.5
    assert fired(tmp_path) == ["sleep", "sleep"]
    assert [(score.value, score.reason) for score in scored.scores] == [(-1.0, "verifier_timeout"), (1.0, "correct")]


@pytest.mark.parametrize("handed_over", [0, 7, 26])
def test_the_scores_do_not_depend_on_when_and_in_which_order_answers_came(handed_over):
    groups = [group([f"{'x' * (g * 7 + k)}" for k in range(1 + g % 3)]) for g in range(13)]
    sizes = [len(each.rollouts) for each in groups]
    with ScoringService([spec("Length"), spec("Exact")], workers=2) as service:
        at_once = service.score(groups)
        with service.batch(sizes) as batch:
            for place, rollout in list(arrivals(groups))[:handed_over]:
                batch.add(place, rollout)
            assert batch.finish(groups) == at_once


def test_answers_that_are_not_those_that_were_handed_over_are_a_bug():
    one, other = group(["yes", "no"]), group(["yes", "no"])
    with ScoringService([spec("Exact")]) as service:
        with service.batch([2]) as batch:
            batch.add(1, one.rollouts[1])
            with pytest.raises(RuntimeError, match="answer 1 of 2 was handed over twice"):
                batch.add(1, one.rollouts[1])
            with pytest.raises(RuntimeError, match="answer 2 of 2"):
                batch.add(2, one.rollouts[1])
            with pytest.raises(RuntimeError, match="answer 1 is not the one that was handed over"):
                batch.finish([other])
        with service.batch([2]) as batch:
            batch.add(1, one.rollouts[1])
            with pytest.raises(RuntimeError, match="2 answers were handed over to be scored, 1 came back"):
                batch.finish([group([]), other.keep([True, False])])
        assert service.score([one])[0].rewards_G.tolist() == [1.0, 0.0]


def test_a_batch_that_is_left_unfinished_holds_up_nobody(tmp_path):
    with ScoringService([fault(tmp_path, timeout_s=60.0)], workers=2) as service:
        with service.batch([2]) as batch:
            for place, rollout in enumerate(group(["sleep", "sleep"]).rollouts):
                batch.add(place, rollout)
            until = time.monotonic() + 20.0
            while not (tmp_path / "log").exists() and time.monotonic() < until:
                time.sleep(0.02)
        assert fired(tmp_path)[0] == "sleep"
        begun = time.monotonic()
        assert service.score([group(["yes"] * 4)])[0].rewards_G.tolist() == [1.0] * 4
        assert time.monotonic() - begun < 20.0


def test_an_answer_that_no_reward_applies_to_is_said_when_it_comes():
    service = ScoringService([spec("Exact", only_for={"domain": "x"})])
    with service, service.batch([1]) as batch, pytest.raises(RecipeError, match="no reward applies to problem"):
        batch.add(0, group(["yes"]).rollouts[0])


# --- a deadline for all ------------------------------------------------------------------------------


def test_what_is_left_at_the_end_of_a_batchs_time_is_infrastructure():
    slow = meanwhile("Slow", options={"seconds": 0.3})
    with ScoringService([slow], batch_timeout_s=1.0, max_infrastructure_rate=1.0) as service:
        begun = time.monotonic()
        scores = service.score([group(["a"] * 20)])[0].scores
        took_s = time.monotonic() - begun
        assert service.score([group(["a"])])[0].scores[0].known, "the next batch has a worker, and its own time"
    known = [score.known for score in scores]
    assert 1.0 <= took_s < 1.0 + 5 * 0.25
    assert 1 <= sum(known) <= 4
    assert known == sorted(known, reverse=True)
    assert {score.reason for score in scores if not score.known} == {"scoring.batch_timeout_s, 1 s, was over"}


def test_the_time_of_a_batch_begins_with_its_last_answer():
    slow = meanwhile("Slow", options={"seconds": 0.2})
    with ScoringService([slow], batch_timeout_s=1.0) as service, service.batch([3]) as batch:
        answers = group(["a"] * 3)
        batch.add(0, answers.rollouts[0])
        time.sleep(1.5)
        batch.add(1, answers.rollouts[1])
        (scored,) = batch.finish([answers])
    assert [score.known for score in scored.scores] == [True] * 3


# --- each its own ------------------------------------------------------------------------------------


def test_ten_thousand_answers_with_crashes_in_between_are_never_misaligned(tmp_path):
    draw = random.Random(7)
    numbers = draw.sample(range(10**6), 10_000)
    crashes = draw.sample(numbers, 12)
    sizes = [draw.randint(1, 16) for _ in range(2000)]
    groups, start = [], 0
    for size in sizes:
        groups.append(group([str(number) for number in numbers[start : start + size]]))
        start += size
        if start >= len(numbers):
            break
    options = {"log": str(tmp_path / "log"), "crashes": crashes}
    specs = [meanwhile("Number", options=options, lowest=-1.0), spec("Length")]
    sizes = [len(each.rollouts) for each in groups]
    with ScoringService(specs, workers=2) as service, service.batch(sizes) as batch:
        for place, rollout in list(arrivals(groups))[:5000]:
            batch.add(place, rollout)
        scored = batch.finish(groups)
    scores = [score for each in scored for score in each.scores]
    frame = len("<think>hm</think><answer></answer>")
    assert sorted(fired(tmp_path)) == sorted(str(number) for number in crashes * 2)
    assert len(scores) == len(numbers)
    assert [s.parts["number"] for s in scores] == [-1.0 if n in crashes else float(n) for n in numbers]
    assert [s.parts["length"] for s in scores] == [frame + len(str(n)) for n in numbers]


# --- from anywhere -----------------------------------------------------------------------------------

ANSWERS = ["yes", "sleep", "no", "exit", "raise", "yes"]


def verdicts(log: Path) -> tuple[list[tuple[str, float, str]], float]:
    """What comes of ANSWERS, and the seconds that it took."""
    specs = [spec("Exact"), spec("Fault", options={"log": str(log)}, timeout_s=0.5, lowest=-1.0)]
    with ScoringService(specs, workers=2) as service:
        begun = time.monotonic()
        scores = service.score([group(ANSWERS)])[0].scores
        took_s = time.monotonic() - begun
    return [(score.status, score.value, score.reason) for score in scores], took_s


def in_a_thread(log):
    found = []
    thread = threading.Thread(target=lambda: found.append(verdicts(log)))
    thread.start()
    thread.join()
    return found[0]


def under_asyncio(log):
    async def asked():
        return verdicts(log)

    return asyncio.run(asked())


def in_a_thread_of_asyncio(log):
    async def asked():
        return await asyncio.to_thread(verdicts, log)

    return asyncio.run(asked())


FORKED = f"""
import json, os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_scoring_batches import verdicts
if os.fork() == 0:
    print(json.dumps(verdicts(Path(sys.argv[1]))), flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def in_a_fork(log):
    done = subprocess.run([sys.executable, "-c", FORKED, str(log)], capture_output=True, text=True, check=True)
    found, took_s = json.loads(done.stdout)
    return [tuple(one) for one in found], took_s


@pytest.mark.parametrize("way", [in_a_thread, under_asyncio, in_a_thread_of_asyncio, in_a_fork])
def test_the_same_verdicts_and_deadlines_wherever_it_is_made_and_used(tmp_path, way):
    here, _ = verdicts(tmp_path / "here")
    there, took_s = way(tmp_path / "there")
    assert [reason for _, _, reason in here] == [
        *("correct", "verifier_timeout", "wrong", "verifier_crash", "verifier_error: LookupError", "correct")
    ]
    assert there == here
    assert sorted((tmp_path / "there").read_text().split()) == ["exit", "exit", "raise", "sleep", "sleep"]
    assert took_s < 2 * (0.5 + 5 * 0.25)


INHERITED = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_scoring import group, spec
from r1core.scoring import ScoringService
with ScoringService([spec("Exact")]) as service:
    if os.fork() == 0:
        try:
            service.score([group(["yes"])])
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
    print(service.score([group(["yes"])])[0].scores[0].value)
"""


def test_a_service_is_not_for_forks_of_the_process_that_entered_it():
    done = subprocess.run([sys.executable, "-c", INHERITED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "a scoring service cannot be used in a fork of the process that entered it",
        "1.0",
    ]
