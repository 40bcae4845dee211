"""The run directory: one owner, whatever happens to the process that was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from r1core.errors import RecipeError, SetupError
from r1core.store import RunDirectory

OWN = """
import sys, time
from pathlib import Path
from r1core.store import RunDirectory
run = RunDirectory.open(Path(sys.argv[1]))
print("mine", flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    with subprocess.Popen([sys.executable, "-c", OWN, str(tmp_path / "run")], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"mine\n"
        yield process
        process.kill()


def test_opening_makes_the_folders(tmp_path):
    with RunDirectory.open(tmp_path / "runs" / "one") as run:
        assert (run.path / "stages").is_dir()
        assert run.stage("dev1").path == tmp_path / "runs" / "one" / "stages" / "dev1"


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path, owner):
    with pytest.raises(RecipeError, match=f"in use by process {owner.pid} on {socket.gethostname()}") as caught:
        RunDirectory.open(tmp_path / "run")
    assert caught.value.exit_code == 2
    assert str(tmp_path / "run") in str(caught.value)


def test_a_killed_owner_leaves_no_lock(tmp_path, owner):
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    RunDirectory.open(tmp_path / "run").close()


def test_a_living_owner_is_not_waited_for(tmp_path, owner, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(RecipeError, match="in use by"):
        RunDirectory.open(tmp_path / "run")


ORPHAN = """
import subprocess, sys
from pathlib import Path
from r1core.store import RunDirectory
run = RunDirectory.open(Path(sys.argv[1]))
subprocess.Popen(["sleep", "0.7"], pass_fds=[run.lock], stdout=subprocess.DEVNULL)
"""


def test_the_children_of_an_owner_that_is_gone_are_waited_for(tmp_path):
    subprocess.run([sys.executable, "-c", ORPHAN, str(tmp_path / "run")], check=True)
    RunDirectory.open(tmp_path / "run").close()


def test_children_that_stay_are_told_of_in_the_end(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-c", ORPHAN, str(tmp_path / "run")], check=True)
    monkeypatch.setattr("r1core.store.run.ORPHANS_S", 0.0)
    with pytest.raises(RecipeError, match="in use by process"):
        RunDirectory.open(tmp_path / "run")


def test_the_lock_is_free_again_after_closing(tmp_path):
    with RunDirectory.open(tmp_path):
        with pytest.raises(RecipeError, match=f"process {os.getpid()} "):
            RunDirectory.open(tmp_path)
        RunDirectory(tmp_path).stage("x").record()  # looking needs no lock
    RunDirectory.open(tmp_path).close()


def test_a_directory_that_cannot_be_written_is_a_setup_error_with_its_path(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"cannot be written: Not a directory") as caught:
        RunDirectory.open(tmp_path / "file" / "run")
    assert str(tmp_path / "file" / "run") in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_a_setup_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SetupError, match="Permission denied"):
        RunDirectory.open(tmp_path / "run")
