"""What a judge said is on record, paid for once and never beyond a cap; its key is nowhere."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from toy_judge import (
    QUICK,
    Body,
    Raw,
    Script,
    Server,
    a_judge,
    answer,
    batch,
    by_rules,
    chat,
    judge,
    opened,
    parts,
    problem,
    right,
)

from r1_plugins.judge.record import Record
from r1core.endpoints import Declined
from r1core.errors import RefusedError

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


def lose(how: str) -> Script:
    """A judge that takes a call, and from which nothing comes back."""
    if how == "error":
        return Script(fault=lambda server, n, body: (500, {}, b""))
    if how == "break":
        return Script(fault=lambda server, n, body: (0, {}, b""))
    return Script(drip=lambda number: True)


@pytest.mark.parametrize("how", ["time-out", "break", "error"])
@pytest.mark.parametrize("cap", ["max_calls", "max_usd"])
def test_calls_that_come_to_nothing_are_paid_for_and_stop_at_the_cap(how: str, cap: str, tmp_path: Path) -> None:
    prices = {"input": 100.0, "output": 1000.0}
    most = {"max_calls": 23} if cap == "max_calls" else {"max_usd": 3.0}
    with judge(lose(how)) as server:
        own = a_judge(
            server.url,
            concurrent=4,
            endpoint={"timeout_s": 0.2 if how == "time-out" else 20, "give_up_s": 1},
            outage={"open_after_s": 0.3, "look_every_s": 0.05, "max_s": 300},
            prices=prices,
            max_tokens=64,
            **most,
        )
        opened(own, tmp_path)
        with pytest.raises(RefusedError, match=f"one more could go beyond {cap}") as caught:
            own.score_all(batch(20))
    assert caught.value.exit_code == 4
    assert len(server.asked) > 5
    record = Record(tmp_path)
    sent = len(server.asked)
    # A time-out may come before the server has read what was sent: then it is paid for all the same.
    assert record.calls >= sent if how == "time-out" else record.calls == sent
    assert record.calls == 23 if cap == "max_calls" else 2.5 < record.usd <= 3.0
    assert own.metrics()["time/calls_so_far"] == record.calls


def test_a_call_that_is_refused_or_never_made_is_not_paid_for(tmp_path: Path) -> None:
    with judge(Script(fault=lambda server, n, body: (429, {}, b"") if n < 10 else None)) as server:
        own = a_judge(server.url, endpoint={"give_up_s": 30}, max_calls=20)
        opened(own, tmp_path)
        assert right(own.score_all(batch(10)))
    assert server.faults == 10
    assert own._record.calls == 20
    more = [(problem(99), answer("100"))]
    nobody = a_judge(server.url, outage=QUICK | {"max_s": 1.5}, max_calls=21)
    opened(nobody, tmp_path)
    with pytest.raises(RefusedError, match="no answer for"):
        nobody.score_all(more)
    assert nobody._record.calls == 20


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
