"""Does R1-Zero learn on the real engines? DeepSpeed trains it on two ranks, vLLM samples, beside the default engines.

    python tests/benchmarks/bench_engines.py [--steps 30] [--zero 2] [--runs FOLDER]

Both runs are those of `r1 recipe recipes/deepseek_r1_zero.yaml` (tiny, a shortened RL stage) and share their base
model. Needs `pip install -e '.[dev,deepspeed]'` and vLLM. Exits 1 when a promise is broken: r1_zero at least 0.20 above
its base, sampler and policy within 1e-4 nats a token after every sync.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LEARNED = 0.20
AGREE = 1e-4
ENGINES = {
    "transformers, native": [],
    "deepspeed on 2 ranks, vllm": [
        "stages.r1_zero.policy={{use: deepspeed, device: cpu, ranks: 2, stage: {zero}}}",
        "stages.r1_zero.sampler={{use: vllm, kv_cache_mib: 64}}",
    ],
}


def main() -> int:
    """Run both; 0 when every promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--zero", type=int, default=2, help="ZeRO stage")
    parser.add_argument("--runs", type=Path, default=None, help="keep the runs here")
    arguments = parser.parse_args()
    folder = arguments.runs or Path(tempfile.mkdtemp(prefix="r1-engines-"))
    folder.mkdir(parents=True, exist_ok=True)
    first: Path | None = None
    broken = []
    print(f"{'engines':28}{'base':>8}{'r1_zero':>9}{'gain':>8}{'largest gap':>13}{'stage, s':>10}")
    for number, (name, sets) in enumerate(ENGINES.items()):
        run = folder / str(number)
        if first is not None and not run.exists():
            shutil.copytree(first, run)
        first = first or run
        wall_s = ran(run, arguments.steps, [text.format(zero=arguments.zero) for text in sets])
        broken += told(name, run, wall_s)
    print(f"\n{len(broken)} promises broken" + (f": {'; '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def ran(run: Path, steps: int, sets: list[str]) -> float:
    """One run; its seconds."""
    r1 = str(Path(sys.executable).with_name("r1"))
    options = [word for text in [f"stages.r1_zero.train.steps={steps}", *sets] for word in ("--set", text)]
    begun = time.monotonic()
    subprocess.run(
        [r1, "recipe", "recipes/deepseek_r1_zero.yaml", "--run-dir", str(run), *options],
        check=True,
        stdout=sys.stderr,
    )
    return time.monotonic() - begun


def told(name: str, run: Path, wall_s: float) -> list[str]:
    """Print one row; the promises that it breaks."""
    rows = {row["model"]: row["metrics"] for row in json.loads((run / "results.json").read_text())["rows"]}
    stage = run / "stages" / "r1_zero"
    steps: list[dict[str, Any]] = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    gap = max(step["sampler/logprob_gap"] for step in steps if "sampler/logprob_gap" in step)
    base, zero = rows["base"]["pass@1"], rows["r1_zero"]["pass@1"]
    seconds = json.loads((stage / "stage.json").read_text())["wall_s"]
    print(f"{name:28}{base:8.3f}{zero:9.3f}{zero - base:8.3f}{gap:13.1e}{seconds:10.0f}", flush=True)
    broken = [f"{name}: learned {zero - base:.3f}, not {LEARNED}"] if zero - base < LEARNED else []
    return broken + ([f"{name}: gap {gap:.1e}"] if gap > AGREE else [])


if __name__ == "__main__":
    sys.exit(main())
