"""`r1 recipe` as a process of its own, to be interrupted and killed, and a look at all the processes that it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import toy_paced
from toy_runs import without_times, written

PATIENCE_S = 30.0
R1 = "from r1core.cli import main; main()"
PACED = f"{toy_paced.HERE}:Paced"


def environment() -> dict[str, str]:
    """That of this process, and its modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Command:
    """`r1 recipe` on these stages in `folder/run`, in a session of its own; `PLACE` in their text is `folder/place`.

    While the folder `place` holds `closed`, a paced stage waits in its step `at`.
    """

    def __init__(self, folder: Path, stages: str, **more: str) -> None:
        self.folder, self.place, self.run = folder, folder / "place", folder / "run"
        self.place.mkdir(exist_ok=True)
        file = written(folder, stages.replace("PLACE", str(self.place)).replace("Paced", PACED), **more)
        how = ("--run-dir", str(self.run), "-p", "no:report")  # nobody here looks at the page, which takes a second
        self.arguments = [sys.executable, "-c", R1, "recipe", str(file), *how]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The parent process of the run."""
        assert self.process is not None
        return self.process.pid

    @property
    def out(self) -> str:
        """What it has printed."""
        return (self.folder / "out.txt").read_text()

    @property
    def err(self) -> str:
        """What it has said on stderr."""
        return (self.folder / "err.txt").read_text()

    def close(self) -> None:
        """Let paced stages wait."""
        (self.place / "closed").touch()

    def open(self) -> None:
        """Let paced stages go on."""
        (self.place / "closed").unlink(missing_ok=True)

    def start(self, *options: str) -> None:
        arguments = [*self.arguments, *options]
        with (self.folder / "out.txt").open("w") as out, (self.folder / "err.txt").open("w") as err:
            self.process = subprocess.Popen(
                arguments, cwd=self.folder, stdout=out, stderr=err, start_new_session=True, env=environment()
            )

    def beside(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The same command once more, while the run goes on."""
        return subprocess.run(
            [*self.arguments, *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
            timeout=PATIENCE_S,
        )

    def until(self, true: Callable[[], object]) -> None:
        """Wait for something to be so, while the run goes on."""
        assert self.process is not None
        until = time.monotonic() + PATIENCE_S
        while not true():
            assert self.process.poll() is None, self.err
            assert time.monotonic() < until, self.out
            time.sleep(0.01)

    def reached(self, step: int, *, stages: int = 1) -> None:
        """Wait until so many stages are in this step (from 0)."""
        self.until(lambda: len(list(self.place.glob(f"*.{step}"))) >= stages)

    def ended(self) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def again(self, *options: str) -> int:
        """Run it once more, to its end, nobody waiting."""
        self.open()
        self.start(*options)
        return self.ended()

    def alive(self) -> list[int]:
        """Every process that works in the run's folder, whoever started it; zombies do not."""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cwd") if self._is_at(path)]

    def _is_at(self, link: Path) -> bool:
        try:
            return link.readlink() == self.folder
        except OSError:  # gone, or a zombie
            return False

    def gone_within(self, seconds: float) -> bool:
        """Whether no process of it is left after so long."""
        until = time.monotonic() + seconds
        while self.alive() and time.monotonic() < until:
            time.sleep(0.02)
        return not self.alive()

    def made(self) -> dict[str, bytes]:
        """What the run made, less what says when and where."""
        files = without_times(self.run / "stages")
        parts = ("/model/", "/data/", "/rollouts/")
        return {n: d for n, d in files.items() if n.endswith("metrics.jsonl") or any(part in n for part in parts)}

    def clean_up(self) -> None:
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


def undisturbed(folder: Path, stages: str, **more: str) -> dict[str, bytes]:
    """What such a run makes when nothing happens to it."""
    command = Command(folder, stages, **more)
    assert command.again() == 0, command.err
    return command.made()
