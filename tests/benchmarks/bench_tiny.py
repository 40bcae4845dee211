"""The main job, seed by seed, against what it promises.

    python tests/benchmarks/bench_tiny.py [--seeds 0 1 2] [--runs FOLDER]

Runs `r1 recipe recipes/deepseek_r1.yaml --set seed=S` in a process of its own for each seed, prints the
table, every promise with the value measured, wall time and peak memory, and exits 1 when one is broken.
The promises about learning come from the paper's story; wall time and memory hold on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from process_tree import measure

SHOWN = ("pass@1", "greedy", "hard", "pass@64", "format", "language", "general", "helpful", "safe", "length")
WALL_S = 480.0
MEMORY_MIB = 2048.0
FIRST_CURVE_S = 90.0


def main() -> int:
    """Run all seeds; 0 when every promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=None, help="keep the runs here")
    arguments = parser.parse_args()
    folder = arguments.runs or Path(tempfile.mkdtemp(prefix="r1-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    broken = [name for seed in arguments.seeds for name in one_seed(folder, seed)]
    print(f"\n{len(broken)} promises broken" + (f": {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def one_seed(folder: Path, seed: int) -> list[str]:
    """Run one seed, print what it reached; the names of broken promises."""
    run = folder / f"seed{seed}"
    command = [str(Path(sys.executable).with_name("r1")), "recipe", "recipes/deepseek_r1.yaml"]
    measured = measure([*command, "--set", f"seed={seed}", "--run-dir", str(run)], log=folder / f"seed{seed}.log")
    print(
        f"\nseed {seed}: exit {measured.code}, {measured.wall_s:.0f} s wall, peak {measured.pss_mib:.0f} MiB PSS",
        end="",
    )
    print(f" ({measured.rss_mib:.0f} MiB summed RSS), {run}")
    if measured.code != 0:
        return [f"seed {seed}: exit code"]
    rows = {row["model"]: row["metrics"] for row in json.loads((run / "results.json").read_text())["rows"]}
    show(rows)
    checks = [*promises(rows, run), ("wall, s", measured.wall_s, "<=", WALL_S)]
    checks.append(("memory of all processes, MiB", measured.pss_mib, "<=", MEMORY_MIB))
    return [f"seed {seed}: {name}" for name in report(checks)]


def report(checks: Sequence[tuple[str, float, str, float]]) -> list[str]:
    """Print each promise with its value; the names of the broken ones."""
    broken = []
    for name, value, relation, bar in checks:
        holds = value >= bar if relation == ">=" else value <= bar
        print(f"  {'ok  ' if holds else 'FAIL'} {name:58} {value:9.3f} {relation} {bar:.3f}")
        if not holds:
            broken.append(name)
    return broken


def show(rows: dict[str, dict[str, Any]]) -> None:
    """The table of models."""
    print("  " + "model".ljust(20) + "".join(name.rjust(10) for name in SHOWN))
    for model, metrics in rows.items():
        cells = (f"{metrics[name]:10.3f}" if name in metrics else " " * 10 for name in SHOWN)
        print("  " + model.ljust(20) + "".join(cells))
    hard = {model: {k.partition("=")[2]: v for k, v in m.items() if k.startswith("hard/")} for model, m in rows.items()}
    for model in hard:
        print(f"  hard by task, {model}: " + ", ".join(f"{name} {value:.3f}" for name, value in hard[model].items()))


def promises(rows: dict[str, dict[str, Any]], run: Path) -> Iterator[tuple[str, float, str, float]]:
    """(name, value, relation, bar) of each promise about learning."""
    base, zero, dev1, dev2, dev3 = (rows[name] for name in ("base", "r1_zero", "dev1", "dev2", "dev3"))
    distilled, by_rl = rows["student_distilled"], rows["student_rl"]
    yield "base pass@1", base["pass@1"], ">=", 0.04
    yield "base pass@1", base["pass@1"], "<=", 0.30
    yield "r1_zero pass@1 - base", zero["pass@1"] - base["pass@1"], ">=", 0.30
    yield "r1_zero language", zero["language"], "<=", 0.80
    yield "dev1 language - r1_zero", dev1["language"] - zero["language"], ">=", 0.10
    yield "dev2 language", dev2["language"], ">=", 0.90
    yield "dev3 pass@1 - r1_zero", dev3["pass@1"] - zero["pass@1"], ">=", -0.05
    yield "dev3 language", dev3["language"], ">=", 0.93
    yield "dev3 format", dev3["format"], ">=", 0.95
    yield "dev3 greedy - base", dev3["greedy"] - base["greedy"], ">=", 0.30
    yield "dev3 hard - base", dev3["hard"] - base["hard"], ">=", 0.10
    yield from last_stage(rows, run)
    yield "student_distilled pass@1 - student_rl", distilled["pass@1"] - by_rl["pass@1"], ">=", 0.15
    cost = {name: json.loads((run / "stages" / name / "stage.json").read_text())["cpu_s"] for name in COSTS}
    spent = cost["distillation_data"] + cost["student_distilled"]
    yield "cpu-s of student_rl / cpu-s of traces and distillation", cost["student_rl"] / spent, ">=", 1.0
    yield "first point of r1_zero's curve, s", first_curve_s(run), "<=", FIRST_CURVE_S


def last_stage(rows: dict[str, dict[str, Any]], run: Path) -> Iterator[tuple[str, float, str, float]]:
    """What the reward models and the last RL stage promise."""
    zero, dev3, r1 = rows["r1_zero"], rows["dev3"], rows["r1"]
    yield "r1 pass@1 - r1_zero", r1["pass@1"] - zero["pass@1"], ">=", -0.05
    yield "r1 pass@1 - dev3", r1["pass@1"] - dev3["pass@1"], ">=", -0.05
    yield "r1 language", r1["language"], ">=", 0.93
    yield "r1 format", r1["format"], ">=", 0.95
    yield "r1 general", r1["general"], ">=", 0.80
    yield "r1 helpful - dev3", r1["helpful"] - dev3["helpful"], ">=", 0.0
    yield "r1 safe - dev3", r1["safe"] - dev3["safe"], ">=", 0.0
    yield "helpful_rm, held-out pair accuracy", metric(run, "helpful_rm", "eval/pair_accuracy"), ">=", 0.80
    yield "safety_rm, held-out AUC", metric(run, "safety_rm", "eval/auc"), ">=", 0.90


def metric(run: Path, stage: str, name: str) -> float:
    """A metric of a stage."""
    return float(json.loads((run / "stages" / stage / "stage.json").read_text())["metrics"][name])


COSTS = ("distillation_data", "student_distilled", "student_rl")


def first_curve_s(run: Path) -> float:
    """Seconds from the start of the run to the end of r1_zero's first ten steps."""
    base = json.loads((run / "stages" / "base" / "stage.json").read_text())["wall_s"]
    lines = (run / "stages" / "r1_zero" / "metrics.jsonl").read_text().splitlines()[:10]
    return float(base + sum(json.loads(line)["time/step_s"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
