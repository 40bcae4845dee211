"""The sampler `vllm` among processes: beside the other ranks, in a process that is not its own, and in a recipe."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from vllm_parts import model

AGREE = 1e-4
"""Nats: float32 engines."""
LIMIT_S = 300


# --- ranks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [1, 3])
def test_each_rank_samples_with_an_engine_of_its_own(stage: int, tmp_path: Path) -> None:
    """Two ranks of DeepSpeed, a whole copy of the model in each; they are asked for different things, and more of the
    second. When the engines are gone the ranks still train together."""
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    job = {"model": str(model(tmp_path / "model")), "stage": stage, "told": str(tmp_path / "told")}
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        shared_by_all = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "vllm_rank_program.py")]
    ranks = [
        subprocess.Popen(
            [*command, str(tmp_path / "job.json")],
            env={**os.environ, **shared_by_all, "RANK": rank, "LOCAL_RANK": rank, "DS_ACCELERATOR": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    said = [rank.communicate(timeout=LIMIT_S)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(text[-2000:] for text in said)
    told = [json.loads((tmp_path / f"told{rank}").read_text(encoding="utf-8")) for rank in "01"]
    for one, other in zip(*told, strict=True):
        assert one["ranks"] == 2
        assert (len(one["ids"]), len(other["ids"])) == (4, 8)
        assert max(one["gap"], other["gap"]) < AGREE
        assert one["ids"] != other["ids"][:4]
    assert told[0][0]["ids"] != told[0][-1]["ids"], "the updates changed nothing"


# --- the process --------------------------------------------------------------------------------------------

LOOK = """
import gc, json, os, random, subprocess, sys, tempfile
from pathlib import Path
import numpy as np, torch
from vllm_parts import asked, gap, model
from r1_plugins.transformers import TransformersPolicy
from r1_plugins.vllm import VllmSampler

def look():
    found = ["LD_PRELOAD", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "VLLM_ENABLE_V1_MULTIPROCESSING"]
    return {
        "environment": {name: os.environ.get(name) for name in found},
        "threads": torch.get_num_threads(),
        "frozen": gc.get_freeze_count(),
        "setter": torch.set_num_threads.__module__,
        "cores": sorted(os.sched_getaffinity(0)),
        "defaults": [str(torch.get_default_dtype()), str(torch.get_default_device()), torch.is_grad_enabled()],
        "random": [random.random(), float(np.random.random()), float(torch.rand(()))],
        "children": Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(),
        "files": sorted(os.listdir(tempfile.gettempdir())),
    }

def seeded():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)

policy = TransformersPolicy(TransformersPolicy.Config(device="cpu")).open(model(Path("model")), trainable=True)
torch.set_num_threads(2)
seeded()
before = look()
seeded()
sampler = VllmSampler(VllmSampler.Config())
sampler.sync(policy)
after = look()
print("gap", gap(policy, list(sampler.generate(asked(policy)))))
print(json.dumps([before, after]))
"""


def test_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random generators, threads, cores, what children would inherit; no child, and no file, is left."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOK], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *said, last = done.stdout.splitlines()
    before, after = json.loads(last)
    assert after == before
    assert float(said[-1].split()[1]) < AGREE
    assert not list((tmp_path / "tmp").iterdir())


def test_a_recipe_samples_with_it(tmp_path: Path) -> None:
    """The smoke recipe until R1-Zero: each batch's log-probs are the policy's; what vLLM says is in the stage's log."""
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", "deepseek_r1_zero.yaml"]
    command += ["--profile", "smoke", "--set", "engines.sampler={use: vllm, kv_cache_mib: 16}", "--until", "r1_zero"]
    command += ["--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    stage = tmp_path / "run" / "stages" / "r1_zero"
    steps = [json.loads(line) for line in (stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    gaps = [step["sampler/logprob_gap"] for step in steps if "sampler/logprob_gap" in step]
    assert len(gaps) == 4
    assert all(0 < each < AGREE for each in gaps)
    assert "Initializing a V1 LLM engine" in (stage / "output.log").read_text(encoding="utf-8")
    assert "LLM engine" not in done.stdout + done.stderr
