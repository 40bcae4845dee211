"""Ranks without an engine: a policy whose processes meet in a folder, its launcher, and a trainer that trips on one.

python toy_ranks.py 2 FOLDER program ...       runs the program twice, and ends both when one fails
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from r1core.errors import RefusedError
from r1core.types import Problem, Response, Score

sys.path.insert(0, str(Path(__file__).parent))

from toy_stages import Climb, Exact, Skill

HERE = Path(__file__).resolve()
MEETING = "TOY_MEETING"
PATIENCE_S = 60.0


class Folder:
    """A world whose ranks leave files for each other."""

    calls = 0

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.place = Path(os.environ[MEETING])

    def gather(self, mine: Any) -> list[Any]:
        Folder.calls += 1
        draft = self.place / f"draft-{self.rank}"
        draft.write_bytes(pickle.dumps(mine))
        draft.rename(self.place / f"{self.calls}-{self.rank}")
        return [self._read(self.place / f"{self.calls}-{rank}") for rank in range(self.size)]

    def first(self, mine: Any) -> Any:
        return self.gather(mine)[0]

    def any(self, mine: bool) -> bool:
        return any(self.gather(mine))

    @staticmethod
    def _read(path: Path) -> Any:
        until = time.monotonic() + PATIENCE_S
        while not path.exists():
            if time.monotonic() > until:
                raise TimeoutError(f"{path.name} never came")
            time.sleep(0.002)
        return pickle.loads(path.read_bytes())


class Crew(Skill):
    """A skill that several processes have, each the same."""

    name = "crew"

    class Config(Skill.Config):
        ranks: int = Field(2, ge=1, description="processes")
        broken: bool = Field(False, description="whether the launcher fails at once")
        full: int = Field(-1, description="the rank whose disk is full")

    @property
    def world(self) -> Any:
        return Folder() if "RANK" in os.environ else super().world

    @property
    def ranks(self) -> int:
        ranks: int = self.config.ranks
        return ranks

    def launch(self, program: Sequence[str], *, folder: Path) -> list[str]:
        if self.config.broken:
            return [sys.executable, "-c", "raise SystemExit('no such machine: gpu-7')"]
        return [sys.executable, str(HERE), str(self.ranks), tempfile.mkdtemp(dir=folder), *program]

    def export(self, folder: Path) -> None:
        if self.world.rank == 0:
            super().export(folder)

    def save(self, folder: Path) -> None:
        is_full = self.config.full == self.world.rank
        if self.world.any(is_full):
            raise OSError(28, "No space left on device")
        super().export(folder) if self.world.rank == 0 else None


class Trip(Climb):
    """Climbs, but what happens `then` happens to one rank."""

    name = "trip"

    class Config(Climb.Config):
        who: int = Field(1, ge=0, description="the rank that it happens to")

    def _misbehave(self) -> None:
        if os.environ.get("RANK", "0") == str(self.config.who):
            super()._misbehave()


class Signed(Exact):
    """Leaves a line for each answer: which process judged it."""

    name = "signed"

    class Config(Exact.Config):
        where: str = Field(description="the file")

    def score(self, problem: Problem, response: Response) -> Score:
        with Path(self.config.where).open("a", encoding="utf-8") as file:
            file.write(f"{os.environ.get('RANK', 'alone')} {problem.id}\n")
        return super().score(problem, response)


def main() -> int:
    """Be the launcher."""
    size, meeting, program = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    shared = {**os.environ, "WORLD_SIZE": str(size), MEETING: meeting}
    ranks = [subprocess.Popen(program, env={**shared, "RANK": str(rank)}) for rank in range(size)]
    while any(rank.poll() is None for rank in ranks):
        if any(rank.poll() for rank in ranks):
            for rank in ranks:
                rank.terminate()
            return 1
        time.sleep(0.05)
    return max(rank.wait() for rank in ranks)


__all__ = ["Crew", "Folder", "RefusedError", "Signed", "Trip"]

if __name__ == "__main__":
    sys.exit(main())
