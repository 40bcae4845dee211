"""A judge that is busy, flaky or down: nothing is lost or asked twice, and there is no storm of calls."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import pytest
from toy_judge import QUICK, Body, Raw, Script, Server, a_judge, answer, batch, judge, opened, parts, problem, right

from r1_plugins.judge.breaker import LEAST_FAILURES
from r1_plugins.judge.session import MOST_OUTAGES
from r1core.endpoints import Declined
from r1core.endpoints.client import TOLD_IN_A_ROW
from r1core.errors import Interrupted, RefusedError

# --- busy, flaky ------------------------------------------------------------------------------------


def test_a_server_that_asks_all_to_wait_is_left_alone_and_every_answer_is_scored() -> None:
    refused: dict[str, float] = {}

    def busy(server: Server, number: int, body: Body) -> Raw | None:
        now_s = time.monotonic()
        if now_s > server.asked[0][0] + 1.0:
            return None
        refused[json.dumps(body, sort_keys=True)] = now_s
        return 429, {"Retry-After": "2"}, b""

    with judge(Script(fault=busy)) as server:
        scores = a_judge(server.url, endpoint={"give_up_s": 30}).score_all(batch(40))
    assert right(scores)
    assert 5 <= server.faults <= 16 + TOLD_IN_A_ROW
    assert len(server.asked) == 80 + server.faults
    told_s = sorted(refused.values())[TOLD_IN_A_ROW - 1]
    assert [at for at, _ in server.asked if told_s + 0.5 < at < told_s + 1.9] == []
    for (at, _), body in zip(server.asked, server.bodies, strict=True):
        assert at - refused.get(body, 0.0) > 1.9 or at <= refused[body]


def test_one_call_that_is_asked_to_wait_does_not_hold_up_the_others() -> None:
    """One of several machines behind an address may be busy."""
    with judge(Script(fault=lambda server, n, body: (429, {"Retry-After": "3"}, b"") if n == 7 else None)) as server:
        scores = a_judge(server.url, concurrent=2, endpoint={"give_up_s": 30}).score_all(batch(20))
    assert server.faults == 1
    assert right(scores)
    assert server.bodies[-1] == server.bodies[7]
    times = [at for at, _ in server.asked]
    assert times[-1] - times[7] > 2.9
    assert times[-2] - times[7] < 2.9


def test_while_nothing_comes_back_nothing_new_is_begun() -> None:
    with judge(Script(fault=lambda server, n, body: (500, {}, b"") if n < 24 else None)) as server:
        own = a_judge(server.url, concurrent=4, endpoint={"give_up_s": 60}, outage={"open_after_s": 60})
        scores = own.score_all(batch(40))
    assert server.faults == 24
    assert right(scores)
    assert len(set(server.bodies[:24])) <= 4 + 5
    assert server.most_at_once <= 4


def test_bursts_of_errors_and_resets_lose_nothing(tmp_path: Path) -> None:
    def flaky(server: Server, number: int, body: Body) -> Raw | None:
        if 20 <= number < 40:
            return 500, {}, b"oops"
        return (0, {}, b"") if number % 17 == 0 else None

    with judge(Script(fault=flaky)) as server:
        own = a_judge(server.url, endpoint={"give_up_s": 30}, outage=QUICK | {"open_after_s": 10})
        context = opened(own, tmp_path)
        scores = own.score_all(batch(60))
    assert server.faults > 20
    assert right(scores)
    assert context.notes == []


# --- down -------------------------------------------------------------------------------------------


def test_while_it_is_down_the_run_pauses_looks_rarely_and_goes_on(tmp_path: Path) -> None:
    up_s = math.inf

    def down(server: Server, number: int, body: Body) -> Raw | None:
        nonlocal up_s
        if number >= 20 and up_s == math.inf:
            up_s = time.monotonic() + 2.5
        return (503, {}, b"") if number >= 20 and time.monotonic() < up_s else None

    with judge(Script(fault=down)) as server:
        own = a_judge(server.url, endpoint={"give_up_s": 30}, outage=QUICK)
        context = opened(own, tmp_path)
        scores = own.score_all(batch(40))
    assert right(scores)
    assert server.faults > 5
    assert any("paused, next look in" in note for note in context.notes)
    assert "answers again" in context.notes[-1]
    begun = next(at for at, _ in server.asked[20:])
    while_open = [at for at, _ in server.asked if begun + 1.0 < at < up_s]
    assert len(while_open) <= 1.5 / QUICK["look_every_s"] + 1


def test_an_outage_without_end_stops_the_run_and_keeps_what_was_said(tmp_path: Path) -> None:
    with judge(Script(fault=lambda server, n, body: (503, {}, b"") if n >= 10 else None)) as server:
        own = a_judge(server.url, endpoint={"give_up_s": 30}, outage=QUICK | {"max_s": 1.5})
        opened(own, tmp_path)
        with pytest.raises(RefusedError, match="no answer for") as caught:
            own.score_all(batch(20))
        assert caught.value.exit_code == 4
        answered = set(server.bodies[:10])
        server.script = Script()
        before = len(server.asked)
        again = a_judge(server.url)
        opened(again, tmp_path)
        assert right(again.score_all(batch(20)))
    assert answered.isdisjoint(server.bodies[before:])
    assert len(server.asked) - before == 30


def test_nobody_listens_and_a_request_to_stop_ends_the_pause(tmp_path: Path) -> None:
    with judge() as server:
        pass
    asked = threading.Event()
    own = a_judge(server.url, outage=QUICK | {"look_every_s": 100})
    context = opened(own, tmp_path)
    context.stops = asked.is_set
    threading.Timer(2.0, asked.set).start()
    began_s = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        own.score_all(batch(10))
    assert caught.value.exit_code == 75
    assert asked.is_set()
    assert time.monotonic() - began_s < 20


def test_a_key_that_is_not_taken_stops_the_run_at_once(tmp_path: Path) -> None:
    with judge(Script(fault=lambda server, n, body: (401, {}, b'{"error": "bad key"}'))) as server:
        own = a_judge(server.url, concurrent=4)
        with pytest.raises(Declined, match="HTTP 401") as caught:
            own.score_all(batch(50))
    assert caught.value.exit_code == 3
    assert len(server.asked) <= 12


def test_a_question_that_brings_the_judge_down_each_time_is_given_up_and_the_others_are_not(tmp_path: Path) -> None:
    down_s = [0.0]

    def fragile(server: Server, number: int, body: Body) -> Raw | None:
        if parts(body)["ANSWER"] == "boom":
            down_s.append(time.monotonic() + 1.5)
        return (503, {}, b"") if time.monotonic() < down_s[-1] else None

    with judge(Script(fault=fragile)) as server:
        own = a_judge(server.url, concurrent=4, endpoint={"give_up_s": 0.5}, outage=QUICK)
        context = opened(own, tmp_path)
        scores = own.score_all([(problem(99), answer("boom")), *batch(40)])
    assert sum("answers again" in note for note in context.notes) >= MOST_OUTAGES
    assert (scores[0].status, scores[0].reason) == ("infrastructure", "judge_down")
    given_up = [score for score in scores if score.reason == "judge_down"]
    assert len(given_up) <= 4 + LEAST_FAILURES
    rest = [(score.value, 1.0 - n % 2) for n, score in enumerate(scores[1:]) if score.reason != "judge_down"]
    assert all(value == worth for value, worth in rest)
