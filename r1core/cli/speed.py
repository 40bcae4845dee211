"""From operations to seconds: what a device can do at most, and which share of it such work has been seen to reach.

Nothing is measured for a plan. The shares are wide on purpose: of one GPU's peak, updates of a 0.5B model took 12 to
20 %, sampling 256 rows at a time up to 4 % (tests/benchmarks/bench_gpu.txt); of a CPU core's, products of large
matrices come near it, and those of small models are bounded by the calls themselves (`LAYER_S`).
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from r1core.components import Policy
from r1core.estimates import ModelShape, Range, total
from r1core.estimates.arithmetic import forward_operations

TERA, GIGA = 1e12, 1e9
PEAK_TFLOPS = {"B200": 2250, "H200": 989, "H100": 989, "A100": 312, "L40S": 362, "RTX 4090": 165, "A10": 125, "L4": 121}
"""Dense bfloat16 of the makers' data sheets, by a part of the name; the first that fits."""
OTHER_GPU_TFLOPS = 300
"""Assumed of any other, and where there is none here."""
CORE_GFLOPS = 50
"""Assumed of one CPU core, float32."""
TRAIN_SHARE = {"cuda": Range(0.08, 0.18, 0.4), "cpu": Range(0.2, 0.6, 1.0)}
SAMPLE_SHARE = {"cuda": Range(0.003, 0.02, 0.08), "cpu": Range(0.02, 0.2, 0.8)}
LAYER_S = {"cuda": Range(1e-4, 2e-4, 5e-4), "cpu": Range(1e-4, 3e-4, 2e-3)}
"""Least seconds of one layer for one token of all rows, when sampling."""
BACKWARD = Range(3.0, 3.3, 4.0)
"""An update's operations, in forwards: three, and one more where activations are computed again."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Tokens that a stage samples, learns from and only reads; `rounds` are the sampler's steps of one token a row."""

    sampled: Range
    trained: Range
    read: Range
    length: float
    rounds: Range


@dataclass(frozen=True, kw_only=True)
class Speed:
    """This machine's devices: the names of its GPUs."""

    gpus: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> Speed:
        """What the driver lists."""
        return cls(gpus=tuple(gpu_names()))

    def device(self, policy: Policy) -> str:
        """Where the policy's options have it run."""
        wanted: Any = getattr(policy.config, "device", "cpu")
        return ("cuda" if self.gpus else "cpu") if wanted == "auto" else str(wanted)

    def peak(self, policy: Policy, threads: int) -> float:
        """Operations a second of one process, at most."""
        if self.device(policy) == "cpu":
            return CORE_GFLOPS * GIGA * threads
        return TERA * self._tflops()

    def _tflops(self) -> float:
        name = self.gpus[0] if self.gpus else ""
        return next((tflops for part, tflops in PEAK_TFLOPS.items() if part in name), OTHER_GPU_TFLOPS)

    def assumed(self, policy: Policy, threads: int) -> str:
        """What the seconds follow from, in words."""
        device = self.device(policy)
        train, sample = TRAIN_SHARE[device], SAMPLE_SHARE[device]
        if device == "cpu":
            what = f"{threads} CPU core{'s' if threads > 1 else ''} of {CORE_GFLOPS} GFLOP/s"
        else:
            what = f"{self.gpus[0] if self.gpus else 'a GPU'} of {self._tflops():g} TFLOP/s"
        return f"{what} at {train.expected:.0%} in training, {sample.expected:.0%} in sampling"

    def seconds(self, work: Work, shape: ModelShape, policy: Policy, *, threads: int, ranks: int) -> Range:
        """How long the engines of so many processes are at work."""
        device = self.device(policy)
        rate = Range.exactly(self.peak(policy, threads) * ranks)
        forward = forward_operations(shape, work.length)
        learning = (work.trained.times(BACKWARD) + work.read) * forward
        sampling = (work.sampled * forward).over(rate.times(SAMPLE_SHARE[device]))
        calls = LAYER_S[device].times(work.rounds) * (shape.layers / ranks)
        return total((learning.over(rate.times(TRAIN_SHARE[device])), _longer(sampling, calls)))


def _longer(left: Range, right: Range) -> Range:
    return Range(max(left.low, right.low), max(left.expected, right.expected), max(left.high, right.high))


def gpu_names() -> list[str]:
    """One for each GPU that the driver lists; none where it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return []
    return listed.stdout.splitlines() if listed.returncode == 0 else []
