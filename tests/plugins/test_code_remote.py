"""The reward `remote_code`, before a real HTTP server: what the server does wrong is never a wrong answer."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from code_cells import SQUARES, not_beside_faults  # noqa: F401 - fixtures
from pydantic import ValidationError

from r1_plugins.code import RemoteCode
from r1core.errors import Interrupted, R1Error, RefusedError
from r1core.types import Problem, Response, Score

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from toy_sandbox import Fault, ToySandbox, serving

HONEST = "def f(n):\n    return n * n"
WRONG = "def f(n):\n    return 1075369"


def remote(toy: ToySandbox, **options: Any) -> RemoteCode:
    endpoint = {"url": toy.url, "timeout_s": 10, "give_up_s": 20, **options.pop("endpoint", {})}
    return RemoteCode(RemoteCode.Config(endpoint=endpoint, **options))


def pair(program: str, reference: Any = SQUARES) -> tuple[Problem, Response]:
    answer = f"<think>so</think><answer>```python\n{program}\n```</answer>"
    return Problem(id="p", reference=reference), Response.parse(answer)


def asked(reward: RemoteCode, program: str, reference: Any = SQUARES) -> Score:
    return reward.score(*pair(program, reference))


# --- verdicts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (HONEST, "correct"),
        (WRONG, "test 2 of 2: wrong"),
        ("def f(n): raise KeyError", "test 1 of 2: raised KeyError"),
        ("def f(n): return {1}", "test 1 of 2: unsupported_type"),
        ("def g(n): return 1", "test 1 of 2: no_entry_point"),
        ("def f(:", "test 1 of 2: raised SyntaxError"),
        ("import os\ndef f(n): os._exit(0)", "test 1 of 2: exited"),
        ("import os\ndef f(n): os._exit(3)", "test 1 of 2: exit_code"),
        ("import ctypes\ndef f(n): ctypes.string_at(0)", "test 1 of 2: SIGSEGV"),
        ("def f(n):\n    while True: pass", "test 1 of 2: timeout"),
        ("import sys\ndef f(n):\n    print('x', n * n)\n    return len(sys.stdin.read())", "test 1 of 2: wrong"),
        ("x = '\ud800'", "test 1 of 2: raised UnicodeEncodeError"),
        ("#" * 300_000, "too_long"),
    ],
)
def test_a_function_is_judged_as_by_the_reward_code(program: str, reason: str) -> None:
    with serving(ToySandbox()) as toy:
        score = asked(remote(toy, test_timeout_s=1), program)
    assert (score.status, score.reason, score.value) == ("verdict", reason, float(reason == "correct"))


FORGED = """
import sys
def f(n):
    frame = sys._getframe()
    while frame:
        job = frame.f_globals.get("job")
        if job:
            print("\\n" + job["nonce"] + ' {"value": true, "passed": true}', flush=True)
        frame = frame.f_back
    return None
