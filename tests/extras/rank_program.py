"""One rank of training runs: started with the launcher's variables, told the names of its jobs' files (rank_group.py).

What they did is written by rank 0: the reports of updates, log-probabilities, what a disk said; and the exported model.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from r1_plugins.deepspeed import DeepSpeedPolicy
from r1_plugins.ppo import PpoClip
from r1_plugins.rl.kl import Kl
from r1_plugins.rl.loss import PolicyLoss
from r1_plugins.transformers import TransformersPolicy
from r1core.batching import weighted
from r1core.components import Loss, Policy
from r1core.losses import CrossEntropy
from r1core.nn import Measure, TokenView, head, tokens
from r1core.types import TrainSequence

LR = 1e-3
WHOLE = (tokens.WHOLE_LOGITS, head.TILE_LOGITS["cpu"])


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


class Taught:
    """The reverse KL to a frozen teacher on the whole vocabulary; its own two likeliest tokens made likelier, too."""

    reads = frozenset({"head"})

    def __init__(self, teacher: Policy) -> None:
        self.teacher = teacher

    def __call__(self, view: TokenView) -> Any:
        far = view.head.divergence(self.teacher.head(view), Measure(kind="reverse", temperature=1.5))
        return far - 0.1 * view.head.logprobs_at(view.head.likeliest(2)[0]).sum(1)


def loss_of(kind: str, policy: Policy, job: dict[str, Any]) -> Loss:
    """SFT's loss, GRPO's with KL, or a live teacher's."""
    if kind == "taught":
        return Taught(policy.frozen(Path(job["teacher"])))
    return CrossEntropy() if kind == "sft" else PolicyLoss(PpoClip(PpoClip.Config()), Kl(coefficient=0.1))


def policy_of(job: dict[str, Any]) -> Policy:
    """The engine that the job names, trainable."""
    same = {"device": "cpu", "micro_batch_tokens": 64, "lora": job.get("lora"), "packing": job.get("packing", False)}
    if job["engine"] == "transformers":
        return TransformersPolicy(TransformersPolicy.Config(**same)).open(Path(job["model"]), trainable=True)
    config = DeepSpeedPolicy.Config(**same, stage=job["stage"])
    return DeepSpeedPolicy(config).open(Path(job["model"]), trainable=True)


def main() -> None:
    """For each job, and each loss in it: restore, update, save and export, as it says."""
    rank = os.environ.get("RANK", "0")
    for line in sys.stdin:
        file = Path(line.rstrip("\n"))
        job = json.loads(file.read_text(encoding="utf-8"))
        tokens.WHOLE_LOGITS, head.TILE_LOGITS["cpu"] = (80, 70) if job.get("tiles") else WHOLE
        told = {loss: worked(job, loss) for loss in job["losses"]}
        if rank == "0":
            Path(job["told"]).write_text(json.dumps(told), encoding="utf-8")
        Path(f"{file}.{rank}").touch()


TILES: list[int] = []
"""The widths of all tiles of logits that were computed."""
computed = head._logits


def watched(*given: Any) -> Any:
    """One tile, counted."""
    tile = computed(*given)
    TILES.append(tile.shape[1])
    return tile


head._logits = watched


def worked(job: dict[str, Any], kind: str) -> dict[str, Any]:
    """What one policy did with one loss."""
    TILES.clear()
    policy = policy_of(job)
    loss = loss_of(kind, policy, job)
    if "restore" in job:
        policy.restore(Path(job["restore"]))
    learned = rows()[: job.get("rows", 9)]
    reports = [policy.update(learned, loss, lr=LR) for _ in range(job["updates"])]
    logprobs = [each.tolist() for each in policy.logprobs(rows())]
    likeliest = [each.tolist() for told in policy.top_logprobs(rows(), k=3, temperature=0.8) for each in told]
    said = ""
    if "save" in job:
        said = saved(policy, Path(job["save"]), failing=job.get("failing") == policy.world.rank)
    if "export" in job:
        policy.export(Path(job["export"]) / kind)
    if "weights" in job:
        save_file({name: weight.clone() for name, weight in policy.weights()}, f"{job['weights']}.{policy.world.rank}")
    everywhere = {"logprobs": logprobs, "likeliest": likeliest, "reports": reports, "said": said, "tiles": len(TILES)}
    return {**everywhere, "ranks": policy.world.gather(everywhere)}


def saved(policy: Policy, folder: Path, *, failing: bool) -> str:
    """Save; what the disk said. On the rank that is `failing` every file is too large."""
    if failing:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    try:
        policy.save(folder)
    except OSError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return ""


if __name__ == "__main__":
    main()
