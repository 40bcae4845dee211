"""A small ablation that learns, on the engine that needs no torch: two estimators, three seeds, one base."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

R1 = "from r1core.cli import main; main()"
RECIPE = """\
r1: 1
name: toys
profile: none
engines: {policy: echo, sampler: echo}
matrix:
  estimator:
    grpo: {stages.zero.train.advantage.use: grpo}
    blind: {stages.zero.train.lr: 1.0e-9}
  stages.zero.seed: [0, 1, 2]
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 20}, model: {scratch: {model_type: echo}}, data: {use: echo}}
  zero:
    train: {use: rl, preset: grpo, steps: 12, prompts: 8, samples: 8, lr: 0.3}
    model: base
    problems: {use: echo}
    rewards: [accuracy]
  table:
    evaluate:
      sets:
        "pass@1": {problems: {use: echo}, limit: 60}
        greedy: {problems: {use: echo}, limit: 20, temperature: 0}
    models: [base, zero]
    rewards: [accuracy]
"""
Ended = subprocess.CompletedProcess[str]


def r1(folder: Path, *arguments: str, recipe: str = RECIPE) -> Ended:
    """The command line in a folder where `toys.yaml` is this recipe."""
    (folder / "toys.yaml").write_text(recipe, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", R1, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
        timeout=300,
    )
