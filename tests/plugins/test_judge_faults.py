"""A judge that is down, slow, mad or expensive: nothing is lost or paid twice, and it does not pay to break it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from toy_judge import Body, Context, Raw, Script, Server, a_judge, answer, batch, by_rules, chat, judge, parts, problem

from r1_plugins.judge import Judge
from r1_plugins.judge.record import Record
from r1core.endpoints import Declined
from r1core.errors import Interrupted, RefusedError

QUICK = {"open_after_s": 0.3, "look_every_s": 0.4, "max_s": 60}


def opened(own: Judge, folder: Path) -> Context:
    """As `prepare` does, without the preflight: its calls would only be in the way of the counting."""
    context = Context(folder)
    own._context, own._record = context, Record(folder)
    return context


def right(scores: list) -> bool:  # type: ignore[type-arg]
    """Whether a `batch` was scored as it should be."""
    return [score.value for score in scores] == [1.0, 0.0] * (len(scores) // 2)


# --- busy, flaky ------------------------------------------------------------------------------------


def test_a_server_that_asks_to_wait_is_obeyed_and_every_answer_is_scored(tmp_path: Path) -> None:
    asked_to_wait: list[float] = []

    def busy(server: Server, number: int, body: Body) -> Raw | None:
        if number < 10:
            asked_to_wait.append(time.monotonic())
            return 429, {"Retry-After": "1"}, b""
        return None

    with judge(Script(fault=busy)) as server:
        scores = a_judge(server.url, endpoint={"give_up_s": 30}).score_all(batch(20))
    assert server.faults == 10
    assert right(scores)
    later = [at for at, _ in server.asked[16:]]
    assert min(later) - max(asked_to_wait[:10]) > 0.9
    assert len(server.asked) == 40 + 10


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


# --- replies that cannot be read --------------------------------------------------------------------

UNREADABLE = {
    "malformed JSON": (200, {}, b'{"choices": [{'),
    "not JSON at all": (200, {}, b"<html>busy</html>"),
    "no choices": (200, {}, b'{"choices": []}'),
    "no text": (200, {}, b'{"choices": [{"message": {"content": null}}]}'),
    "a list": (200, {}, b"[1, 2]"),
    "both verdicts": chat("CORRECT\nWRONG"),
    "a verdict in prose": chat("I would say that it is CORRECT."),
    "cut off": chat("CORRECT", finish="length"),
    "a megabyte of nothing": chat("x" * 1_000_000),
    "more than is read": (200, {}, b'"' + b"CORRECT\\n" * 200_000 + b'"'),
    "the token inside another": chat("INCORRECT"),
    "NaN": (200, {}, b'{"choices": NaN}'),
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_asked_for_once_more(raw: Raw) -> None:
    with judge(Script(fault=lambda server, n, body: raw if n == 0 else None)) as server:
        score = a_judge(server.url).score(problem(1), answer("2"))
    assert server.faults == 1
    assert (score.value, score.reason) == (1.0, "correct")
    assert len(server.asked) == 2
    assert "not counted" in server.asked[1][1]["messages"][1]["content"]


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_answer_that_makes_replies_unreadable_is_to_blame_when_the_judge_is_well(raw: Raw, tmp_path: Path) -> None:
    def mad(server: Server, number: int, body: Body) -> Raw | None:
        return raw if parts(body)["ANSWER"] == "boom" else None

    with judge(Script(fault=mad)) as server:
        own = a_judge(server.url)
        opened(own, tmp_path)
        score = own.score(problem(1), answer("boom"))
        assert (score.value, score.status, score.reason) == (0.0, "answer_failure", "judge_unreadable")
        assert server.faults == 3
        assert len(server.asked) == 3 + 2
        metrics, before = own.metrics(), len(server.asked)
        again = a_judge(server.url)
        opened(again, tmp_path)
        assert again.score(problem(1), answer("boom")) == score
        assert again.metrics() == metrics
    assert len(server.asked) == before


def test_a_judge_that_has_gone_mad_says_nothing_of_any_answer() -> None:
    with judge(Script(fault=lambda server, n, body: chat("I cannot say."))) as server:
        scores = a_judge(server.url).score_all(batch(3))
    assert server.faults >= 18
    assert {(score.status, score.reason) for score in scores} == {("infrastructure", "judge_unreadable")}


def test_a_judge_that_says_correct_to_all_takes_no_blame_to_an_answer() -> None:
    """It is not well: it cannot tell the right answer of its own questions from the wrong one."""

    def lost(server: Server, number: int, body: Body) -> Raw | None:
        return chat("?") if parts(body)["ANSWER"] == "boom" else chat("CORRECT")

    with judge(Script(fault=lost)) as server:
        score = a_judge(server.url).score(problem(1), answer("boom"))
    assert score.status == "infrastructure"


@pytest.mark.parametrize("status", [400, 403, 413, 422, 500])
def test_an_answer_that_the_server_does_not_take_is_to_blame_when_others_are_taken(status: int) -> None:
    def touchy(server: Server, number: int, body: Body) -> Raw | None:
        return (status, {}, b"no") if "DROP TABLE" in parts(body)["ANSWER"] else None

    with judge(Script(fault=touchy)) as server:
        scores = a_judge(server.url, endpoint={"give_up_s": 1}).score_all(
            [*batch(5), (problem(9), answer("'; DROP TABLE x"))]
        )
    assert server.faults >= 2
    assert right(scores[:-1])
    assert (scores[-1].value, scores[-1].status) == (0.0, "answer_failure")
    assert scores[-1].reason == f"judge_failed: HTTP {status}"


def test_an_answer_to_which_no_reply_comes_is_no_verdict_although_others_are_answered() -> None:
    def slow(server: Server, number: int, body: Body) -> Raw | None:
        if "linger" in parts(body)["ANSWER"]:
            time.sleep(1.0)
        return None

    with judge(Script(fault=slow)) as server:
        endpoint = {"timeout_s": 0.2, "give_up_s": 0.5}
        scores = a_judge(server.url, endpoint=endpoint).score_all([*batch(5), (problem(9), answer("linger"))])
    assert len(server.asked) > 8, "the one was asked again, and the judge looked at"
    assert right(scores[:-1])
    assert (scores[-1].status, scores[-1].reason) == ("infrastructure", "judge_failed: no answer")


def test_a_reply_that_drips_for_ever_is_given_up_and_asked_for_again() -> None:
    with judge(Script(drip=lambda number: number == 0)) as server:
        score = a_judge(server.url, endpoint={"timeout_s": 0.5, "give_up_s": 20}).score(problem(1), answer("2"))
    assert len(server.asked) == 2
    assert score.value == 1.0


def test_in_pairs_the_one_that_breaks_the_judge_loses_to_all() -> None:
    def says(body: Body) -> str:
        shown = parts(body)
        if "boom" in shown.values():
            return "BOOM"
        first, second = len(shown["ANSWER A"]), len(shown["ANSWER B"])
        return "A" if first > second else "B"

    with judge(Script(says=says)) as server:
        own = a_judge(server.url, mode="pairwise")
        scores = own.score_all([(problem(1), answer(text)) for text in ("abc", "boom", "ab", "a")])
    assert [score.value for score in scores] == pytest.approx([1.0, 0.0, 2 / 3, 1 / 3])
    assert scores[1].status == "answer_failure"


# --- the record -------------------------------------------------------------------------------------


def test_what_was_said_is_on_disk_before_it_is_used_and_never_asked_again(tmp_path: Path) -> None:
    with judge() as server:
        first = a_judge(server.url)
        opened(first, tmp_path)
        scores, metrics = first.score_all(batch(10)), first.metrics()
        again = a_judge(server.url)
        opened(again, tmp_path)
        assert again.score_all(batch(10)) == scores
        assert again.metrics() == metrics
    assert max(Counter(server.bodies).values()) == 1
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert len(lines) == len(server.asked) == 20


def test_half_a_line_at_the_end_costs_one_call(tmp_path: Path) -> None:
    with judge() as server:
        first = a_judge(server.url, concurrent=1)
        opened(first, tmp_path)
        first.score_all(batch(5))
        path = tmp_path / "verdicts.jsonl"
        path.write_bytes(path.read_bytes()[:-30])
        again = a_judge(server.url)
        opened(again, tmp_path)
        assert right(again.score_all(batch(5)))
    assert len(server.asked) == 11


def test_another_model_or_rubric_is_asked_anew(tmp_path: Path) -> None:
    with judge() as server:
        for options in ({}, {"model": "other"}, {"rubric": "Be kind."}, {}):
            own = a_judge(server.url, **options)
            opened(own, tmp_path)
            own.score(problem(1), answer("2"))
    assert len(server.asked) == 3


# --- cost -------------------------------------------------------------------------------------------


def test_no_call_goes_beyond_the_cap_and_the_same_command_with_a_higher_one_goes_on(tmp_path: Path) -> None:
    with judge(Script(wait_s=0.02)) as server:
        own = a_judge(server.url, max_calls=13)
        opened(own, tmp_path)
        with pytest.raises(RefusedError, match=r"13 calls are spent.*max_calls, 13") as caught:
            own.score_all(batch(20))
        assert caught.value.exit_code == 4
        assert len(server.asked) == 13
        more = a_judge(server.url, max_calls=40)
        opened(more, tmp_path)
        assert right(more.score_all(batch(20)))
    assert len(server.asked) == 40
    assert max(Counter(server.bodies).values()) == 1


@pytest.mark.parametrize("tokens", [(100, 10), None])
def test_the_bill_never_exceeds_the_cap(tokens: tuple[int, int] | None, tmp_path: Path) -> None:
    prices = {"input": 100.0, "output": 1000.0}
    says = Script(fault=lambda server, n, body: chat(by_rules(body), tokens=tokens), wait_s=0.02)
    with judge(says) as server:
        own = a_judge(server.url, prices=prices, max_usd=3.0, max_tokens=64)
        opened(own, tmp_path)
        with pytest.raises(RefusedError, match="max_usd, 3"):
            own.score_all(batch(200))
    spent = own._record.usd
    assert 2.0 < spent <= 3.0
    if tokens is not None:
        assert spent == pytest.approx(len(server.asked) * (100 * 100 + 10 * 1000) / 1e6)


def test_metrics_tell_calls_and_cost_once() -> None:
    with judge(Script(fault=lambda server, n, body: chat(by_rules(body)))) as server:
        own = a_judge(server.url, prices={"input": 1.0, "output": 2.0})
        own.score_all(batch(5))
    measured = own.metrics()
    assert (measured["calls"], measured["time/calls_so_far"]) == (10, 10)
    assert measured["usd"] == measured["time/usd_so_far"] == pytest.approx(10 * 120 / 1e6)
    after = own.metrics()
    assert (after["calls"], after["usd"], after["time/calls_so_far"]) == (0, 0, 10)


def test_no_more_calls_in_a_minute_than_allowed() -> None:
    with judge() as server:
        a_judge(server.url, per_minute=600).score_all(batch(10))
    times = [at for at, _ in server.asked]
    assert times[-1] - times[0] > 1.5


# --- keys -------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_is_in_no_file_note_or_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-canary-9d1f"
    monkeypatch.setenv("TOY_JUDGE_KEY", key)
    caplog.set_level(0)

    def echo(server: Server, number: int, body: Body) -> Raw | None:
        return (400, {}, f"key {key} said {key}".encode()) if parts(body)["ANSWER"] == "1001" else None

    with judge(Script(fault=echo)) as server:
        own = a_judge(server.url, endpoint={"key": {"env": "TOY_JUDGE_KEY"}})
        context = opened(own, tmp_path)
        assert own.score_all(batch(4))[1].status == "answer_failure"
        server.script = Script(fault=lambda server, n, body: (401, {}, f"bad key {key}".encode()))
        with pytest.raises(Declined, match=r"bad key \[key\]") as caught:
            own.score(problem(77), answer("1"))
    assert set(server.keys) == {f"Bearer {key}"}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert written
    everything = [written.decode(), str(caught.value), repr(caught.value), caplog.text, repr(own.config)]
    assert not [text for text in [*everything, *context.notes, own.config.model_dump_json()] if key in text]
