"""`r1 doctor --resume-test`: a recipe killed again and again on this machine, and what is left of it compared.

    r1 doctor --resume-test --kills 100 --chains 10

One unbroken run; then chains: run directories in which the same command is started and killed until
the chain's share of the kills has landed, and then left to finish. Every chain must end with the bytes
of the unbroken run (store/promised.py), and no kill may leave a process behind.
"""

from __future__ import annotations

import math
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from r1core.cli.kill_orders import Orders
from r1core.cli.launches import AT_TIME, ORPHANS_S, Ended, Launch
from r1core.errors import RecipeError, RefusedError, SetupError
from r1core.recipe.shipped import find_recipe
from r1core.store import read_json
from r1core.store.metrics import METRICS
from r1core.store.promised import differing, promised_of_run

SAVE_ALWAYS = "checkpoint.every_s=0"
"""Without it a short recipe has no checkpoints to be killed at. Not in any fingerprint."""
MORE_CHAINS = 3
"""A chain that ends before its kills have landed is followed by another one, until there are so many times the chains
that were asked for."""
PATIENCE = 10.0
"""A launch may take so many times as long as the unbroken run, and a minute."""
LEAST_SHARE = 0.2
"""A launch that had less of the work to do tells little of how fast it goes."""
LAST_LINES = 5


def try_resuming(
    recipe: str, profile: str, folder: Path | None, *, kills: int, chains: int, seed: int, say: Callable[[str], None]
) -> None:
    """Run the test in `folder`, or in a temporary one that stays only when something is wrong."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the run at work is ended, too
    find_recipe(recipe)
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise RecipeError("is not empty", where=str(folder), fix="name a new folder with --folder")
    place = folder or Path(tempfile.mkdtemp(prefix="r1-resume-test-"))
    place.mkdir(parents=True, exist_ok=True)
    ResumeTest(recipe, profile, place, kills=kills, chains=chains, seed=seed, say=say).run()
    if folder is None:
        shutil.rmtree(place)


@dataclass(kw_only=True)
class Unbroken:
    """The run that nothing happened to: where it is, how long it takes to start, and to work, by the newest launch that
    tells; each stage's share of that, and its steps."""

    folder: Path
    startup_s: float
    work_s: float
    stages: dict[str, tuple[float, int]]

    @classmethod
    def of(cls, folder: Path, ended: Ended) -> Unbroken:
        """What a run says of itself."""
        records = {path.parent.name: read_json(path) for path in sorted(folder.glob("stages/*/stage.json"))}
        total_s = sum(record["wall_s"] for record in records.values()) or 1.0
        stages = {name: (record["wall_s"] / total_s, _steps(folder, name)) for name, record in records.items()}
        return cls(folder=folder, startup_s=ended.startup_s, work_s=ended.wall_s - ended.startup_s, stages=stages)

    @property
    def patience_s(self) -> float:
        """How long a launch may take that is not to be killed at a time."""
        return 60.0 + PATIENCE * (self.startup_s + self.work_s)

    def note(self, ended: Ended, left: float) -> None:
        """Learn from a launch that had this share of the work to do: machines are not equally busy at all times."""
        if ended.at_work:
            self.startup_s = ended.startup_s
        if ended.code == 0 and left >= LEAST_SHARE:
            self.work_s = (ended.wall_s - ended.startup_s) / left

    def left(self, run: Path) -> float:
        """The share of the work that another run has still to do."""
        done = 0.0
        for name, (share, steps) in self.stages.items():
            record = run / "stages" / name / "stage.json"
            if record.is_file():
                finished = read_json(record)["status"] == "finished"
                done += share * (1.0 if finished or not steps else min(1.0, _steps(run, name) / steps))
        return max(0.0, 1.0 - done)


@dataclass(kw_only=True)
class Chain:
    """One run directory and what happened to it."""

    folder: Path
    landed: list[str] = field(default_factory=list)
    at_work: int = 0
    """Kills at a random time that came when a stage was at work."""
    starts: int = 0
    wall_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def told(self) -> str:
        """How it went, as one line."""
        places = Counter(place for place in self.landed if place != AT_TIME)
        at_times = self.landed.count(AT_TIME)
        writer = f" in the writer ({', '.join(sorted(places.elements()))})" if places else " in the writer"
        return (
            f"{self.folder.name}: {len(self.landed)} kills, {at_times} at random times ({self.at_work} at work), "
            f"{places.total()}{writer}; {self.starts} starts, {self.wall_s:.0f} s: "
            + ("the same bytes" if not self.faults else "; ".join(self.faults))
        )


