"""What `--dry-run` expects of a stage's memory against what its process took, on a CPU.

    python tests/benchmarks/bench_estimates.py                      # all; about 8 GiB free, a quarter of an hour
    python tests/benchmarks/bench_estimates.py sft-250m             # one of them

Measured is the growth of the process: its highest resident set while the stage runs, beyond that of an idle process
with the same imports. Each stage runs from its recipe, in a process of its own, checkpoints included.
Exit 1 where an expected value is off by more than 15 %.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from r1core.cli.columns import columns
from r1core.cli.estimate import Estimator
from r1core.cli.speed import Speed
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve
from r1core.stages import run_stage
from r1core.stages.base import Job

GIB = 2**30
MOST_OFF = 0.15
RECIPE = """\
r1: 1
name: {name}
profile: none
stages:
  base:
    train: {{use: sft, batch_tokens: {batch}}}
    model:
      scratch: {{model_type: qwen2, hidden_size: {hidden}, intermediate_size: {intermediate},
        num_attention_heads: {heads}, num_key_value_heads: 2, num_hidden_layers: {layers},
        max_position_embeddings: 512, vocab_size: {vocabulary}, tie_word_embeddings: true}}
    data: {{use: playground_corpus, documents: {documents}}}
    policy: {{use: {policy}, device: cpu, micro_batch_tokens: {micro}{options}}}
    checkpoint: {{every_s: 0}}
{more}"""
RL = """\
  rl:
    train: {use: rl, preset: grpo, filters: [], steps: 3, prompts: 4, samples: 4, kl: {coefficient: 0.001}}
    model: base
    problems: {use: playground}
    rewards: [accuracy]
    sampling: {max_new_tokens: 64}
    policy: {use: transformers, device: cpu, micro_batch_tokens: 512, gradient_checkpointing: true}
    sampler: native
    checkpoint: {every_s: 0}
"""
SHAPES: dict[str, dict[str, Any]] = {
    "sft-250m": {"hidden": 1024, "intermediate": 3072, "layers": 18, "heads": 16, "vocabulary": 32000, "micro": 512},
    "rl-60m": {"hidden": 512, "intermediate": 1536, "layers": 8, "heads": 8, "vocabulary": 64000, "micro": 256},
    "zero2-130m": {"hidden": 896, "intermediate": 2432, "layers": 12, "heads": 14, "vocabulary": 32000, "micro": 512},
    "sft-160m": {"hidden": 768, "intermediate": 2048, "layers": 20, "heads": 12, "vocabulary": 50000, "micro": 512},
    "rl-110m": {"hidden": 768, "intermediate": 2048, "layers": 12, "heads": 12, "vocabulary": 32000, "micro": 384},
}
MEASURED = {"sft-250m": "base", "rl-60m": "rl", "zero2-130m": "base", "sft-160m": "base", "rl-110m": "rl"}
OPTIONS = {
    "zero2-130m": ", stage: 2, gradient_checkpointing: false",
    "sft-160m": ", gradient_checkpointing: true",
}


def recipe_of(name: str) -> str:
    """The recipe of one configuration."""
    few = name.startswith("rl")
    return RECIPE.format(
        **SHAPES[name],
        name=name,
        batch=64 if few else 1024,
        documents=1 if few else 60,
        policy="deepspeed" if name.startswith("zero2") else "transformers",
        options=OPTIONS.get(name, ""),
        more=RL if few else "",
    )


def planned(file: Path) -> Plan:
    """The plan of a recipe."""
    return make_plan(resolve(file), PluginHost.discover())


# --- in a process of its own ---------------------------------------------------------------------


def run(file: Path, stage_id: str) -> None:
    """Run one stage, and print as JSON what it took and what it had imported by the end."""
    plan = planned(file)
    stage = plan.stage(stage_id)
    folder = file.parent / stage_id
    artifacts = {name: file.parent / name / "model" for name in stage.inputs}
    folder.mkdir()
    run_stage(Job(plan=plan, stage=stage, folder=folder, artifacts=artifacts, emit=lambda event: None))
    named = [name for name, module in sys.modules.items() if getattr(module, "__spec__", None) is not None]
    print(json.dumps({"bytes": resident("VmHWM"), "modules": named}))


def idle(file: Path) -> None:
    """Import what a stage had imported, and nothing else; print as JSON what that takes."""
    names = json.loads(file.read_text())
    imported = 0
    for name in names:
        with contextlib.suppress(Exception):  # parts of libraries that only they themselves can import
            importlib.import_module(name)
            imported += 1
    assert imported > 0.95 * len(names), f"{imported} of {len(names)} modules"
    gc.collect()
    print(json.dumps({"bytes": resident("VmRSS")}))


def resident(field: str) -> int:
    """Bytes, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


# --- the table -------------------------------------------------------------------------------------


def measure(name: str) -> tuple[list[str], bool]:
    """The row of one configuration, and whether the estimate was near."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "recipe.yaml"
        file.write_text(recipe_of(name))
        plan = planned(file)
        wanted = MEASURED[name]
        estimate = Estimator(plan, Speed()).of(plan.stage(wanted))
        assert estimate is not None
        assert estimate.peak is not None
        for stage in plan.stages:
            done = _started("--run", str(file), stage.id)
            if stage.id == wanted:
                break
        modules = Path(place) / "modules.json"
        modules.write_text(json.dumps(done["modules"]))
        empty = _started("--idle", str(modules))["bytes"]
    grown, peak = done["bytes"] - empty, estimate.peak
    off = peak.expected / grown - 1
    cells = [f"{value / GIB:.2f}" for value in (empty, grown, peak.low, peak.expected, peak.high)]
    return [name, *cells, f"{off:+.1%}"], abs(off) <= MOST_OFF


def _started(*arguments: str) -> Any:
    """What this script, run with these arguments in a new process, said last."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SHAPES)}; all when absent")
    parser.add_argument("--run", nargs=2, metavar=("FILE", "STAGE"), help="run one stage in this process")
    parser.add_argument("--idle", metavar="FILE", help="import the modules named in a file in this process")
    options = parser.parse_args()
    if options.run:
        run(Path(options.run[0]), options.run[1])
        return
    if options.idle:
        idle(Path(options.idle))
        return
    rows, near = [], []
    for name in options.names or SHAPES:
        row, is_near = measure(name)
        rows.append(row)
        near.append(is_near)
        print(*columns([row]), sep="\n", flush=True)
    head = ["GiB", "idle", "grown by", "low", "expected", "high", "expected is off by"]
    print(*columns([head, *rows]), sep="\n")
    sys.exit(not all(near))


if __name__ == "__main__":
    main()
