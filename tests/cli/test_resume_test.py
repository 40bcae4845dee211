"""`r1 doctor --resume-test` on toys: real processes, real kills, and what it says of bytes that differ.

tests/benchmarks/bench_resume.py    the same on a whole pipeline, a hundred times
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from toy_runs import written

from r1core.cli.kill_orders import AT_RANDOM, MAX_MISSED, Orders
from r1core.cli.launches import AT_TIME, Launch
from r1core.store.kills import PLACES
from r1core.store.promised import differing

Ended = subprocess.CompletedProcess[str]

STAGES = """\
  base: {train: {use: Climb, steps: 6}, model: {scratch: {skill: 0.2}}, data: {use: Numbers}}
  zero: {train: {use: Climb, steps: 6}, model: base}
  traces: {sample: {prompts: 8, samples: 2, chunk: 2}, model: zero, problems: Numbers, rewards: [Exact]}
  table:
    evaluate: {sets: {pass@1: {problems: Numbers, limit: 6}}, chunk: 2}
    models: [base, zero]
    rewards: [Exact]
"""
CLOCKWORK = """\
import time
from collections.abc import Iterator
from r1core import Step, Trainer
class Clockwork(Trainer):
    name = "clockwork"
    @property
    def planned_steps(self):
        return 3
    def run(self, context) -> Iterator[Step]:
        for at in context.steps(3):
            gain = time.time() % 1 / 10
            yield Step(metrics={**context.policy.update([], None, lr=gain), "gain": gain})
"""


@pytest.fixture
def doctor(r1: Callable[..., Ended], tmp_path: Path) -> Callable[..., Ended]:
    """doctor(stages, *arguments) tests resuming of a recipe of these stages, in tmp_path/kept."""

    def run(stages: str, *arguments: str) -> Ended:
        recipe = str(written(tmp_path, stages))
        own = ("--recipe", recipe, "--profile", "none", "--folder", str(tmp_path / "kept"))
        return r1("doctor", "--resume-test", *own, *arguments)

    return run


def test_every_chain_of_a_sound_recipe_ends_with_the_same_bytes(doctor: Callable[..., Ended], tmp_path: Path) -> None:
    done = doctor(STAGES, "--kills", "6", "--chains", "2", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "checkpoint.every_s=0" in lines[0]
    chains = [line for line in lines if line.startswith("chain-")]
    assert len(chains) >= 2
    assert all(line.endswith("the same bytes") for line in chains)
    told = [re.search(r": (\d+) kills, (\d+) at random times \(\d+ at work\), (\d+) in the writer", c) for c in chains]
    counts = [[int(count) for count in match.groups()] for match in told if match]
    assert [sum(column) for column in zip(*counts, strict=True)] == [6, 4, 2]
    starts = sum(int(found) for found in re.findall(r"; (\d+) starts", done.stdout))
    assert starts >= 6 + len(chains)
    assert lines[-1].startswith("6 of 6 kills landed")
    assert differing(tmp_path / "kept" / "unbroken", tmp_path / "kept" / "chain-01") == []


def test_bytes_that_depend_on_the_clock_are_named_and_end_with_exit_4(
    doctor: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "clockwork.py").write_text(CLOCKWORK)
    clockwork = f"{tmp_path}/clockwork.py:Clockwork"
    stages = f"  base: BASE\n  zero: {{train: '{clockwork}', model: base}}\n"
    done = doctor(stages, "--kills", "1", "--chains", "1")
    assert done.returncode == 4, done.stdout
    assert "stages/zero/model/model.safetensors differs" in done.stderr
    assert "stages/zero/metrics.jsonl differs" in done.stderr
    assert "stages/base" not in done.stderr
    assert "0 chains ended with the same bytes" in done.stdout
    assert (tmp_path / "kept" / "chain-01").is_dir()


def test_a_run_that_fails_by_itself_ends_with_its_own_words_and_code(
    doctor: Callable[..., Ended], tmp_path: Path
) -> None:
    done = doctor("  base: BASE\n  zero: {train: {use: Climb, stepps: 1}, model: base}\n")
    assert done.returncode == 2
    assert "fails without a kill" in done.stderr
    assert "stepps" in done.stderr


@pytest.mark.parametrize("option", ["--kills", "--chains", "--recipe", "--profile", "--folder", "--seed"])
def test_its_options_are_of_use_only_with_it(r1: Callable[..., Ended], option: str) -> None:
    done = r1("doctor", option, "5")
    assert done.returncode == 2
    assert f"{option} is of use only with --resume-test" in done.stderr


def test_a_folder_with_something_in_it_is_refused(doctor: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").touch()
    done = doctor(STAGES)
    assert done.returncode == 2
    assert "is not empty" in done.stderr


# --- what is compared ------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs with the same bytes."""
    runs = tmp_path / "one", tmp_path / "two"
    for run in runs:
        (run / "stages" / "base" / "model").mkdir(parents=True)
        (run / "stages" / "base" / "model" / "weights").write_bytes(b"0123")
        (run / "stages" / "base" / "metrics.jsonl").write_text('{"loss": 0.5, "step": 1, "time/step_s": 1}\n')
        (run / "results.json").write_text('{"wall_s": 1.5, "rows": []}\n')
    return runs


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("stages/base/metrics.jsonl", '{"loss": 0.5, "step": 1, "time/step_s": 99.5}\n'),
        ("results.json", '{"wall_s": 2, "rows": []}\n'),
        ("stages/base/output.log", "printed"),
    ],
)
def test_times_and_logs_may_differ(two: tuple[Path, Path], name: str, content: str) -> None:
    (two[1] / name).write_text(content)
    assert differing(*two) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("stages/base/metrics.jsonl", '{"loss": 0.50, "step": 1, "time/step_s": 1}\n'),
        ("stages/base/metrics.jsonl", '{"step": 1, "loss": 0.5, "time/step_s": 1}\n'),
        ("stages/base/metrics.jsonl", '{"loss": 0.5, "step": 1, "time/step_s": 1}'),
        ("stages/base/metrics.jsonl", '{"loss": 0.5, "ste'),
        ("stages/base/model/weights", "0124"),
        ("stages/base/model/more", ""),
        ("stages/base/data/part", ""),
        ("stages/base/rollouts/step", ""),
        ("stages/other/metrics.jsonl", ""),
        ("results.json", '{"wall_s": 1.5, "rows": [1]}\n'),
    ],
)
def test_every_other_byte_counts(two: tuple[Path, Path], name: str, content: str) -> None:
    (two[1] / name).parent.mkdir(parents=True, exist_ok=True)
    (two[1] / name).write_text(content)
    assert differing(*two) == [name]
    (two[0] / name).unlink(missing_ok=True)
    assert differing(*two) == [name]


