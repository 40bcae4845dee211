"""Was distilling worth it? Six ways to teach one student at one budget, three seeds each, and what they promise.

    python tests/benchmarks/bench_distill_vs_rl.py [--runs FOLDER]

Runs `r1 ablate recipes/distill_vs_rl.yaml`, chooses RL's learning rate by the set `validation` (problems that the
evaluation does not ask; the other two rates are charged to nobody), prints the table with that RL as the base, and by
greedy answers, and holds it to: no arm had a larger budget than RL; distillation is ahead of RL with intervals that do
not overlap. What on-policy distillation adds to the traces is printed as it came out. Exits 1 when a promise is broken.
A run that is there, in --runs, is gone on from.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from process_tree import measure

from r1core.cli.arms_view import arm_lines
from r1core.comparison.arms import Arm, Arms, arms
from r1core.comparison.finished import FinishedRun

RATES = ("rl_low", "rl_mid", "rl_high")
DISTILLED = ("sft", "cached", "opd", "sft_then_opd")
MOST_S = 25 * 60


def main() -> int:
    """Run the recipe; 0 when every promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=None, help="keep the run here")
    folder = parser.parse_args().runs or Path(tempfile.mkdtemp(prefix="r1-bench-"))
    run = folder / "distill-vs-rl"
    run.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("r1")), "ablate", "recipes/distill_vs_rl.yaml", "--run-dir", str(run)]
    measured = measure(command, log=folder / "distill-vs-rl.log")
    print(f"exit {measured.code}, {measured.wall_s:.0f} s wall (aim: {MOST_S} s on two idle cores), {run}")
    return 1 if measured.code else told(FinishedRun(run))


def told(run: FinishedRun) -> int:
    """Print what came out; 0 when every promise holds."""
    rates = [row for row in arms(run, metric="validation").rows if row.name in RATES]
    by_rate = {row.name: row.score for row in rates}
    best = max(by_rate, key=lambda name: by_rate[name].mean)
    print("\nRL by learning rate, on `validation`: " + ", ".join(f"{n} {s.mean:.3f}" for n, s in by_rate.items()))
    spent = ", ".join(f"{row.name} {row.spent.budget / 1e6:.2f}M" for row in rates)
    print(f"the best is {best}; each took as many steps, not as many tokens, for its answers grew otherwise: {spent}\n")
    tables = [arms(run, metric=metric, base=best) for metric in ("pass@1", "greedy")]
    for table in tables:
        print("\n".join(arm_lines(without(table, {*RATES} - {best}))) + "\n")
    on_policy = {row.name: row for row in arms(run, metric="pass@1", base="sft").rows}["sft_then_opd"].against
    if on_policy is not None:
        print(
            f"on-policy after half the passes, against all passes (pass@1): {on_policy.mean:+.3f} ±{on_policy.half:.3f}"
        )
    return 1 if sum([*map(broken, promises(tables[0], best))]) else 0


def without(table: Arms, names: set[str]) -> Arms:
    """The table less the rates that were not chosen."""
    rows = tuple(row for row in table.rows if row.name not in names)
    return Arms(metric=table.metric, seeds=table.seeds, rows=rows, teaching=table.teaching)


def promises(table: Arms, best: str) -> list[tuple[str, bool]]:
    """(what is promised, whether it holds)."""
    rows = {row.name: row for row in table.rows}
    rl, taught = rows[best], [rows[name] for name in rows if name not in RATES and rows[name].spent.budget]
    most = max(taught, key=lambda row: row.spent.budget)
    first = max((rows[name] for name in DISTILLED), key=lambda row: row.score.mean)
    budgets = f"RL's budget {rl.spent.budget:,.0f} >= {most.name}'s {most.spent.budget:,.0f}, the largest of the others"
    ahead = f"{_interval(first)} lies above {_interval(rl)}"
    return [(budgets, rl.spent.budget >= most.spent.budget), (ahead, first.score.low > rl.score.high)]


def _interval(row: Arm) -> str:
    return f"{row.name} {row.score.mean:.3f} [{row.score.low:.3f}, {row.score.high:.3f}]"


def broken(promise: tuple[str, bool]) -> bool:
    """Say whether it holds."""
    what, holds = promise
    print(f"{'ok    ' if holds else 'BROKEN'} {what}")
    return not holds


if __name__ == "__main__":
    sys.exit(main())
