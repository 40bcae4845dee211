"""A train stage on several ranks: they share the work, agree, fail together, and end as one process would have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import toy_ranks
from test_pipeline_faults import alive
from toy_runs import BASE, Ran, go, planned, without_times

from r1core.errors import Interrupted, RefusedError, SetupError
from r1core.events import StageNote, StepDone
from r1core.pipeline import run_plan
from r1core.processes import BrokenStageError
from r1core.store import read_metrics, read_rows

PATIENCE_S = 60.0
TOYS = toy_ranks.HERE


def stages(trainer: str = "", *, engine: str = "", where: Path | str = "") -> str:
    """A base and a stage that samples and is scored on the ranks."""
    policy = "" if engine == "one" else f", policy: {{use: '{TOYS}:Crew', ranks: 2{engine}}}"
    train = f"{{use: '{TOYS}:Trip', steps: 3, rollouts: true{trainer}}}"
    reward = f"{{use: '{TOYS}:Signed', where: '{where}'}}" if where else "Exact"
    zero = (
        f"{{train: {train}, model: base, problems: Numbers, rewards: [{reward}], checkpoint: {{every_s: 0}}{policy}}}"
    )
    return f"  base: {BASE}\n  zero: {zero}\n"


def metrics(folder: Path) -> list[dict[str, Any]]:
    return list(read_metrics(folder / "run" / "stages" / "zero" / "metrics.jsonl"))


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A folder in which two ranks ran undisturbed; for reading only."""
    folder = tmp_path_factory.mktemp("smooth")
    return folder, go(folder, stages())


def test_ranks_share_the_answers_and_end_as_one_process_does(tmp_path: Path) -> None:
    for name, engine in (("one", "one"), ("two", "")):
        (tmp_path / name).mkdir()
        go(tmp_path / name, stages(engine=engine, where=tmp_path / f"{name}.judged"))
    judged = {name: (tmp_path / f"{name}.judged").read_text().split("\n")[:-1] for name in ("one", "two")}
    assert {line.split()[0] for line in judged["one"]} == {"alone"}
    assert [line.split()[0] for line in sorted(judged["two"])].count("0") == 9, "each rank judges its half"
    assert sorted(line.split()[1] for line in judged["two"]) == sorted(line.split()[1] for line in judged["one"])
    one, two = (without_times(tmp_path / name / "run" / "stages" / "zero") for name in ("one", "two"))
    kept = [name for name in one if name.startswith(("model/", "rollouts/", "metrics"))]
    assert len(kept) == 5
    assert [name for name in kept if one[name] != two.get(name)] == []
    assert len(list(read_rows(tmp_path / "two" / "run" / "stages" / "zero" / "rollouts"))) == 18


def test_rank_0_alone_is_heard(smooth: tuple[Path, Ran]) -> None:
    folder, ran = smooth
    assert [event.step for event in ran.of(StepDone, "zero")] == [1, 2, 3]
    assert [row["step"] for row in metrics(folder)] == [1, 2, 3]


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(
    ("then", "error", "words"),
    [
        ("refuse", RefusedError, "enough is enough"),
        ("bug", BrokenStageError, "a bug of the toy"),
        ("die", SetupError, r"rank {who} of 2 \(process \d+\) ended without a word"),
        ("exit", SetupError, r"rank {who} of 2 .*rank-{who}.log"),
    ],
)
def test_a_rank_that_fails_ends_all_with_its_cause(
    tmp_path: Path, then: str, error: type[Exception], words: str, who: int
) -> None:
    begun = time.monotonic()
    with pytest.raises(error, match=f"(?s){words.format(who=who)}") as caught:
        go(tmp_path, stages(f", then: {then}, at: 1, who: {who}"))
    assert str(caught.value).count("Error: ") == (then == "bug"), "the cause is told once, and of no other rank"
    assert time.monotonic() - begun < 5 * 30, "and soon"
    own = tmp_path / "run" / "stages" / "zero" / "ranks"
    assert not (own / "job.json").exists(), "the word that ranks are known by is forgotten"
    if then == "exit":
        assert "famous last words" in (own / f"rank-{who}.log").read_text()


def test_what_was_saved_is_gone_on_with_after_a_rank_was_killed(smooth: tuple[Path, Ran], tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="ended without a word"):
        go(tmp_path, stages(", then: die, at: 2"))
    assert len(metrics(tmp_path)) == 2
    once = tmp_path / "once"
    once.mkdir()
    with pytest.raises(RefusedError, match="not the first time"):
        go(once, stages(f", then: once, at: 2, where: '{once}'"))
    ran = go(once, stages(f", then: once, at: 2, where: '{once}'"))
    assert [event.step for event in ran.of(StepDone, "zero")] == [3]
    found, wanted = (without_times(each / "run" / "stages" / "zero") for each in (once, smooth[0]))
    kept = [name for name in wanted if name.startswith(("model/", "rollouts/", "metrics"))]
    assert [name for name in kept if found.get(name) != wanted[name]] == []


