"""What the tests of `vllm` share with the program that its ranks run: a model, questions, and how far two engines are
apart on the answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from tiny_model import ARCHITECTURE, write_tokenizer

from r1_plugins.transformers import TransformersPolicy
from r1core.components import Policy
from r1core.keys import derive_key
from r1core.types import Problem, Rollout, SampleRequest, TrainSequence

TINY = {**ARCHITECTURE, "hidden_size": 64, "model_type": "llama", "max_position_embeddings": 256}
"""Attention heads of 32 numbers, which vLLM's CPU build takes; the head of the model is its embedding."""
LONGEST = 24


def model(folder: Path, **architecture: object) -> Path:
    """A model of random weights and a tokenizer."""
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(folder, {**TINY, **architecture}, seed=0)
    return folder


def asked(
    policy: Policy, *, seed: int = 0, count: int = 4, samples: int = 4, temperature: float = 1.0, top_p: float = 1.0
) -> list[SampleRequest]:
    """Questions of uneven lengths."""
    problems = [
        Problem(id=f"{seed}-{place}", messages=({"role": "user", "content": " ".join(["w1", "w9"] * (place + 1))},))
        for place in range(count)
    ]
    return [
        SampleRequest(
            problem=problem,
            prompt_ids=policy.prompt_ids(problem.messages),
            keys=tuple(derive_key(seed, place, sample) for sample in range(samples)),
            samples=tuple(place * samples + sample for sample in range(samples)),
            max_new_tokens=LONGEST,
            temperature=temperature,
            top_p=top_p,
        )
        for place, problem in enumerate(problems)
    ]


def gap(policy: Policy, rollouts: Sequence[Rollout]) -> float:
    """The largest difference, nats, of a token's log-probability in the sampler and in the policy."""
    sequences = [
        TrainSequence(ids=np.concatenate([r.prompt_ids, r.completion_ids]), start=len(r.prompt_ids), columns={})
        for r in rollouts
    ]
    said = [rollout.logprobs for rollout in rollouts if rollout.logprobs is not None]
    return max(float(np.abs(a - b).max()) for a, b in zip(said, policy.logprobs(sequences), strict=True))
