"""Activations that are computed again in the backward pass: less memory, the same step, and a model to sample from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_transformers_policy import Reinforce, make, policy, sequences, weights

from r1_plugins.native import NativeSampler
from r1core.types import Problem, SampleRequest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path)


def test_no_step_changes_and_the_model_can_be_sampled_from(folder: Path) -> None:
    saving = policy(gradient_checkpointing=True).open(folder, trainable=True)
    plain = policy().open(folder, trainable=True)
    seen = []
    first = saving.module().model.layers[0]
    hook = first.register_forward_pre_hook(lambda *_: seen.append(saving.module().training))
    reports = [each.update(sequences(), Reinforce(), lr=1e-2) for each in (saving, plain)]
    assert len(seen) == 2, "the layer ran once forwards and once again in the backward pass"
    assert all(seen)
    hook.remove()
    assert reports[0] == pytest.approx(reports[1], rel=1e-5)
    for ours, theirs in zip(weights(saving).values(), weights(plain).values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    request = SampleRequest(
        problem=Problem(id="a"), prompt_ids=np.array([8, 9]), keys=(1,), samples=(0,), max_new_tokens=4
    )
    sampler = NativeSampler(NativeSampler.Config())
    sampler.sync(saving)
    (rollout,) = sampler.generate([request])
    assert 1 <= len(rollout.completion_ids) <= 4
