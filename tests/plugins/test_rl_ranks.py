"""A step whose answers lie on several ranks is the step of one process: each rank its share, gradients summed.

Real processes that sum over gloo, on the real policy: weights are shares of the *whole* batch's loss, so
nothing is divided by how many ranks there are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import ARCHITECTURE, write_tokenizer

from r1_plugins.ppo import PpoClip
from r1_plugins.rl.kl import Kl
from r1_plugins.rl.loss import PolicyLoss
from r1_plugins.transformers import TransformersPolicy
from r1core.batching import weighted
from r1core.types import TrainSequence

HOW = ("token_mean", "sequence_mean", "constant")
RANK = """
import json, sys
from pathlib import Path
import torch
import torch.distributed as dist
from test_rl_ranks import HOW, learned, rows_of

folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world)
for how in HOW:
    loss, gradients = learned(folder / "model", rows_of(how)[rank::world])
    told = torch.tensor([loss], dtype=torch.float64)
    for tensor in (told, *gradients.values()):
        dist.all_reduce(tensor)
    if rank == 0:
        plain = {name: tensor.flatten().tolist() for name, tensor in gradients.items()}
        (folder / f"sum-{world}-{how}.json").write_text(json.dumps({"loss": told.item(), "gradients": plain}))
dist.barrier()
dist.destroy_process_group()
"""


def rows_of(how: Any) -> list[TrainSequence]:
    """Nine answers of uneven lengths, off-policy, with each token's share of the whole batch's loss."""
    rng = np.random.default_rng(5)
    rows = []
    for size in (3, 25, 9, 14, 4, 30, 8, 17, 5):
        start = int(rng.integers(1, size))
        counted = size - start
        old = -rng.exponential(size=counted)
        columns = {
            "advantage": rng.normal(size=counted),
            "old_logprob": old,
            "ref_logprob": old + 0.3 * rng.normal(size=counted),
        }
        rows.append(TrainSequence(ids=rng.integers(8, 40, size=size), start=start, columns=columns))
    return weighted(rows, how, longest=30)


def learned(model: Path, rows: list[TrainSequence]) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of these rows, and its gradient before it is clipped."""
    loss = PolicyLoss(PpoClip(PpoClip.Config()), Kl(coefficient=0.3), entropy=0.2)
    config = TransformersPolicy.Config(device="cpu", max_grad_norm=1e9)
    policy = TransformersPolicy(config).open(model, trainable=True)
    report = policy.update(rows, loss, lr=0.0)
    return report["loss"], {name: p.grad for name, p in policy.module().named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranks")
    (place / "model").mkdir()
    write_tokenizer(place / "model")
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(place / "model", ARCHITECTURE, seed=0)
    return place


@pytest.fixture(scope="module", params=[2, 3])
def world(request: pytest.FixtureRequest, folder: Path) -> int:
    """How many ranks have made their sums: started once, as each imports torch."""
    size: int = request.param
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(folder), str(rank), str(size)],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    said = [rank.communicate(timeout=240)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * size, "\n".join(said)
    return size


@pytest.mark.parametrize("how", HOW)
def test_a_step_is_the_same_on_any_number_of_ranks(world: int, how: str, folder: Path) -> None:
    loss, gradients = learned(folder / "model", rows_of(how))
    summed = json.loads((folder / f"sum-{world}-{how}.json").read_text(encoding="utf-8"))
    assert summed["loss"] == pytest.approx(loss, abs=1e-4)
    assert summed["gradients"].keys() == gradients.keys()
    for name, tensor in gradients.items():
        found = torch.tensor(summed["gradients"][name]).reshape(tensor.shape)
        torch.testing.assert_close(found, tensor, atol=1e-4, rtol=1e-4)
    assert max(float(tensor.abs().max()) for tensor in gradients.values()) > 1e-2
