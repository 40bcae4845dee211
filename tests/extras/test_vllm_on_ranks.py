"""DeepSpeed trains on two ranks, vLLM samples on both: a whole RL stage, with real processes, and ways to break it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("deepspeed")

AGREE = 1e-4
"""Nats a token: float32 engines."""
LIMIT_S = 540
ENDS_WITHIN_S = 30
RECIPE = """\
r1: 1
name: two-engines
profile: none
stages:
  base:
    train: {{use: sft, lr: 2.5e-3, batch_tokens: 1024}}
    model:
      scratch:
        {{model_type: llama, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2,
         num_key_value_heads: 2, head_dim: 32, initializer_range: 0.1, tie_word_embeddings: true,
         max_position_embeddings: 256}}
    data: {{use: playground_corpus, documents: 1000}}
    policy: {{use: transformers, device: cpu}}
  zero:
    train: {{use: rl, preset: grpo, steps: {steps}, prompts: 4, samples: 4, lr: 1.0e-3}}
    model: base
    problems: playground
    rewards: [{{use: length, target: 8}}]
    policy: {{use: deepspeed, device: cpu, ranks: 2, stage: {zero}}}
    sampler: {sampler}
    sampling: {{max_new_tokens: 16}}
    checkpoint: {{every_s: 0}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose base is done."""
    folder = tmp_path_factory.mktemp("engines")
    done = r1(folder, "--until", "base")
    assert done.returncode == 0, said(done)
    return folder


def command(folder: Path, *arguments: str, **recipe: Any) -> list[str]:
    text = RECIPE.format(**{"steps": 3, "zero": 2, "sampler": "{use: vllm, kv_cache_mib: 16}", **recipe})
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    r1 = Path(sys.executable).with_name("r1")
    return [str(r1), "recipe", str(folder / "recipe.yaml"), "--run-dir", str(folder / "run"), *arguments]


def r1(folder: Path, *arguments: str, **recipe: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(folder, *arguments, **recipe), capture_output=True, text=True, timeout=LIMIT_S, env=environment
    )


def copied(base: Path, folder: Path) -> Path:
    subprocess.run(["cp", "-a", str(base / "run"), str(folder / "run")], check=True)
    return folder


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout[-3000:] + done.stderr[-3000:]


def metrics(folder: Path) -> list[dict[str, Any]]:
    file = folder / "run" / "stages" / "zero" / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_stage_runs_to_its_end_and_the_engines_agree_after_every_sync(base: Path, tmp_path: Path) -> None:
    folder = copied(base, tmp_path)
    done = r1(folder)
    assert done.returncode == 0, said(done)
    steps = metrics(folder)
    assert [row["step"] for row in steps] == [1, 2, 3]
    assert max(row["sampler/logprob_gap"] for row in steps) <= AGREE
    assert any(row["grad_norm"] > 0 for row in steps), "the weights changed between syncs"
    assert (folder / "run" / "stages" / "zero" / "model" / "model.safetensors").exists()


def test_a_sampler_that_keeps_other_weights_is_stopped_at_the_first_step(base: Path, tmp_path: Path) -> None:
    folder = copied(base, tmp_path)
    sampler = f"{{use: '{Path(__file__).parent / 'forgetful.py'}:Forgetful', kv_cache_mib: 16}}"
    done = r1(folder, sampler=sampler)
    assert done.returncode == 4, said(done)
    assert "the sampler's log-probs differ from the policy's by" in done.stderr, said(done)
    assert metrics(folder) == [], "no step was made"


def test_a_killed_rank_ends_all_soon_and_the_run_goes_on_from_what_was_saved(base: Path, tmp_path: Path) -> None:
    folder = copied(base, tmp_path)
    killed: list[float] = []

    def kill() -> None:
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            rows = folder / "run" / "stages" / "zero" / "metrics.jsonl"
            if rows.exists() and len(rows.read_text().splitlines()) >= 1 and (rank := rank_process(folder, 1)):
                killed.append(time.monotonic())
                os.kill(rank, signal.SIGKILL)
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    done = r1(folder, steps=40)
    ended = time.monotonic()
    killer.join()
    assert killed, "the rank was killed"
    assert done.returncode == 3, said(done)
    assert done.stderr.count("rank 1 of 2") == 1, "the cause, once"
    assert "Traceback" not in done.stderr, said(done)
    assert ended - killed[0] < 5 * ENDS_WITHIN_S
    saved = len(metrics(folder))
    assert 1 <= saved < 40
    assert rank_process(folder, 0) is None, "nobody is left"
    again = r1(folder, "--set", "stages.zero.stall_s=60", steps=40)
    assert again.returncode == 0, said(again)
    assert [row["step"] for row in metrics(folder)] == list(range(1, 41))


def rank_process(folder: Path, rank: int) -> int | None:
    """The process of this rank of the run, if there is one."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            program = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes()
        except OSError:
            continue
        is_ours = b"r1core.ranks" in program and str(folder).encode() in program and b"launch" not in program
        if is_ours and f"\0RANK={rank}\0".encode() in b"\0" + environment + b"\0":
            return int(place.name)
    return None
