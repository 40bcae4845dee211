"""Answers whose worth is known: they tell a broken grader, and a healthy machine, from an answer that is to blame."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from test_scoring import group
from test_scoring_bombs import bombed, fired

from r1core.errors import RefusedError
from r1core.scoring import ScoringService


def forged(tmp_path, **options):
    return bombed(tmp_path, "Forged", options=options)


def asked(tmp_path):
    """How many sentinels each worker was asked."""
    return Counter(line.split()[1] for line in (tmp_path / "log").read_text().splitlines())


def test_a_grader_that_is_wrong_from_the_start_stops_the_run(tmp_path):
    message = r"reward 'forged' got a sentinel wrong: expected 0\.5, got 1 .* '<think>hm</think>yes'"
    with pytest.raises(RefusedError, match=message) as caught, ScoringService([forged(tmp_path, first=0.5)]):
        pass
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("answers", [["yes", "forge", "no"], ["forge"]])
def test_an_answer_that_tampers_with_its_grader_stops_the_run_and_no_score_is_returned(tmp_path, answers):
    with ScoringService([forged(tmp_path)]) as service:
        assert service.score([group(["no"])])[0].rewards_G.tolist() == [0.0]
        with pytest.raises(RefusedError, match=r"expected 0, got 1 .*'<think>hm</think>no'"):
            service.score([group(answers)])


def test_two_graders_are_told_apart(tmp_path):
    healthy = bombed(tmp_path, "Guarded")
    with ScoringService([healthy, forged(tmp_path)]) as service, pytest.raises(RefusedError, match="reward 'forged'"):
        service.score([group(["forge"])])


def test_sentinels_are_asked_at_the_start_every_hundred_answers_and_at_the_end(tmp_path):
    with ScoringService([forged(tmp_path)]) as service:
        (found,) = service.score([group(["yes"] * 250)])
    (worker,) = {score.reason for score in found.scores}
    assert asked(tmp_path)[worker] == 2 * (1 + 2 + 1)
    assert found.rewards_G.tolist() == [1.0] * 250


def test_a_worker_is_replaced_after_a_thousand_answers(tmp_path):
    with ScoringService([forged(tmp_path)]) as service:
        (found,) = service.score([group(["yes"] * 1300)])
    workers = [score.reason for score in found.scores]
    assert list(Counter(workers).values()) == [1000, 300]
    assert found.rewards_G.tolist() == [1.0] * 1300


@pytest.mark.parametrize(
    ("then", "status", "reason"),
    [("exit", "answer_failure", "verifier_crash"), ("lie", "infrastructure", "verifier_unsure")],
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_forged_worker_that_does_not_answer_sentinels_is_not_believed(tmp_path, then, status, reason, place):
    """Nothing that it said counts: the others are asked elsewhere, and the one that did it is found."""
    answers = ["no", "yes", "no", "no"]
    answers.insert(place, f"forge, {then}")
    worth = [0.0, 1.0, 0.0, 0.0]
    spec = bombed(tmp_path, "Forged", options={}, lowest=-1.0)
    with ScoringService([spec], max_infrastructure_rate=1.0) as service:
        (found,) = service.score([group(answers)])
        assert service.score([group(["yes", "no"])])[0].rewards_G.tolist() == [1.0, 0.0]
    culprit = found.scores[place]
    assert (culprit.status, culprit.reason) == (status, reason)
    assert [score.value for n, score in enumerate(found.scores) if n != place] == worth
    assert culprit.value == -1.0 or not culprit.known
    assert len(asked(tmp_path)) >= 3, "it has broken two workers, and a third was right"


def test_a_sentinel_that_infrastructure_failed_at_a_distance_is_no_verdict(tmp_path):
    with ScoringService([bombed(tmp_path, "Forged", options={}, remote=True)]) as service:
        Path(f"{tmp_path}/log.down").touch()
        before = sum(asked(tmp_path).values())
        assert service.score([group(["yes", "no"])])[0].rewards_G.tolist() == [1.0, 0.0]
        assert sum(asked(tmp_path).values()) > before


def test_rewards_without_sentinels_need_none(tmp_path):
    with ScoringService([bombed(tmp_path)]) as service:
        assert service.score([group(["yes", "no"])])[0].rewards_G.tolist() == [1.0, 0.0]
    assert not (tmp_path / "log").exists()


def test_where_fresh_workers_fail_at_what_is_known_an_answer_is_not_to_blame(tmp_path):
    with ScoringService([bombed(tmp_path, "Guarded", lowest=-1.0)], max_infrastructure_rate=1.0) as service:
        (found,) = service.score([group(["spoil"])])[0].scores
        assert {name for name, _ in fired(tmp_path)} == {"spoil"}
        assert (found.status, found.known) == ("infrastructure", False)
        assert "3 times it hung at an answer whose worth is known" in found.reason
        (tmp_path / "log.spoiled").unlink()
        assert service.score([group(["yes", "no"])])[0].rewards_G.tolist() == [1.0, 0.0]
