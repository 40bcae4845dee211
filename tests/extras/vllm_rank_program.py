"""One of two ranks that train one model and sample with an engine each: `python vllm_rank_program.py JOB.json`.

Each writes, per sync, how far its engine's log-probs are from the policy's, and what it sampled.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

from rank_program import LR, rows
from vllm_parts import asked, gap

from r1_plugins.deepspeed import DeepSpeedPolicy
from r1_plugins.vllm import VllmSampler
from r1core.losses import CrossEntropy
from r1core.types import Rollout


def main() -> None:
    """Sync, sample and update, three times."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    config = DeepSpeedPolicy.Config(device="cpu", stage=job["stage"], micro_batch_tokens=64)
    policy = DeepSpeedPolicy(config).open(Path(job["model"]), trainable=True)
    sampler = VllmSampler(VllmSampler.Config(kv_cache_mib=16))
    told: list[dict[str, object]] = []
    for _ in range(3):
        sampler.sync(policy)
        own = list(sampler.generate(asked(policy, seed=policy.world.rank, count=1 + policy.world.rank)))
        whole: list[Rollout] = [rollout for rank in policy.world.gather(own) for rollout in rank]
        sampler.rest()
        ids = [rollout.completion_ids.tolist() for rollout in own]
        told.append({"gap": gap(policy, whole), "ids": ids, "ranks": policy.world.size})
        policy.update(rows(), CrossEntropy(), lr=30 * LR)
    del sampler
    gc.collect()
    policy.update(rows(), CrossEntropy(), lr=LR)
    Path(job["told"] + os.environ["RANK"]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
