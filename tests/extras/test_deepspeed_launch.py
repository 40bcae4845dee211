"""Ranks are started by DeepSpeed's launcher, meet, and end together; a hostfile makes the command for many machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from r1_plugins.deepspeed import DeepSpeedPolicy
from r1core.errors import RecipeError, SetupError
from r1core.world import Alone

PROGRAM = Path(__file__).parent / "launched_program.py"
LIMIT_S = 240
END_S = 30
"""Within which all must be gone when one rank is killed."""


def policy(**options: Any) -> DeepSpeedPolicy:
    return DeepSpeedPolicy(DeepSpeedPolicy.Config(device="cpu", **options))


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = policy(ranks=2).launch([sys.executable, "-W", "ignore", str(PROGRAM), str(folder), *words], folder=folder)
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.PIPE)


def heard(folder: Path, launcher: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    files, until = [folder / f"rank-{rank}.json" for rank in range(2)], time.monotonic() + LIMIT_S
    while not all(file.exists() for file in files):
        assert time.monotonic() < until, (folder / "log").read_text()[-3000:]
        assert launcher.poll() in (None, 0), (folder / "log").read_text()[-3000:]
        time.sleep(0.05)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def running(pid: int) -> bool:
    """Whether it is there, and more than a remnant that nobody has read the exit code of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ranks_meet_and_hear_each_other(tmp_path: Path) -> None:
    with started(tmp_path) as launcher:
        ranks = heard(tmp_path, launcher)
        assert launcher.wait(timeout=LIMIT_S) == 0
    told = [{key: value for key, value in rank.items() if key != "pid"} for rank in ranks]
    gathered = [{"rank": 0}, {"rank": 1}]
    assert told[0] == told[1]
    assert told[0] == {"size": 2, "gathered": gathered, "first": "from 0", "some": True, "none": False, "left": []}
    assert ranks[0]["pid"] != ranks[1]["pid"]


def test_a_killed_rank_ends_the_others_and_the_launcher(tmp_path: Path) -> None:
    with started(tmp_path, "hang") as launcher:
        ranks = heard(tmp_path, launcher)
        assert all(running(rank["pid"]) for rank in ranks)
        os.kill(ranks[1]["pid"], signal.SIGKILL)
        assert launcher.wait(timeout=END_S) != 0
        assert not any(running(rank["pid"]) for rank in ranks)


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert isinstance(policy(ranks=4).world, Alone)
    assert policy(ranks=4).ranks == 4


def hostfile(folder: Path, text: str) -> str:
    (folder / "hosts").write_text(text, encoding="utf-8")
    return str(folder / "hosts")


def test_a_hostfile_makes_the_runners_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what other machines find in their environment: no keys; the user's own file, and what is known by name."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pdsh").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "bin" / "pdsh").chmod(0o755)
    (tmp_path / ".deepspeed_env").write_text("NCCL_DEBUG=WARN\n", encoding="utf-8")
    for name, value in {
        "HF_HOME": "/data/hf",
        "HF_TOKEN": "secret",
        "JUDGE_KEY": "secret",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.delenv("DS_ENV_FILE", raising=False)
    several = policy(hostfile=hostfile(tmp_path, "# two machines\n\none slots=8\ntwo slots=4\n"))
    assert several.ranks == 12
    command = several.launch(["python", "-m", "mine", "job.json"], folder=tmp_path / "launch")
    start = command.index("deepspeed.launcher.runner")
    assert command[-4:] == ["python", "-m", "mine", "job.json"]
    assert f"--hostfile={tmp_path / 'hosts'}" in command[start:]
    assert {"--no_python", "--no_local_rank", "--force_multi"} < set(command[start:-4])
    (file,) = [Path(word.partition("=")[2]) for word in command[:start] if word.startswith("DS_ENV_FILE=")]
    lines = file.read_text(encoding="utf-8").splitlines()
    assert {"NCCL_DEBUG=WARN", "HF_HOME=/data/hf", "DS_ACCELERATOR=cpu"} <= set(lines)
    assert not [line for line in lines if "secret" in line]
    assert file.stat().st_mode & 0o077 == 0


def test_what_the_runner_cannot_pass_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = policy(hostfile=hostfile(tmp_path, "one slots=8\n"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="pdsh"):
        several.launch(["python"], folder=tmp_path)
    (tmp_path / "pdsh").touch(mode=0o755)
    with pytest.raises(SetupError, match=r"a\$b"):
        several.launch(["python", "a$b"], folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no machine"),
        ("one\n", r"hosts:1: 'one' names no machine"),
        ("one slots=2\none slots=2\n", r"hosts:2: one stands there twice"),
        ("# a\none slots=0\n", r"hosts:2: 'one slots=0'"),
    ],
)
def test_a_hostfile_with_a_slip_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        _ = policy(hostfile=hostfile(tmp_path, text)).ranks


def test_a_hostfile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        _ = policy(hostfile=str(tmp_path / "none")).ranks
    with pytest.raises(ValidationError, match="ranks: 4 beside a hostfile"):
        policy(hostfile="hosts", ranks=4)
