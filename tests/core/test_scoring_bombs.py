"""Bombs in real workers: every attempt ends at its deadline, and nobody but the bomb pays. Each asserts that it fired.

Times are five times the figure that tests/benchmarks/bench_scoring.py measures.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from test_scoring import group

from r1core.scoring import RewardSpec, ScoringService

BOMBS = Path(__file__).parents[1] / "fixtures" / "scoring_bombs.py"
LATE = BOMBS.with_name("late_bombs.py")
TIMEOUT_S = 0.5
OVER_S = 0.25
SLACK = 5


def bombed(tmp_path, name="Bombed", *, module=BOMBS, **given):
    options = {"log": str(tmp_path / "log"), **given.pop("options", {})}
    given = {"timeout_s": TIMEOUT_S, **given}
    return RewardSpec(name=name.lower(), target=f"{module}:{name}", options=options, **given)


def fired(tmp_path):
    """(bomb, when) of each."""
    lines = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    return [(name, float(when)) for name, when in (line.split() for line in lines)]


@pytest.mark.parametrize("name", ["Bombed", "Guarded"])
@pytest.mark.parametrize("bomb", ["pow", "digits", "regex", "ignore"])
def test_each_attempt_ends_at_its_deadline_though_the_import_takes_two_seconds(tmp_path, bomb, name):
    with ScoringService([bombed(tmp_path, name, module=LATE, lowest=-1.0)]) as service:
        begun = time.monotonic()
        (found,) = service.score([group([bomb])])[0].scores
        ended = time.monotonic()
        right, wrong = service.score([group(["yes", "no"])])[0].scores
    (first, start), (second, again) = fired(tmp_path)
    assert first == second == bomb
    assert (found.status, found.value, found.reason) == ("answer_failure", -1.0, "verifier_timeout")
    assert again - start < TIMEOUT_S + SLACK * OVER_S
    assert ended - again < TIMEOUT_S + SLACK * OVER_S
    assert ended - begun < 2 * (TIMEOUT_S + SLACK * OVER_S)
    assert ended - begun >= 2 * TIMEOUT_S, "it was given its time, twice"
    assert (right.value, wrong.value) == (1.0, 0.0)


@pytest.mark.parametrize("bomb", ["segfault", "exit", "abort"])
def test_a_crash_is_the_answers_and_its_neighbours_scores_stay_right(tmp_path, bomb):
    with ScoringService([bombed(tmp_path)], workers=2) as service:
        found = service.score([group(["yes", bomb, "no", "yes", bomb])])[0].scores
    assert [name for name, _ in fired(tmp_path)] == [bomb] * 4
    assert [(score.value, score.reason) for score in found if score.status != "verdict"] == [
        (0.0, "verifier_crash")
    ] * 2
    assert [score.value for score in found] == [1.0, 0.0, 0.0, 1.0, 0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
@pytest.mark.parametrize("bomb", ["hoard", "keep"])
def test_a_memory_bomb_is_the_answers_and_leaves_its_worker_to_nobody(tmp_path, bomb):
    with ScoringService([bombed(tmp_path, timeout_s=30.0)], memory_mib=512) as service:
        found = service.score([group(["yes", bomb, *["yes", "no"] * 20])])[0].scores
    assert [name for name, _ in fired(tmp_path)] == [bomb, bomb]
    assert (found[1].status, found[1].reason) == ("answer_failure", "verifier_error: MemoryError")
    assert [score.value for score in found] == [1.0, 0.0, *[1.0, 0.0] * 20]


@pytest.mark.parametrize(("workers", "bomb"), [(2, "regex"), (2, "segfault"), (1, "ignore")])
def test_two_hundred_honest_answers_after_bombs_are_all_right(tmp_path, workers, bomb):
    bombs = 4 * workers
    with ScoringService([bombed(tmp_path)], workers=workers) as service:
        first = service.score([group([bomb] * bombs)])[0].scores
        honest = service.score([group(["yes"] * 200)])[0].scores
    assert [name for name, _ in fired(tmp_path)] == [bomb] * 2 * bombs
    assert {score.status for score in first} == {"answer_failure"}
    assert sum(score.value == 1.0 for score in honest) == 200


@pytest.mark.parametrize("bomb", ["regex", "segfault", "hoard"])
def test_breaking_a_grader_is_never_worth_more_than_a_wrong_answer(tmp_path, bomb):
    with ScoringService([bombed(tmp_path, lowest=-1.0, memory_mib=512)]) as service:
        broken, wrong = service.score([group([bomb, "no"])])[0].scores
    assert len(fired(tmp_path)) == 2
    assert broken.known, "taken out of its group, it would pay as its siblings lose"
    assert broken.value == -1.0 <= wrong.value


def test_a_worker_may_take_what_its_rewards_declare_or_what_the_recipe_says(tmp_path):
    declared = [bombed(tmp_path, memory_mib=300), bombed(tmp_path, "Guarded", memory_mib=700)]
    limits = RewardSpec(name="limits", target=f"{Path(__file__).parents[1]}/fixtures/scoring_rewards.py:Limits")
    with ScoringService([*declared, limits]) as service:
        (own,) = service.score([group(["yes"])])[0].scores
    with ScoringService([*declared, limits], memory_mib=999) as service:
        (told,) = service.score([group(["yes"])])[0].scores
    assert own.parts["limits"] == max(700, RewardSpec.memory_mib)
    assert told.parts["limits"] == 999
    assert own.reason == told.reason == ""
