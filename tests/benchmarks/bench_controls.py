"""The controls beside R1-Zero, against what they promise.

    python tests/benchmarks/bench_controls.py [--seed 0] [--runs FOLDER]

Runs `r1 recipe recipes/ablations/controls.yaml`: rewards dealt out at random must teach nothing,
PPO with Monte-Carlo values must teach, and grading a student on its own answers must lower its
reverse KL to the teacher. Exits 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench_tiny import report, show
from process_tree import measure

WINDOW = 10
"""Steps over which the reverse KL is averaged at either end."""


def main() -> int:
    """Run the recipe; 0 when every promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=None, help="keep the run here")
    arguments = parser.parse_args()
    folder = arguments.runs or Path(tempfile.mkdtemp(prefix="r1-bench-"))
    run = folder / "controls"
    run.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("r1")), "recipe", "recipes/ablations/controls.yaml"]
    command += ["--set", f"seed={arguments.seed}", "--run-dir", str(run)]
    measured = measure(command, log=folder / "controls.log")
    print(f"exit {measured.code}, {measured.wall_s:.0f} s wall, {run}")
    if measured.code != 0:
        return 1
    rows = {row["model"]: row["metrics"] for row in json.loads((run / "results.json").read_text())["rows"]}
    show(rows)
    base = rows["base"]["pass@1"]
    lines = (run / "stages" / "on_policy" / "metrics.jsonl").read_text().splitlines()
    distances = [json.loads(line)["reverse_kl_k3"] for line in lines]
    first, last = (sum(part) / WINDOW for part in (distances[:WINDOW], distances[-WINDOW:]))
    broken = report(
        [
            ("r1_zero under shuffled rewards - base", rows["r1_zero_shuffled"]["pass@1"] - base, "<=", 0.05),
            ("ppo_mc pass@1 - base", rows["r1_zero_ppo_mc"]["pass@1"] - base, ">=", 0.20),
            ("on-policy: last reverse KL / first", last / first, "<=", 0.9),
        ]
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
