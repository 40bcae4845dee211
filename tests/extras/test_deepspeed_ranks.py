"""DeepSpeed on one rank and on two, at every ZeRO stage, trains as one plain process does; and goes on from any to any.

Real processes over gloo. The model is llama: qwen2's key biases have no gradient but rounding, which Adam makes large.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from tiny_model import ARCHITECTURE, write_tokenizer

from r1_plugins.transformers import TransformersPolicy

UPDATES = 20
RELATIVE = 1e-5
LLAMA = {**ARCHITECTURE, "model_type": "llama"}
LIMIT_S = 240
LOSSES = ["sft", "grpo"]
PROGRAM = Path(__file__).parent / "rank_program.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks") / "model"
    folder.mkdir()
    write_tokenizer(folder)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(folder, LLAMA, seed=0)
    return folder


def trained(folder: Path, *, world: int = 1, **job: Any) -> dict[str, Any]:
    """Run a job on so many ranks; what rank 0 told."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps({**job, "told": str(folder / "told.json")}), encoding="utf-8")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
    ranks = []
    for rank in range(world):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        command = [
            sys.executable,
            "-W",
            "ignore",
            str(Path(__file__).parent / "rank_program.py"),
            str(folder / "job.json"),
        ]
        env = {**os.environ, **own, **shared}
        ranks.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    said = [rank.communicate(timeout=LIMIT_S)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world, "\n".join(said)[-4000:]
    told: dict[str, Any] = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    return told


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one plain process makes of it, by loss."""
    folder = tmp_path_factory.mktemp("plain")
    job = {"engine": "transformers", "model": str(model), "losses": LOSSES, "updates": UPDATES}
    return {**trained(folder, export=str(folder), **job), "out": folder}


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_training_is_that_of_one_plain_process(
    stage: int, world: int, model: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    same = {"model": str(model), "losses": LOSSES, "updates": UPDATES}
    found = trained(tmp_path, world=world, engine="deepspeed", stage=stage, export=str(tmp_path), **same)
    for loss in LOSSES:
        ours, theirs = found[loss], plain[loss]
        for own, other in zip(ours["reports"], theirs["reports"], strict=True):
            assert own == pytest.approx(other, rel=RELATIVE, abs=RELATIVE)
        for own, other in zip(ours["logprobs"], theirs["logprobs"], strict=True):
            np.testing.assert_allclose(own, other, rtol=RELATIVE, atol=RELATIVE)
        weights, wanted = (load_file(place / loss / "model.safetensors") for place in (tmp_path, plain["out"]))
        assert weights.keys() == wanted.keys()
        for name, weight in weights.items():
            assert float((weight - wanted[name]).abs().max()) <= 10 * RELATIVE * float(wanted[name].abs().max()), name
        assert abs(theirs["reports"][-1]["loss"] - theirs["reports"][0]["loss"]) > 0.01, "nothing was learned"


@pytest.mark.parametrize(
    ("stage", "world", "then_stage", "then_world"), [(3, 2, 1, 1), (1, 1, 3, 2), (2, 2, 0, 1), (3, 2, 2, 2)]
)
def test_a_checkpoint_goes_on_at_another_stage_and_number_of_ranks(
    stage: int, world: int, then_stage: int, then_world: int, model: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    same = {"engine": "deepspeed", "model": str(model), "losses": ["grpo"], "updates": UPDATES // 2}
    trained(tmp_path / "a", world=world, stage=stage, save=str(tmp_path / "state"), **same)
    assert not [file for file in (tmp_path / "state").iterdir() if file.suffix not in {".safetensors", ".json"}]
    found = trained(tmp_path / "b", world=then_world, stage=then_stage, restore=str(tmp_path / "state"), **same)
    for ours, theirs in zip(found["grpo"]["reports"], plain["grpo"]["reports"][UPDATES // 2 :], strict=True):
        assert ours == pytest.approx(theirs, rel=RELATIVE, abs=RELATIVE)


def test_a_rank_without_answers_takes_part(model: Path, tmp_path: Path) -> None:
    """At stage 3 a forward needs all ranks: one answer on two ranks must not hang, and is the step of one rank."""
    same = {"engine": "deepspeed", "stage": 3, "model": str(model), "losses": ["grpo"], "updates": 2, "rows": 1}
    two = trained(tmp_path / "two", world=2, **same)
    one = trained(tmp_path / "one", world=1, **same)
    assert two["grpo"]["reports"][-1] == pytest.approx(one["grpo"]["reports"][-1], rel=RELATIVE, abs=RELATIVE)
