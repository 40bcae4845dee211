"""What does sampling ahead save? R1-Zero's steps with a vLLM server of its own, `sampling.ahead` off and on.

    python tests/benchmarks/bench_ahead.py [--steps 16] [--runs FOLDER]

Trainer and server have a core each. Prints the median step and the reward of the last quarter of the steps for both, in
the order off, on, off, on, and how far the answers' weights were behind (the sampler's KL, nats a token). Needs vLLM.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "extras"))

from vllm_processes import running

RECIPE = "recipes/deepseek_r1_zero.yaml"


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument(
        "--runs", type=Path, default=None, help="keep the runs here; a finished base is taken from here"
    )
    arguments = parser.parse_args()
    folder = arguments.runs or Path(tempfile.mkdtemp(prefix="r1-ahead-"))
    base = folder / "base"
    recipe(base, "--until", "base")
    print(f"{'ahead':8}{'median step, s':>16}{'reward at the end':>20}{'sampler KL':>14}")
    steps: dict[bool, list[float]] = {False: [], True: []}
    with running(base / "stages" / "base" / "model", 1, folder, longest=256) as servers:
        for number, ahead in enumerate((False, True, False, True)):
            run = folder / f"{number}-{'on' if ahead else 'off'}"
            shutil.copytree(base, run)
            rows = measured(run, servers[0].url, steps=arguments.steps, ahead=ahead)
            settled = rows[4:]  # the first batches are never sampled ahead
            took_s = statistics.median(row["time/step_s"] for row in settled)
            reward = statistics.fmean(row["reward"] for row in rows[-arguments.steps // 4 :])
            behind = statistics.fmean(row.get("sampler/kl", 0.0) for row in settled)  # nothing to correct: none is told
            steps[ahead].append(took_s)
            print(f"{'on' if ahead else 'off':8}{took_s:16.2f}{reward:20.3f}{behind:14.4f}", flush=True)
    print(f"\na step takes {statistics.fmean(steps[True]) / statistics.fmean(steps[False]):.2f} of its time")
    return 0


def measured(run: Path, url: str, *, steps: int, ahead: bool) -> list[dict[str, Any]]:
    """The metrics of one run's steps."""
    sampler = f"{{use: vllm_server, servers: [{{url: '{url}'}}], transfer: files, folder: '{run / 'weights'}'}}"
    sets = [
        f"stages.r1_zero.sampler={sampler}",
        f"stages.r1_zero.sampling.ahead={str(ahead).lower()}",
        f"stages.r1_zero.train.steps={steps}",
    ]
    recipe(run, "--until", "r1_zero", *(word for text in sets for word in ("--set", text)))
    lines = (run / "stages" / "r1_zero" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def recipe(run: Path, *arguments: str) -> None:
    """One run; what it prints goes to the error output."""
    r1 = str(Path(sys.executable).with_name("r1"))
    subprocess.run([r1, "recipe", RECIPE, "--run-dir", str(run), *arguments], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
