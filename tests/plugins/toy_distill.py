"""A student and its teachers, real models of a few thousand weights: answers sampled, signals cached in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_model import ARCHITECTURE, WORDS, write_tokenizer
from toy_training import ToyContext

from r1_plugins.distill import Distill
from r1_plugins.native import NativeSampler
from r1_plugins.transformers import TransformersPolicy
from r1core.batching import encode
from r1core.keys import derive_key
from r1core.types import At, Group, Problem, Rollout, SampleRequest, Signal, Step, Tokens, TrainSequence

ASKED = ({"role": "user", "content": "w1 w2"},)
TRACES = [
    Problem(id=f"t{n}", messages=ASKED, completion=" ".join(WORDS[(3 * n + i) % 32] for i in range(2 + n)))
    for n in range(5)
]


def policy(**options: Any) -> TransformersPolicy:
    return TransformersPolicy(TransformersPolicy.Config.model_validate({"device": "cpu", **options}))


def folder(path: Path, *, seed: int, vocab_size: int | None = None, template: str | None = None) -> Path:
    """A model folder; `vocab_size` pads the model's vocabulary beyond the tokenizer's."""
    path.mkdir()
    write_tokenizer(path, **({"template": template} if template else {}))
    own = {**ARCHITECTURE, **({"vocab_size": vocab_size} if vocab_size else {})}
    policy().create(path, own, seed=seed)
    return path


class Cache:
    """A teacher's signals of texts. Implements `contexts.Signals`."""

    def __init__(
        self,
        teacher: TransformersPolicy,
        sequences: Sequence[TrainSequence],
        *,
        k: int = 4,
        temperature: float = 1.0,
        scheme: str = "top_k",
        **about: Any,
    ) -> None:
        self.about: Mapping[str, Any] = {
            "teacher": {"stage": "teacher", "fingerprint": "f00d"},
            "temperature": temperature,
            "k": k,
            "scheme": scheme,
            **teacher.text_marks,
            **about,
        }
        told = teacher.top_logprobs(sequences, k=k, temperature=temperature)
        self.rows = [
            Signal(
                ids=sequence.ids,
                start=sequence.start,
                top_ids=np.where(np.isnan(own)[:, None], -1, ids),
                top_logprobs=np.where(np.isnan(own)[:, None], -np.inf, tops).astype(np.float32),
                logprobs=own,
                present=~np.isnan(own),
            )
            for sequence, (ids, tops, own) in zip(sequences, told, strict=True)
        ]

    @property
    def lengths(self) -> Tokens:
        return np.array([len(row.ids) for row in self.rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Signal:
        return self.rows[row]


class Class(ToyContext):
    """One student, teachers by name, one prompt whose answers have `length` tokens."""

    def __init__(
        self,
        student: Path,
        teachers: Mapping[str, Path],
        *,
        examples: Sequence[Problem] = TRACES,
        length: int = 3,
        domains: Sequence[str] = ("reasoning",),
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(examples=examples)
        self.policy = policy(max_grad_norm=1e9, **options).open(student, trainable=True)
        self.models = {name: policy(**options).open(path, trainable=False) for name, path in teachers.items()}
        self.caches: dict[str, Cache] = {}
        self.length, self.domains, self.temperature = length, domains, temperature
        self.sampler = NativeSampler(NativeSampler.Config())
        self.loads: list[str] = []
        self.answered: list[Rollout] = []

    def model(self, ref: str) -> Any:
        self.loads.append(ref)
        return self.models[ref]

    def signals(self, ref: str) -> Cache:
        return self.caches[ref]

    def cache(self, name: str = "cache", *, teacher: str = "teacher", **options: Any) -> Cache:
        """Keep what a teacher says of the examples."""
        self.caches[name] = Cache(self.models[teacher], encode(self.models[teacher], self.examples()), **options)
        return self.caches[name]

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        self.asked.append((at, prompts, samples))
        self.sampler.sync(self.policy)
        return [self._answered(at, n, samples) for n in range(prompts)]

    def _answered(self, at: At, number: int, samples: int) -> Group:
        asked = Problem(id=f"p{number}", messages=ASKED, domain=self.domains[number % len(self.domains)])
        request = SampleRequest(
            problem=asked,
            prompt_ids=self.policy.prompt_ids(ASKED),
            keys=tuple(derive_key(at.step, number, sample) for sample in range(samples)),
            samples=tuple(range(samples)),
            max_new_tokens=self.length,
            temperature=self.temperature,
        )
        rollouts = sorted(self.sampler.generate([request]), key=lambda rollout: rollout.sample)
        if self.temperature != 1:  # as a stage does: they are not the policy's own
            rollouts = [replace(rollout, logprobs=None) for rollout in rollouts]
        self.answered += rollouts
        return Group(problem=asked, rollouts=tuple(rollouts))


def trainer(**options: Any) -> Distill:
    return Distill(Distill.Config.model_validate(options))


def train(context: Any, **options: Any) -> list[Step]:
    return list(trainer(**options).run(context))


def gradient(context: Class) -> torch.Tensor:
    """What the last update has left of it, all weights in one vector, in double precision."""
    return torch.cat([p.grad.double().flatten() for p in context.policy.module().parameters()])


@torch.no_grad()
def logits(opened: TransformersPolicy, sequence: TrainSequence) -> torch.Tensor:
    """(T, V) what predicts each counted token, in double precision, without any of what is tested."""
    found = opened.module()(torch.from_numpy(sequence.ids[None])).logits[0, sequence.start - 1 : -1]
    return torch.as_tensor(found.double())
