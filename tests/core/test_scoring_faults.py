"""What verifiers do on a bad day, in real processes: each test asserts that its fault really happened."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_scoring import group, spec

from r1core.errors import RefusedError, SetupError
from r1core.scoring import ScoringService


def fault(tmp_path, **given):
    options = {"log": str(tmp_path / "log"), **given.pop("options", {})}
    return spec("Fault", options=options, **{"timeout_s": 0.5, "lowest": -1.0, **given})


def fired(tmp_path):
    return (tmp_path / "log").read_text().split()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, *, at_most_s=20.0):
    until = time.monotonic() + at_most_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def worker_pid(service):
    return int(service.score([group(["yes"])])[0].scores[0].parts["process"])


@pytest.mark.parametrize(("answer", "reason"), [("sleep", "verifier_timeout"), ("exit", "verifier_crash")])
def test_what_brings_two_workers_down_is_worth_the_lowest_and_its_neighbours_keep_their_scores(
    tmp_path, answer, reason
):
    specs = [spec("Exact"), fault(tmp_path), spec("Length")]
    with ScoringService(specs) as service:
        scored = service.score([group(["yes", answer, "no", "yes"])])[0].scores
        assert service.metrics()["verifier/failure_rate"] == 0.25
    assert fired(tmp_path) == [answer, answer]
    assert (scored[1].status, scored[1].reason, scored[1].parts["fault"]) == ("answer_failure", reason, -1.0)
    assert scored[1].parts["exact"] == 0.0
    assert scored[1].parts["length"] > 0
    assert [score.parts["exact"] for score in scored] == [1.0, 0.0, 0.0, 1.0]
    assert [score.parts["fault"] for score in scored] == [1.0, -1.0, 1.0, 1.0]


@pytest.mark.parametrize("answer", ["sleep", "exit"])
def test_the_verdict_of_a_retry_stands(tmp_path, answer):
    with ScoringService([fault(tmp_path, options={"once": True})]) as service:
        (found,) = service.score([group([answer])])[0].scores
    assert fired(tmp_path) == [answer]
    assert (found.status, found.value, found.reason) == ("verdict", 1.0, "second attempt")


def test_bombs_do_not_poison_the_workers(tmp_path):
    answers = ["exit"] * 4 + ["yes"] * 100
    with ScoringService([fault(tmp_path)], workers=2) as service:
        scored = service.score([group(answers)])[0].scores
    assert len(fired(tmp_path)) == 8
    assert [score.value for score in scored] == [-1.0] * 4 + [1.0] * 100


def test_a_remote_reward_that_times_out_is_infrastructure(tmp_path):
    with ScoringService([fault(tmp_path, remote=True)], max_infrastructure_rate=1.0) as service:
        slow, fine = service.score([group(["sleep", "yes"])])[0].scores
    assert fired(tmp_path) == ["sleep", "sleep"]
    assert (slow.status, slow.reason, fine.value) == ("infrastructure", "verifier_timeout", 1.0)
    assert math.isnan(slow.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("raise", "verifier_error: LookupError"),
        ("system_exit", "verifier_error: SystemExit"),
        ("nan", "bad_score"),
        ("text", "bad_score"),
        ("none", "bad_score"),
        ("broken", "gave up"),
    ],
)
def test_what_is_no_verdict_is_an_answer_failure_worth_the_lowest(tmp_path, answer, reason):
    with ScoringService([fault(tmp_path)]) as service:
        failed, fine = service.score([group([answer, "yes"])])[0].scores
    assert fired(tmp_path) == [answer]
    assert (failed.status, failed.value, failed.reason) == ("answer_failure", -1.0, reason)
    assert fine.value == 1.0


def test_what_a_reward_prints_or_reads_cannot_reach_the_protocol(capfd):
    with ScoringService([spec("Noisy"), spec("Exact")]) as service:
        found = service.score([group(["yes", "no"])])[0].scores
    assert [score.parts for score in found] == [{"noisy": 1.0, "exact": 1.0}, {"noisy": 1.0, "exact": 0.0}]
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("forged") == 4


def test_large_answers_pass_in_both_directions():
    answers = ["π\n" * 50_000 + str(k) + "\ud800\x00" for k in range(24)]
    with ScoringService([spec("Length"), spec("Exact")], workers=2) as service:
        found = service.score([group(answers)])[0].scores
    assert [score.parts["length"] for score in found] == [
        len(f"<think>hm</think><answer>{answer}</answer>") for answer in answers
    ]


def test_a_full_pipe_does_not_hold_up_a_deadline(tmp_path):
    started = time.monotonic()
    with ScoringService([fault(tmp_path, options={"once": True})]) as service:
        found = service.score([group(["sleep", *["x" * 500_000] * 7])])[0].scores
    assert fired(tmp_path) == ["sleep"]
    assert [score.value for score in found] == [1.0] * 8
    assert time.monotonic() - started < 20  # the reward sleeps for 60 s


def test_a_worker_killed_between_calls_is_replaced():
    with ScoringService([spec("Process")]) as service:
        before = worker_pid(service)
        os.kill(before, signal.SIGKILL)
        assert worker_pid(service) != before


def test_a_worker_sees_no_secret_and_a_fixed_hash_seed(monkeypatch):
    monkeypatch.setenv("R1_TEST_SECRET", "hunter2")
    with ScoringService([spec("Environment")]) as service:
        (found,) = service.score([group(["yes"])])[0].scores
    assert (found.value, found.reason) == (1.0, "0")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
def test_a_memory_limit_holds():
    with ScoringService([spec("Greedy", lowest=-1.0)], memory_mib=768) as service:
        (found,) = service.score([group(["yes"])])[0].scores
    assert (found.value, found.reason) == (-1.0, "verifier_error: MemoryError")


def test_a_worker_that_ends_while_it_starts_is_a_setup_error():
    with pytest.raises(SetupError, match="did not start"), ScoringService([spec("ExitsAtStart")], workers=2):
        pass


def limited(tmp_path, builds):
    return spec("Limited", options={"log": str(tmp_path / "log"), "builds": builds})


@pytest.mark.parametrize("builds", [1, 2])
def test_a_crash_after_which_no_worker_starts_is_infrastructure(tmp_path, builds):
    with ScoringService([limited(tmp_path, builds)], max_infrastructure_rate=1.0) as service:
        before, *after = service.score([group(["yes", "exit", "yes"])])[0].scores
    assert fired(tmp_path) == ["built"] * builds
    assert before.value == 1.0
    assert [score.status for score in after] == ["infrastructure", "infrastructure"]
    assert "FileExistsError: used up" in after[0].reason


def test_an_outage_of_the_workers_stops_the_run(tmp_path):
    with ScoringService([limited(tmp_path, 1)]) as service, pytest.raises(RefusedError, match="no scoring worker"):
        service.score([group(["exit", "yes"])])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_a_reward_started_outlives_its_time_out(tmp_path):
    with ScoringService([fault(tmp_path)]) as service:
        service.score([group(["sleep_with_child"])])
    children = [int(line) for line in fired(tmp_path) if line.isdigit()]
    assert len(children) == 2
    assert wait_until(lambda: not any(alive(pid) for pid in children))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_worker_and_no_zombie_is_left():
    with ScoringService([spec("Process")], workers=2) as service:
        pid = worker_pid(service)
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


PARENT = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_scoring import group, spec
from r1core.scoring import ScoringService
with ScoringService([spec("Process"), spec("Fault", options={{"log": sys.argv[1]}}, timeout_s=60.0)]) as service:
    print(int(service.score([group(["yes"])])[0].scores[0].parts["process"]), flush=True)
    service.score([group([sys.argv[2]])])
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("answer", ["yes", "sleep", "sleep_with_child"])
def test_all_that_scoring_started_dies_with_the_parent_idle_or_not(tmp_path, answer):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), answer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert wait_until(lambda: len(workers_of(server_of(pid))) >= 2), "a spare one is made beside the worker"
        started = {pid, server_of(pid), *workers_of(server_of(pid))}
        if answer != "yes":
            assert wait_until(lambda: (tmp_path / "log").exists() and len(fired(tmp_path)) > ("child" in answer))
            started |= {int(line) for line in fired(tmp_path) if line.isdigit()}
        assert len(started) >= 3 + ("child" in answer)
        assert all(alive(one) for one in started)
        parent.kill()
    assert wait_until(lambda: not any(alive(one) for one in started))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_spare_worker_is_at_hand_for_a_second_attempt_and_then_another_waits(tmp_path):
    with ScoringService([fault(tmp_path, options={"once": True}), spec("Process")]) as service:
        first = worker_pid(service)
        server = server_of(first)
        assert wait_until(lambda: len(workers_of(server)) == 2)
        (spare,) = set(workers_of(server)) - {first}
        (retried,) = service.score([group(["exit"])])[0].scores
        assert wait_until(lambda: len([pid for pid in workers_of(server) if alive(pid)]) == 2)
    assert fired(tmp_path) == ["exit"]
    assert (retried.reason, retried.parts["process"]) == ("second attempt", spare)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_of_the_workers_is_replaced_when_it_is_killed():
    with ScoringService([spec("Process")]) as service:
        before = worker_pid(service)
        os.kill(server_of(before), signal.SIGKILL)
        assert wait_until(lambda: not alive(before)), "a worker ends with its server"
        after = worker_pid(service)
        assert server_of(after) != server_of(os.getpid())
        assert after != before


def server_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def workers_of(server):
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


def test_an_interrupted_call_leaves_no_answer_to_the_next(tmp_path):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ScoringService([spec("Exact"), fault(tmp_path, timeout_s=60.0)]) as service:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                service.score([group(["no", "sleep", "no"])])
            assert fired(tmp_path) == ["sleep"]
            found = service.score([group(["yes", "yes"])])[0].scores
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert [score.parts["exact"] for score in found] == [1.0, 1.0]
