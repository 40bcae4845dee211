"""One rank of a training run: `python rank_program.py JOB.json`, started with the launcher's variables.

What it did is written by rank 0: the reports of its updates, log-probabilities, the exported model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from r1_plugins.deepspeed import DeepSpeedPolicy
from r1_plugins.ppo import PpoClip
from r1_plugins.rl.kl import Kl
from r1_plugins.rl.loss import PolicyLoss
from r1_plugins.transformers import TransformersPolicy
from r1core.batching import weighted
from r1core.components import Loss, Policy
from r1core.losses import CrossEntropy
from r1core.types import TrainSequence

LR = 1e-3


def rows(count: int = 9) -> list[TrainSequence]:
    """Answers of uneven lengths, with what GRPO reads; the same on every rank."""
    random = np.random.default_rng(5)
    found = []
    for size in random.integers(4, 30, size=count):
        start = int(random.integers(1, size))
        old = -random.exponential(size=size - start)
        columns = {
            "advantage": random.normal(size=size - start),
            "old_logprob": old,
            "ref_logprob": old + 0.3 * random.normal(size=size - start),
        }
        found.append(TrainSequence(ids=random.integers(8, 40, size=size), start=start, columns=columns))
    return weighted(found, "token_mean", longest=30)


def loss_of(kind: str) -> Loss:
    """SFT's loss, or GRPO's with KL."""
    return CrossEntropy() if kind == "sft" else PolicyLoss(PpoClip(PpoClip.Config()), Kl(coefficient=0.1))


def policy_of(job: dict[str, Any]) -> Policy:
    """The engine that the job names, trainable."""
    if job["engine"] == "transformers":
        plain = TransformersPolicy(TransformersPolicy.Config(device="cpu", micro_batch_tokens=64))
        return plain.open(Path(job["model"]), trainable=True)
    config = DeepSpeedPolicy.Config(device="cpu", micro_batch_tokens=64, stage=job["stage"])
    return DeepSpeedPolicy(config).open(Path(job["model"]), trainable=True)


def main() -> None:
    """For each loss: restore, update, save and export, as the job says."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    told = {loss: worked(job, loss) for loss in job["losses"]}
    if os.environ.get("RANK", "0") == "0":
        Path(job["told"]).write_text(json.dumps(told), encoding="utf-8")


def worked(job: dict[str, Any], kind: str) -> dict[str, Any]:
    """What one policy did with one loss."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    policy, loss = policy_of(job), loss_of(kind)
    if "restore" in job:
        policy.restore(Path(job["restore"]))
    own = rows()[: job.get("rows", 9)][rank::world]
    reports = [policy.update(own, loss, lr=LR) for _ in range(job["updates"])]
    logprobs = [each.tolist() for each in policy.logprobs(rows())]
    if "save" in job:
        policy.save(Path(job["save"]))
    if "export" in job:
        policy.export(Path(job["export"]) / kind)
    return {"reports": reports, "logprobs": logprobs}


if __name__ == "__main__":
    main()
