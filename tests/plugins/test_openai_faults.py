"""A teacher that is flaky, says no, or dies: no answer is lost or paid for twice, no refusal is asked again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_judge import Body, Raw, Server
from toy_teacher import asked, completion, is_right, job, last, notes, question, rows, said, teacher

from r1_plugins.openai.session import DOUBTS, TRIES
from r1_plugins.openai.turns import Turn
from r1core.endpoints import Budget, Caps, Declined, GaveUp
from r1core.errors import Interrupted, RefusedError, SetupError
from r1core.stages import run_stage

OK = {"reasoning": "x", "content": "y"}

# --- flaky --------------------------------------------------------------------------------------


def test_errors_resets_and_slow_replies_lose_nothing_and_ask_nothing_twice(tmp_path: Path) -> None:
    answered: Counter[str] = Counter()

    def flaky(server: Server, number: int, body: Body) -> Raw | None:
        kinds = {3: (429, {"Retry-After": "0.1"}, b""), 7: (500, {}, b"oops"), 11: (0, {}, b""), 13: (503, {}, b"")}
        if number % 15 == 14:
            time.sleep(1.5)
            return kinds[11]
        raw = kinds.get(number % 15)
        if raw is None:
            answered[question(body)] += 1
        return raw

    with teacher(flaky) as server:
        own, events = job(tmp_path, server.url, problems=40, endpoint={"timeout_s": 1, "give_up_s": 60})
        run_stage(own)
    assert server.faults >= 20
    assert is_right(tmp_path, 40)
    assert answered == {f"say {n}": 2 for n in range(40)}
    told = last(tmp_path)
    assert told["traces/answers"] == 80
    assert told["time/calls"] == 80 + told["time/lost_calls"]
    lost = sum(1 for n in range(len(server.asked)) if n % 15 in (7, 11, 14))
    assert told["time/lost_calls"] == lost > 10
    assert f"{lost} brought no answer" in notes(events)


@pytest.mark.parametrize("raw", [(200, {}, b"<html>"), (200, {}, b'{"error": {"code": 502}}'), completion({})])
def test_a_reply_that_is_none_is_asked_for_again_and_paid_for(tmp_path: Path, raw: Raw) -> None:
    with teacher(lambda server, n, body: raw if n % 9 == 4 else None) as server:
        own, _ = job(tmp_path, server.url, concurrent=1)
        run_stage(own)
    assert server.faults >= 2
    assert is_right(tmp_path)
    assert last(tmp_path)["time/lost_calls"] == server.faults


# --- says no ------------------------------------------------------------------------------------


def refusing(server: Server, number: int, body: Body) -> Raw | None:
    """One question is filtered by the model, one by the service, one is too long."""
    kinds = {
        "say 2": completion({"content": "I"}, finish="content_filter"),
        "say 4": (400, {}, b'{"error": {"code": "content_policy_violation"}}'),
        "say 6": (413, {}, b"too long"),
    }
    return kinds.get(question(body))


def test_what_is_refused_is_kept_with_its_reason_and_not_asked_for_again(tmp_path: Path) -> None:
    with teacher(refusing) as server:
        own, _ = job(tmp_path, server.url, concurrent=1)
        run_stage(own)
        assert asked(server) == {f"say {n}": 2 for n in range(10)}
        again, _ = job(tmp_path, server.url, problems=12, sample={"chunk": 5})
        own.folder.rename(tmp_path / "aside")
        again.folder.mkdir()
        run_stage(again)
    assert asked(server) == {f"say {n}": 2 for n in range(12)}
    reasons = {row["id"]: row["reason"] for row in rows(tmp_path) if not row["keep"]}
    wanted = {"p2": "refused: content_filter", "p4": "refused: HTTP 400", "p6": "refused: HTTP 413"}
    assert reasons == wanted
    assert {row["text"] for row in rows(tmp_path) if not row["keep"]} == {""}
    assert len(rows(tmp_path)) == 24
    assert last(tmp_path)["traces/refused"] == 6
    assert last(tmp_path)["time/calls"] == 24 - 4  # nobody bills a 4xx


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 301])
def test_a_server_that_takes_no_question_stops_the_run_and_refuses_none(tmp_path: Path, status: int) -> None:
    with teacher(lambda server, n, body: (status, {}, b"no such thing")) as server:
        own, _ = job(tmp_path, server.url, concurrent=2)
        with pytest.raises(Declined, match=f"HTTP {status}") as caught:
            run_stage(own)
    assert caught.value.exit_code == 3
    assert 1 <= len(server.asked) <= DOUBTS + 2
    ledger = b"".join(path.read_bytes() for path in tmp_path.rglob("part-*.jsonl"))
    assert b'"asking"' in ledger
    assert b'"answer"' not in ledger
    with teacher(port=int(server.url.split(":")[2].split("/")[0])) as mended:
        more, _ = job(tmp_path, mended.url)
        run_stage(more)
    assert is_right(tmp_path)


def test_a_first_question_that_is_refused_is_told_from_a_server_that_takes_none(tmp_path: Path) -> None:
    with teacher(lambda server, n, body: (400, {}, b"") if question(body) == "say 0" else None) as server:
        own, _ = job(tmp_path, server.url, concurrent=1)
        run_stage(own)
    assert server.asked[0][1]["messages"][-1]["content"] == "say 0"
    assert server.faults == 2
    assert [row["reason"] for row in rows(tmp_path)][:3] == ["refused: HTTP 400", "refused: HTTP 400", ""]


def kept(folder: Path) -> tuple[int, int]:
    """How many answers the ledger has, and how many of them are calls that were turned down."""
    ledger = b"".join(path.read_bytes() for path in folder.rglob("part-*.jsonl"))
    return ledger.count(b'"kind": "answer"'), ledger.count(b'"refused": "HTTP')


def test_answers_to_other_options_do_not_blame_the_questions_for_a_400(tmp_path: Path) -> None:
    def limited(server: Server, number: int, body: Body) -> Raw | None:
        return (400, {}, b"max_tokens too large") if body["max_tokens"] > 100 else None

    with teacher(limited) as server:
        run_stage(job(tmp_path, server.url, problems=2)[0])
        own, _ = job(tmp_path, server.url, problems=30, longest=9999, sample={"chunk": 15})
        own.folder.rename(tmp_path / "aside")
        own.folder.mkdir()
        with pytest.raises(Declined, match="max_tokens too large"):
            run_stage(own)
    assert DOUBTS <= server.faults <= DOUBTS + 4 + 1
    assert kept(tmp_path) == (4, 0)


def test_a_400_that_begins_half_way_stops_the_run_and_refuses_none(tmp_path: Path) -> None:
    with teacher(lambda server, n, body: (400, {}, b"credit balance too low") if n >= 4 else None) as server:
        own, _ = job(tmp_path, server.url, problems=20)
        with pytest.raises(Declined, match="credit balance too low"):
            run_stage(own)
    assert DOUBTS <= server.faults <= DOUBTS + 4 + 1
    assert kept(tmp_path) == (4, 0)
    with teacher(port=int(server.url.split(":")[2].split("/")[0])) as mended:
        run_stage(job(tmp_path, mended.url, problems=20)[0])
    assert len(mended.asked) == 36
    assert is_right(tmp_path, 20)


def test_an_answer_that_was_begun_before_a_400_proves_nothing_about_it(tmp_path: Path) -> None:
    def runs_out(server: Server, number: int, body: Body) -> Raw | None:
        if number:
            return 400, {}, b"credit balance too low"
        while server.faults < 5:
            time.sleep(0.01)
        return None

    with teacher(runs_out) as server:
        own, _ = job(tmp_path, server.url, problems=3)
        with pytest.raises(Declined, match="credit balance too low"):
            run_stage(own)
    assert question(server.asked[-1][1]) == "Say yes."
    assert kept(tmp_path) == (1, 0)


def test_many_questions_in_a_row_that_are_refused_are_told_from_a_server_that_takes_none(tmp_path: Path) -> None:
    def strict(server: Server, number: int, body: Body) -> Raw | None:
        return (400, {}, b"") if question(body) not in ("Say yes.", "say 11") else None

    with teacher(strict) as server:
        run_stage(job(tmp_path, server.url, problems=12)[0])
    assert [row["id"] for row in rows(tmp_path) if row["keep"]] == ["p11"] * 2
    assert kept(tmp_path) == (24, 22)
    counts = asked(server)
    assert 2 <= counts.pop("Say yes.") == last(tmp_path)["time/lost_calls"] <= 3
    assert counts == {f"say {n}": 2 for n in range(12)}


def test_a_look_whether_the_server_answers_is_under_the_caps_and_on_record(tmp_path: Path) -> None:
    prices = {"input": 0.0, "output": 1000.0}
    with teacher(lambda server, n, body: (400, {}, b"") if question(body) == "say 1" else None) as server:
        own, _ = job(tmp_path, server.url, problems=2, concurrent=1, max_calls=2)
        with pytest.raises(RefusedError, match="max_calls"):
            run_stage(own)
        assert "Say yes." not in asked(server)
        run_stage(job(tmp_path, server.url, problems=2, concurrent=1, max_calls=3, prices=prices)[0])
    assert asked(server)["Say yes."] == 1
    told = last(tmp_path)
    assert (told["time/calls"], told["time/lost_calls"]) == (3, 1)
    assert told["time/usd"] == pytest.approx(0.05)  # at its worst; the two answers were paid for without prices


# --- a question that always fails ---------------------------------------------------------------


def poison(*numbers: int) -> Callable[[Server, int, Body], Raw | None]:
    """These questions crash the worker that gets them."""
    return lambda server, n, body: (500, {}, b"") if question(body) in {f"say {each}" for each in numbers} else None


def test_a_question_that_always_fails_stops_the_run_when_all_others_are_done(tmp_path: Path) -> None:
    with teacher(poison(5)) as server:
        own, _ = job(tmp_path, server.url, endpoint={"give_up_s": 1})
        with pytest.raises(SetupError, match=r"2 questions failed .* while others were answered.*'p5'.*500") as caught:
            run_stage(own)
        assert caught.value.exit_code == 3
        before = asked(server)
        assert len(before) == 10
        more, _ = job(tmp_path, server.url, endpoint={"give_up_s": 1}, failing="refuse")
        run_stage(more)
    assert set(asked(server) - before) == {"say 5", "Say yes."}
    assert {row["id"]: row["reason"] for row in rows(tmp_path) if not row["keep"]} == {"p5": "refused: HTTP 500"}
    assert len(rows(tmp_path)) == 20


def test_as_many_failing_questions_as_are_asked_at_once_do_not_look_like_a_server_that_is_down(tmp_path: Path) -> None:
    with teacher(poison(0, 1, 5)) as server:
        own, _ = job(tmp_path, server.url, endpoint={"give_up_s": 1}, failing="refuse")
        run_stage(own)
    assert sorted(question(body) for _, body in server.asked[:4]) == ["say 0", "say 0", "say 1", "say 1"]
    reasons = {row["id"]: row["reason"] for row in rows(tmp_path) if not row["keep"]}
    assert reasons == dict.fromkeys(("p0", "p1", "p5"), "refused: HTTP 500")
    assert [row["answer"] for row in rows(tmp_path) if row["keep"]] == [c for c in "2346789" for _ in range(2)]


def test_no_question_is_to_blame_for_a_server_that_is_down(tmp_path: Path) -> None:
    down: list[int] = []

    def dies(server: Server, number: int, body: Body) -> Raw | None:
        if number < 8:
            return None
        down.append(number)
        return 500, {}, b""

    with teacher(dies) as server:
        own, _ = job(tmp_path, server.url, endpoint={"give_up_s": 1}, failing="refuse")
        with pytest.raises(SetupError, match="HTTP 500"):
            run_stage(own)
    assert down
    ledger = b"".join(path.read_bytes() for path in tmp_path.rglob("part-*.jsonl"))
    assert ledger.count(b'"kind": "answer"') == 8
    assert b'"refused": "HTTP' not in ledger


def test_a_server_that_dies_half_way_is_given_up_whatever_is_left_to_ask(tmp_path: Path) -> None:
    with teacher(lambda server, n, body: (500, {}, b"") if n >= 4 else None) as server:
        own, _ = job(tmp_path, server.url, problems=60, endpoint={"give_up_s": 1})
        began = time.monotonic()
        with pytest.raises(GaveUp, match="HTTP 500"):
            run_stage(own)
    assert server.faults >= 4
    assert len(asked(server)) <= 2 + 2 * 4  # those answered, and at most two times as many as are asked at once
    assert time.monotonic() - began < 5 * 3


def test_unreadable_replies_to_one_question_are_not_asked_for_endlessly(tmp_path: Path) -> None:
    with teacher(lambda server, n, body: (200, {}, b"{}") if question(body) == "say 5" else None) as server:
        own, _ = job(tmp_path, server.url, failing="refuse")
        run_stage(own)
    assert asked(server)["say 5"] == 2 * TRIES
    assert {row["id"]: row["reason"] for row in rows(tmp_path) if not row["keep"]} == {"p5": "refused: no answer"}


# --- dies and comes back ------------------------------------------------------------------------


def test_an_endpoint_that_dies_half_way_ends_the_run_and_the_same_command_goes_on(tmp_path: Path) -> None:
    with teacher() as first:
        port = int(first.url.split(":")[2].split("/")[0])
        own, _ = job(tmp_path, first.url, sample={"chunk": 3}, max_calls=11)
        with pytest.raises(Exception, match="max_calls"):
            run_stage(own)
    began = time.monotonic()
    again, _ = job(tmp_path, first.url, sample={"chunk": 3}, endpoint={"give_up_s": 1})
    with pytest.raises(GaveUp, match=r"no answer after \d+ attempts.*ConnectError") as caught:
        run_stage(again)
    assert caught.value.exit_code == 3
    assert time.monotonic() - began < 30
    with teacher(port=port) as second:
        more, events = job(tmp_path, second.url, sample={"chunk": 3})
        run_stage(more)
    assert is_right(tmp_path)
    assert asked(first) + asked(second) == {f"say {n}": 2 for n in range(10)}
    assert len(first.asked) == 11
    assert "20 answers of this teacher: 20 calls" in notes(events)


def test_a_request_to_stop_lets_calls_under_way_come_to_their_end(tmp_path: Path) -> None:
    with teacher(wait_s=0.3) as server:
        own, events = job(tmp_path, server.url)
        own.stopping = lambda: len(server.asked) >= 6
        with pytest.raises(Interrupted) as caught:
            run_stage(own)
        assert caught.value.exit_code == 75
        done = len(server.asked)
        assert 6 <= done < 16
        assert "stopping when the calls under way" in notes(events)
        more, events = job(tmp_path, server.url)
        run_stage(more)
    assert asked(server) == {f"say {n}": 2 for n in range(10)}
    assert last(tmp_path)["time/from_ledger"] == done
    assert is_right(tmp_path)


def test_calls_that_another_fault_cuts_off_are_put_down_as_lost(tmp_path: Path) -> None:
    """The stage ends while calls are under way: a reward fails."""

    def slow(server: Server, number: int, body: Body) -> Raw | None:
        time.sleep(0.0 if number == 0 else 1.0)
        return None

    with teacher(slow) as server:
        own, _ = job(tmp_path, server.url)

        def fails() -> None:
            raise ZeroDivisionError

        own.alive = fails
        with pytest.raises(ZeroDivisionError):
            run_stage(own)
        more, _ = job(tmp_path, server.url)
        run_stage(more)
    told = last(tmp_path)
    assert told["time/lost_calls"] >= 1
    assert told["time/asked_again"] == 0
    assert is_right(tmp_path)


class Full:
    """A record on a disk that has no room for the first line."""

    calls, usd = 0, 0.0

    def __init__(self) -> None:
        self.asked: list[int] = []

    def asking(self, place: int, *, usd: float) -> None:
        self.asked.append(place)
        if len(self.asked) == 1:
            raise SetupError("No space left on device", where="ledger", fix="free some")


def test_a_call_whose_line_cannot_be_written_leaves_no_other_waiting_for_its_bill() -> None:
    record: Any = Full()

    async def both() -> None:
        budget = Budget(Caps(prices=None, max_calls=1, max_usd=None, max_tokens=0, where="x", kept="x"), record)
        places = asyncio.Semaphore(2)

        async def call(place: int) -> None:
            async with Turn(place, record, budget, places, usd=0.0, ended=lambda is_begun: False) as turn:
                await turn.enter()

        with pytest.raises(SetupError, match="No space"):
            await call(0)
        async with asyncio.timeout(10):
            await call(1)

    asyncio.run(both())
    assert record.asked == [0, 1]


# --- kills --------------------------------------------------------------------------------------

RUN = (
    "import sys; from pathlib import Path; from toy_teacher import job; from r1core.stages import run_stage;"
    "own, _ = job(Path(sys.argv[1]), sys.argv[2], problems=30, sample={'chunk': 20}); run_stage(own)"
)


def test_a_kill_costs_the_calls_under_way_and_no_others(tmp_path: Path) -> None:
    answered: Counter[str] = Counter()

    def counts(server: Server, number: int, body: Body) -> Raw:
        answered[question(body)] += 1
        return said(body)

    command: list[Any] = [sys.executable, "-c", RUN, tmp_path]
    with teacher(counts, wait_s=0.05) as server:
        for upto in (10, 25, 45):
            with subprocess.Popen([*command, server.url], cwd=Path(__file__).parent) as run:
                while len(server.asked) < upto:
                    assert run.poll() is None
                    time.sleep(0.005)
                os.kill(run.pid, signal.SIGKILL)
                assert run.wait() == -signal.SIGKILL
        subprocess.run([*command, server.url], cwd=Path(__file__).parent, check=True, timeout=120)
    assert is_right(tmp_path, 30)
    told = last(tmp_path)
    assert 1 <= told["time/asked_again"] <= 3 * 4  # four at once
    again = sum((asked(server) - Counter({f"say {n}": 2 for n in range(30)})).values())
    assert again <= told["time/asked_again"]
    assert told["time/calls"] == 60 + told["time/asked_again"]
    lines = [json.loads(line) for path in tmp_path.rglob("part-*.jsonl") for line in path.read_text().splitlines()]
    keys = [line["key"] for line in lines if line["kind"] == "answer"]
    assert len(keys) == len(set(keys)) == 60
