"""Memory of a policy update at a large vocabulary, beside TRL's GRPOTrainer at its defaults, on the CPU.

    pip install --target /tmp/trl --no-deps trl==1.16.0 accelerate datasets
    PYTHONPATH=/tmp/trl python tests/benchmarks/bench_memory.py --output bench_memory.txt

One model (2 layers, hidden size 256, vocabulary 151,936), one batch (8 answers of 1,024 tokens), float32. Each row is a
process of its own, whose resident memory the kernel watches (VmHWM). `first` is the peak of the first update beyond the
loaded model: gradients, moments and what is needed on the way. `later` is the peak of the next update beyond what stays
between updates. GRPO's clipped loss; TRL's rollouts are replaced by recorded ones.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench_gpu

SHAPE = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 688}
ROWS = {
    "ours, transformers": {"engine": "transformers"},
    "ours, transformers, checkpointed": {"engine": "transformers", "gradient_checkpointing": True},
    "ours, deepspeed zero 2": {"engine": "deepspeed", "stage": 2},
    "trl GRPOTrainer": {"engine": "trl"},
}
PEAKS = ("first MiB", "later MiB")


def main() -> None:
    """Make the model, run every row, print the table and the ratios to TRL's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8, help="answers of an update")
    parser.add_argument("--length", type=int, default=1024, help="tokens of an answer with its prompt")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name has one of these words")
    parser.add_argument("--output", type=Path, help="also write the table here")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print("ROW " + json.dumps(run(json.loads(args.row))))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        bench_gpu.make_model(model, SHAPE)
        job = {"model": str(model), "rows": args.rows, "length": args.length}
        lines, measured = [_machine()], dict[str, dict[str, float]]()
        for name in sorted(ROWS, key=lambda name: ROWS[name]["engine"] != "trl"):  # TRL first: the others refer to it
            if any(word in name for word in args.only):
                measured[name] = _apart({**ROWS[name], **job})
                lines.append(_told(name, measured))
                print(lines[-1], flush=True)
                if args.output:
                    args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _apart(job: dict[str, Any]) -> dict[str, float]:
    """The row, by a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--row", json.dumps(job)], capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("ROW ")]
    if not rows:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(rows[-1][4:])
    return found


def _machine() -> str:
    import torch
    import transformers

    return f"CPU, float32, torch {torch.__version__}, transformers {transformers.__version__}"


def _told(name: str, measured: dict[str, dict[str, float]]) -> str:
    row, theirs = measured[name], measured.get("trl GRPOTrainer")
    figures = "  ".join(f"{key} {value:8.1f}" for key, value in row.items())
    shares = [f"{key.removesuffix(' MiB')} {row[key] / theirs[key]:.2f}" for key in PEAKS] if theirs else []
    return f"{name:34} {figures}" + (f"  of TRL's: {', '.join(shares)}" if shares else "")


# --- one row, in its own process -------------------------------------------------------------------


def run(job: dict[str, Any]) -> dict[str, float]:
    """Peaks of the first and of the second update."""
    meter = Meter()
    if job["engine"] == "trl":
        bench_gpu.train_by_trl(job, steps=2, before=meter.rest, after_step=meter.peak)
    else:
        update = bench_gpu.our_update(job, dtype="float32")
        meter.rest()
        for _ in range(2):
            update()
            meter.peak()
    first, later = meter.peaks
    return {"loaded MiB": meter.loaded, **dict(zip(PEAKS, (first, later), strict=True)), "s/update": meter.seconds[-1]}


class Meter:
    """This process's resident memory, MiB."""

    def __init__(self) -> None:
        self.peaks: list[float] = []
        self.seconds: list[float] = []
        self.loaded = 0.0

    def rest(self) -> None:
        """What is resident now is the base of the next peak."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel's peak begins anew
        self.base, self.started = self._status("VmRSS"), time.perf_counter()
        self.loaded = self.loaded or self.base

    def peak(self) -> None:
        """The most since `rest`, beyond what was resident then; and rest again."""
        self.peaks.append(self._status("VmHWM") - self.base)
        self.seconds.append(time.perf_counter() - self.started)
        self.rest()

    @staticmethod
    def _status(key: str) -> float:
        found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        assert found is not None
        return int(found[1]) / 1024


if __name__ == "__main__":
    main()
