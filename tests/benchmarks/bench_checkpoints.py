"""What checkpoints cost: the same stages with them, as often as by default, and without, in turn.

    python tests/benchmarks/bench_checkpoints.py [--pairs 5] [--until r1_zero] [--profile tiny]

Two measures. The wall seconds of pairs of runs, whose order changes from pair to pair, and the median
of their ratios (it holds the noise of the machine). And, exactly, the seconds spent in saving over the
seconds that the train stages took: a timer around `Progress.save`, put into the processes that save by a
`sitecustomize.py`. Exits 1 when either is above 3 %.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

NEVER = "checkpoint.every_s=1e9"
BOUND = 0.03
TIMER = """\
import os, sys, time

if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    from r1core.stages.progress import Progress

    save = Progress.save

    def timed(self, *arguments):
        begun = time.monotonic()
        try:
            return save(self, *arguments)
        finally:
            with open(os.environ["SAVES"], "a") as file:
                file.write(f"{self.job.stage.id} {time.monotonic() - begun}\\n")

    Progress.save = timed
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run: its wall seconds, the seconds of its train stages, and of each save in them."""

    wall_s: float
    train_s: float
    saves_s: list[float]

    @property
    def share(self) -> float:
        """Seconds spent in saving over the seconds of the train stages."""
        return sum(self.saves_s) / self.train_s


def main() -> int:
    """Run the pairs; 0 when both measures hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--until", default="r1_zero")
    parser.add_argument("--profile", default="tiny")
    options = parser.parse_args()
    pairs = []
    with tempfile.TemporaryDirectory(prefix="r1-bench-") as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(TIMER)
        command = ["recipe", "recipes/deepseek_r1.yaml", "--profile", options.profile, "--until", options.until]
        for number in range(options.pairs):
            runs = {}
            for kind in ("saved", "never") if number % 2 == 0 else ("never", "saved"):
                sets = ["--set", NEVER] if kind == "never" else []
                runs[kind] = measure([*command, *sets], folder, f"{kind}-{number}")
            show(number, runs["saved"], runs["never"])
            pairs.append((runs["saved"], runs["never"]))
    return report(pairs)


def measure(arguments: list[str], folder: Path, name: str) -> Measured:
    """One run in a process of its own."""
    saves, run = folder / f"{name}.saves", folder / name
    saves.touch()
    path = os.pathsep.join([str(folder), *filter(None, sys.path[1:])])
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "from r1core.cli import main; main()", *arguments, "--run-dir", str(run)],
        env={**os.environ, "PYTHONPATH": path, "SAVES": str(saves)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall_s = time.monotonic() - begun
    trained = [path.parent / "stage.json" for path in run.glob("stages/*/model")]
    return Measured(
        wall_s=wall_s,
        train_s=sum(json.loads(record.read_text())["wall_s"] for record in trained),
        saves_s=[float(line.split()[1]) for line in saves.read_text().splitlines()],
    )


def show(number: int, saved: Measured, never: Measured) -> None:
    """One line for a pair."""
    longest_ms = 1e3 * max(saved.saves_s, default=0.0)
    print(
        f"pair {number + 1}: {saved.wall_s:.2f} s with {len(saved.saves_s)} checkpoints, {never.wall_s:.2f} s with "
        f"{len(never.saves_s)}: {saved.wall_s / never.wall_s - 1:+.2%}; saving took {sum(saved.saves_s):.3f} s of "
        f"{saved.train_s:.1f} s in train stages ({saved.share:.2%}), the longest {longest_ms:.0f} ms",
        flush=True,
    )


def report(pairs: list[tuple[Measured, Measured]]) -> int:
    """The medians against the bound."""
    ratio = statistics.median(saved.wall_s / never.wall_s - 1 for saved, never in pairs)
    share = statistics.median(saved.share for saved, _ in pairs)
    print(
        f"median of {len(pairs)} pairs: wall time {ratio:+.2%}, seconds spent in saving {share:.2%} (bound {BOUND:.0%})"
    )
    saves = sum(len(saved.saves_s) for saved, _ in pairs)
    if not saves or any(never.saves_s for _, never in pairs):
        print("nothing was compared: the runs with checkpoints saved none, or the others did")
        return 1
    return int(max(ratio, share) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