class ResumeTest:
    """`run()` says one line for each chain, and raises RefusedError when anything was not as promised."""

    def __init__(
        self, recipe: str, profile: str, folder: Path, *, kills: int, chains: int, seed: int, say: Callable[[str], None]
    ) -> None:
        self._command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", recipe]
        self._command += ["--profile", profile, "--set", SAVE_ALWAYS]
        self._what = f"{recipe} (profile {profile}, {SAVE_ALWAYS})"
        self._folder = folder
        self._kills = kills
        self._chains = min(chains, kills)
        self._orders = Orders(kills, seed=seed)
        self._say = say

    def run(self) -> None:
        """One unbroken run, and chains until every kill has landed."""
        unbroken = self._unbroken()
        done: list[Chain] = []
        while len(self._orders) and len(done) < MORE_CHAINS * self._chains:
            share = math.ceil(len(self._orders) / max(1, self._chains - len(done)))
            chain = Chain(folder=self._folder / f"chain-{len(done) + 1:02d}")
            self._kill(chain, unbroken, share)
            self._finish(chain, unbroken)
            self._say(chain.told())
            done.append(chain)
        self._sum_up(done, unbroken)

    def _unbroken(self) -> Unbroken:
        folder = self._folder / "unbroken"
        ended = self._launch(folder).end(kill_after_s=math.inf)
        if ended.code:
            kind = {RecipeError.exit_code: RecipeError, SetupError.exit_code: SetupError}.get(ended.code, RefusedError)
            raise kind(
                f"the run fails without a kill, too: {self._last_words(folder)}",
                where=self._what,
                fix=f"its whole output is in {self._log(folder)}",
            )
        found = Unbroken.of(folder, ended)
        self._say(f"{self._what}: unbroken in {ended.wall_s:.1f} s, at work after {ended.startup_s:.1f} s")
        return found

    def _kill(self, chain: Chain, unbroken: Unbroken, kills: int) -> None:
        """Start and kill the run until so many kills have landed, it has finished, or something is wrong."""
        while len(chain.landed) < kills and not chain.faults:
            place, arrival = self._orders.place() if self._orders.in_writer else ("", 0)
            left = unbroken.left(chain.folder)
            if place:
                ended = self._start(chain, unbroken.patience_s, kill_at=f"{place}:{arrival}")
            else:
                ended = self._start(chain, self._time_s(unbroken, left, kills - len(chain.landed)))
            unbroken.note(ended, left)
            if place and ended.landed != place:
                self._orders.missed(place)
            elif ended.landed:
                self._orders.landed()
                chain.landed.append(ended.landed)
                chain.at_work += ended.landed == AT_TIME and ended.at_work
                continue
            if ended.code:
                chain.faults.append(self._broken(chain, ended))
            return

    def _time_s(self, unbroken: Unbroken, left: float, kills: int) -> float:
        return self._orders.time_s(startup_s=unbroken.startup_s, work_s=unbroken.work_s * left, kills=kills)

    def _finish(self, chain: Chain, unbroken: Unbroken) -> None:
        """Let it finish, and compare."""
        if not chain.faults:
            left = unbroken.left(chain.folder)
            ended = self._start(chain, unbroken.patience_s)
            unbroken.note(ended, left)
            if ended.code:
                chain.faults.append(self._broken(chain, ended))
        if not chain.faults:
            chain.faults += [f"{name} differs" for name in differing(chain.folder, unbroken.folder)]

    def _start(self, chain: Chain, limit_s: float, *, kill_at: str = "") -> Ended:
        ended = self._launch(chain.folder, kill_at).end(kill_after_s=limit_s)
        chain.starts += 1
        chain.wall_s += ended.wall_s
        if ended.survivors:
            names = ", ".join(ended.survivors)
            chain.faults.append(
                f"start {chain.starts}, killed ({ended.landed}), was outlived {ORPHANS_S:.0f} s by {names}"
            )
        return ended

    def _launch(self, run: Path, kill_at: str = "") -> Launch:
        return Launch([*self._command, "--run-dir", str(run)], run, log=self._log(run), kill_at=kill_at)

    def _log(self, run: Path) -> Path:
        return self._folder / f"{run.name}.log"

    def _broken(self, chain: Chain, ended: Ended) -> str:
        how = "did not end in time" if ended.landed == AT_TIME else f"ended with exit code {ended.code}"
        return f"start {chain.starts} {how}: {self._last_words(chain.folder)}"

    def _last_words(self, run: Path) -> str:
        return "\n".join(self._log(run).read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])

    def _sum_up(self, chains: list[Chain], unbroken: Unbroken) -> None:
        landed = Counter(place for chain in chains for place in chain.landed)
        at_times, at_work = landed.pop(AT_TIME, 0), sum(chain.at_work for chain in chains)
        files = len(promised_of_run(unbroken.folder))
        faulty = [chain for chain in chains if chain.faults]
        self._say(
            f"{at_times + landed.total()} of {self._kills} kills landed in {len(chains)} chains: {at_times} at random "
            f"times ({at_work} at work), {landed.total()} in the writer ("
            + ", ".join(f"{place} {count}" for place, count in sorted(landed.items()))
            + f"); {len(chains) - len(faulty)} chains ended with the same bytes in {files} files"
        )
        if self._orders.left_out:
            self._say(f"never reached: {', '.join(self._orders.left_out)}")
        wrong = [f"{chain.folder}: {fault}" for chain in faulty for fault in chain.faults]
        if len(self._orders):
            wrong.append(f"{len(self._orders)} kills of {self._kills} did not land: the run is too short for them")
        if wrong:
            raise RefusedError(
                "\n".join(wrong),
                where="resume test",
                fix=f"the unbroken run is {unbroken.folder}; a chain's last output is in the log beside it",
            )


def _steps(run: Path, stage: str) -> int:
    """How many steps, or units, of a stage are done."""
    path = run / "stages" / stage / METRICS
    return path.read_bytes().count(b"\n") if path.is_file() else 0