def test_a_launcher_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"exit code 1 when 0 of 2 ranks had come, its last words: no such machine: g"):
        go(tmp_path, stages(engine=", broken: true"))


def test_a_full_disk_of_one_rank_costs_all_the_checkpoint_and_no_more(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"3 checkpoints in a row could not be saved, the last: No space left"):
        go(tmp_path, stages(engine=", full: 1"))
    assert len(metrics(tmp_path)) == 3


def test_a_request_to_stop_is_agreed_and_saved(tmp_path: Path) -> None:
    """One rank hangs; whoever is asked to stop meanwhile stops with the others, after the same step."""
    place = tmp_path / "place"
    place.mkdir()
    recipe = stages(f", then: hang, at: 1, where: '{place}', who: 1")

    def ask() -> None:
        until = time.monotonic() + PATIENCE_S
        while not list(place.glob("*.pids")) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1.0)
        (place / "open").touch()
        rank, child = (int(pid) for file in place.glob("*.pids") for pid in file.read_text().split())
        asleep.extend([rank, child])
        os.kill(os.getpid(), signal.SIGINT)

    asleep: list[int] = []
    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, recipe)
    asking.join()
    until = time.monotonic() + PATIENCE_S
    while any(map(alive, asleep)) and time.monotonic() < until:
        time.sleep(0.05)
    assert asleep
    assert [pid for pid in asleep if alive(pid)] == [], "a second request ends ranks and what they started"
    ran = go(tmp_path, recipe)
    assert [event.step for event in ran.of(StepDone, "zero")] == [2, 3], "the first step was saved"


def test_ranks_stop_after_the_same_step(tmp_path: Path) -> None:
    asked = threading.Event()

    def listen(event: Any) -> None:
        if isinstance(event, StepDone) and event.stage == "zero" and not asked.is_set():
            asked.set()
            os.kill(os.getpid(), signal.SIGINT)

    plan = planned(tmp_path, stages().replace("steps: 3", "steps: 40"))
    with pytest.raises(Interrupted, match=r"stopped on request after step \d+ of 40, which is saved"):
        run_plan(plan, plan.host, tmp_path / "run", listener=listen)
    done = len(metrics(tmp_path))
    assert 1 <= done < 40
    run_plan(plan, plan.host, tmp_path / "run")
    assert [row["step"] for row in metrics(tmp_path)] == list(range(1, 41))


def test_ranks_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nfrom test_ranks import stages\nfrom toy_runs import go\n"
        "go(Path(sys.argv[2]), stages(f\", then: hang, at: 1, where: '{sys.argv[3]}', who: 0\"))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program, str(TOYS.parent), str(tmp_path), str(place)])
    until = time.monotonic() + PATIENCE_S
    while not list(place.glob("*.pids")):
        assert time.monotonic() < until
        assert run.poll() is None
        time.sleep(0.02)
    rank = int(next(place.glob("*.pids")).read_text().split()[0])
    run.kill()
    run.wait()
    while alive(rank):
        assert time.monotonic() < until + PATIENCE_S, "the rank outlives its run"
        time.sleep(0.02)


def test_notes_of_rank_0_are_heard(tmp_path: Path) -> None:
    ran = go(tmp_path, stages(", idle: [1]"))
    assert [note.text for note in ran.of(StageNote, "zero")] == [
        "step 2: nothing to learn from",
        "1 of 3 steps had nothing to learn from",
    ]


def test_a_stage_that_hangs_says_where(tmp_path: Path) -> None:
    """One rank waits for the other: both print their stacks, and the run says so."""
    place, own = tmp_path / "place", tmp_path / "run" / "stages" / "zero" / "ranks"
    place.mkdir()

    def free_it() -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not (printed(own, 0, "gather") and printed(own, 1, "_misbehave")):
            time.sleep(0.05)
        (place / "x.pids").touch()

    threading.Thread(target=free_it).start()
    recipe = stages(f", then: wait_and_refuse, at: 1, where: '{place}', who: 1")
    with pytest.raises(RefusedError, match="enough is enough") as caught:
        go(tmp_path, recipe.replace("model: base,", "model: base, stall_s: 1,"))
    assert printed(own, 1, "_misbehave"), "where the one that does nothing is"
    assert printed(own, 0, "gather"), "where the one that waits is"
    notes = [event.text for event in caught.value.events if isinstance(event, StageNote)]  # type: ignore[attr-defined]
    assert any(re.fullmatch(r"no step for \d+ s: what each thread does stands in the stage's output", n) for n in notes)


def printed(own: Path, rank: int, word: str) -> bool:
    """Whether a rank has printed a stack with this function in it."""
    log = own / f"rank-{rank}.log"
    return log.exists() and f" in {word}" in log.read_text()