# --- which kill comes next -------------------------------------------------------------------------


def test_seven_tenths_of_the_kills_come_at_random_times_and_every_place_has_its_turn() -> None:
    orders, kinds, places = Orders(100, seed=1), [], []
    while len(orders):
        kinds.append(orders.in_writer)
        if orders.in_writer:
            places.append(orders.place()[0])
        orders.landed()
    assert kinds.count(False) == 100 * AT_RANDOM
    assert set(places) == set(PLACES)
    assert kinds != sorted(kinds)


def test_the_same_seed_draws_the_same_kills() -> None:
    def drawn(seed: int) -> list[object]:
        orders = Orders(10, seed=seed)
        return [[orders.place(), orders.time_s(startup_s=1, work_s=9, kills=3)] for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_times_lie_within_the_start_and_the_work_that_is_left_and_mostly_in_the_work() -> None:
    orders = Orders(1, seed=0)
    times_s = [orders.time_s(startup_s=2, work_s=10, kills=kills) for kills in (1, 5, 50) for _ in range(200)]
    assert 0 <= min(times_s) < 2
    assert 10 < max(times_s) <= 11
    assert 0.7 < sum(time_s > 2 for time_s in times_s) / len(times_s) < 0.9


def test_a_place_that_is_never_reached_is_left_out_and_its_kills_come_at_random_times() -> None:
    orders = Orders(10, seed=0)
    while not orders.in_writer:
        orders.landed()
    for place in PLACES:
        assert orders.in_writer
        for _ in range(MAX_MISSED):
            orders.missed(place)
    assert not orders.in_writer
    assert orders.left_out == sorted(PLACES)


# --- one launch ------------------------------------------------------------------------------------

FAMILY = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(60)"])
Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_process_that_outlives_the_kill_is_counted_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1core.cli.launches.ORPHANS_S", 0.5)
    pid = tmp_path / "pid"
    launch = Launch([sys.executable, "-c", FAMILY, str(pid)], tmp_path, log=tmp_path / "log")
    ended = launch.end(kill_after_s=2.0)
    assert (ended.code, ended.landed) == (-signal.SIGKILL, AT_TIME)
    assert ["os.setsid()" in command for command in ended.survivors] == [True]
    until = time.monotonic() + 10
    while is_alive(int(pid.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(int(pid.read_text()))


def test_a_command_that_ends_before_its_time_was_not_killed(tmp_path: Path) -> None:
    launch = Launch([sys.executable, "-c", "print('done'); raise SystemExit(7)"], tmp_path, log=tmp_path / "log")
    ended = launch.end(kill_after_s=60.0)
    assert (ended.code, ended.landed, ended.survivors, ended.at_work) == (7, "", (), False)
    assert (tmp_path / "log").read_text() == "done\n"
