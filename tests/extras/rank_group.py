"""Ranks that stay: started once, given one job after the other. A start imports torch and DeepSpeed, for seconds.

Each rank is `rank_program.py`; the name of a job's file goes to its standard input, and when the job is done there is a
file of that name with the rank's number.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "rank_program.py"
LIMIT_S = 240


class RankGroup:
    """So many ranks over gloo; what they print is kept in a folder."""

    def __init__(self, world: int, folder: Path) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = str(server.getsockname()[1])
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        self.logs = [folder / f"rank-{rank}.log" for rank in range(world)]
        self.ranks = [self._started(rank, {**shared, "WORLD_SIZE": str(world)}) for rank in range(world)]

    def _started(self, rank: int, shared: dict[str, str]) -> subprocess.Popen[str]:
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, "-W", "ignore", str(PROGRAM)]
        env = {**os.environ, **shared, **own}
        with self.logs[rank].open("w") as log:
            return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)

    @property
    def alive(self) -> bool:
        """Whether all are there."""
        return all(rank.poll() is None for rank in self.ranks)

    def do(self, job: dict[str, Any], file: Path) -> dict[str, Any]:
        """Have all ranks do a job, written to `file`; what rank 0 told. Ends them all when one dies, or hangs."""
        told = file.with_name("told.json")
        file.write_text(json.dumps({**job, "told": str(told)}), encoding="utf-8")
        for rank in self.ranks:
            assert rank.stdin is not None
            rank.stdin.write(f"{file}\n")
            rank.stdin.flush()
        done = [Path(f"{file}.{rank}") for rank in range(len(self.ranks))]
        until = time.monotonic() + LIMIT_S
        while not all(each.exists() for each in done):
            if not self.alive or time.monotonic() > until:
                self.end(kill=True)
                raise AssertionError(f"a rank died, or the job took more than {LIMIT_S} s:\n{self.said()[-4000:]}")
            time.sleep(0.02)
        found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        return found

    def said(self) -> str:
        """What the ranks printed."""
        return "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in self.logs)

    def end(self, *, kill: bool = False) -> list[int]:
        """No more jobs; the exit codes."""
        for rank in self.ranks:
            if kill:
                rank.kill()
            elif rank.stdin is not None:
                rank.stdin.close()
        return [rank.wait(timeout=LIMIT_S) for rank in self.ranks]