"""


def test_a_forged_reply_is_not_paid_and_no_expected_output_is_sent() -> None:
    with serving(ToySandbox()) as toy:
        score = asked(remote(toy), FORGED)
        assert score.reason == "test 1 of 2: garbled"
        assert asked(remote(toy), HONEST).value == 1
    assert len(toy.bodies) == 3
    assert not any(str(test["output"]) in str(body) for test in SQUARES["tests"] for body in toy.bodies)


def test_programs_have_their_stdin() -> None:
    reference = {"entry_point": None, "tests": [{"stdin": f"{n} 1\n", "output": f"{n + 1}\n"} for n in (1, 5)]}
    with serving(ToySandbox()) as toy:
        assert asked(remote(toy), "print(sum(map(int, input().split())))", reference).value == 1
        assert asked(remote(toy), "print(2)", reference).reason == "test 2 of 2: wrong"
        assert asked(remote(toy, score="share"), "print(2)", reference).value == 0.5


# --- faults of the server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [429, 500, 502, 503, "nothing", "garbage", "odd", "sandbox_error", "slow"])
def test_a_fault_that_passes_costs_nothing(fault: Fault) -> None:
    with serving(ToySandbox([fault], slow_s=8)) as toy:
        reward = remote(toy, test_timeout_s=1, endpoint={"timeout_s": 6, "give_up_s": 60})
        assert asked(reward, HONEST).value == 1
        assert asked(reward, WRONG).value == 0
    assert toy.served[fault] == 1


@pytest.mark.parametrize(
    "fault", [429, 500, 503, "nothing", "garbage", "odd", "sandbox_error", "slow", "redirect", 422]
)
def test_a_fault_that_stays_is_never_a_wrong_answer(fault: Fault) -> None:
    with serving(ToySandbox(always=fault, slow_s=8)) as toy:
        reward = remote(toy, test_timeout_s=1, endpoint={"timeout_s": 6, "give_up_s": 1})
        scores = reward.score_all([pair(HONEST), pair(WRONG), pair("def f(:")])
    assert [score.status for score in scores] == ["infrastructure"] * 3
    assert all(score.reason.startswith("sandbox: ") for score in scores)
    assert toy.served[fault] >= 3


def test_a_server_that_is_not_there_is_an_infrastructure_failure() -> None:
    with serving(ToySandbox()) as toy:
        pass
    assert asked(remote(toy, endpoint={"give_up_s": 0.5}), HONEST).status == "infrastructure"


def test_faults_among_many_answers_lose_none() -> None:
    faults = [429, 503, "nothing", "garbage", 500, "odd", 429, "sandbox_error"]
    with serving(ToySandbox([*faults, "", *faults, "", "", *faults])) as toy:
        reward = remote(toy, concurrency=4, endpoint={"give_up_s": 60})
        scores = reward.score_all([pair(HONEST if n % 2 else WRONG) for n in range(20)])
    assert sum(toy.served[fault] for fault in set(faults)) == 3 * len(faults)
    known = [(n, score) for n, score in enumerate(scores) if score.known]
    assert len(known) >= 18, "what the server spoils twice in a row is lost, and only that"
    assert all(score.value == n % 2 for n, score in known)


def test_an_answer_that_breaks_the_sandbox_while_it_is_well_is_not_taken_out() -> None:
    with serving(ToySandbox(["sandbox_error", "sandbox_error", ""])) as toy:
        score = asked(remote(toy), HONEST)
    assert (score.status, score.reason) == ("answer_failure", "sandbox_error")


# --- at the start of a stage, and at its end ----------------------------------------------------------------


class Context:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = threading.Event()

    def note(self, text: str) -> None:
        """Nobody watches."""

    def stopping(self) -> bool:
        return self.stop.is_set()


def test_a_server_is_looked_at_before_the_stage(tmp_path: Path) -> None:
    with serving(ToySandbox()) as toy:
        remote(toy).prepare(Context(tmp_path))
        assert toy.served[""] >= 3


@pytest.mark.parametrize(
    ("fault", "said"), [(503, "no answer after 1 attempt"), (404, "HTTP 404"), ("garbage", "no JSON")]
)
def test_a_server_that_does_not_work_stops_the_stage_at_once(fault: Fault, said: str, tmp_path: Path) -> None:
    with serving(ToySandbox(always=fault)) as toy, pytest.raises(R1Error, match=said) as raised:
        remote(toy).prepare(Context(tmp_path))
    assert raised.value.exit_code == 3


def test_a_server_that_cannot_tell_right_from_wrong_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"status": "Finished", "return_code": 0, "stdout": "", "stderr": ""}
    monkeypatch.setattr(ToySandbox, "run", lambda toy, body: {"status": "Success", "run_result": nothing})
    with serving(ToySandbox()) as toy, pytest.raises(RefusedError, match="a program that is worth 1 got 0"):
        remote(toy).prepare(Context(tmp_path))


def test_a_run_that_is_stopped_does_not_wait_for_the_server(tmp_path: Path) -> None:
    with serving(ToySandbox()) as toy:
        reward, context = remote(toy, endpoint={"timeout_s": 60, "give_up_s": 600}), Context(tmp_path)
        reward.prepare(context)
        toy.always = 503
        threading.Timer(0.3, context.stop.set).start()
        started = time.monotonic()
        with pytest.raises(Interrupted):
            asked(reward, HONEST)
        assert time.monotonic() - started < 5
        assert toy.served[503] >= 1


def test_calls_are_counted_and_no_more_are_made_at_once_than_allowed() -> None:
    with serving(ToySandbox()) as toy:
        reward = remote(toy, concurrency=2)
        assert [score.value for score in reward.score_all([pair(HONEST)] * 3)] == [1, 1, 1]
        assert toy.peak == 2
        assert reward.metrics() == {"calls": 6.0}
        assert reward.metrics() == {"calls": 0.0}


def test_a_call_that_could_not_wait_for_its_test_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises(ValidationError, match=r"endpoint.timeout_s is 5, test_timeout_s 4: a call needs 5 s more"):
        RemoteCode.Config(endpoint={"url": "http://127.0.0.1:1", "timeout_s": 5})
