"""What the policy `deepspeed` promises beside its suite: steps that are not finite, half precision, refused options."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rank_group import LIMIT_S
from safetensors.torch import load_file
from test_deepspeed_ranks import LLAMA, write_tokenizer

from r1_plugins.deepspeed import DeepSpeedPolicy
from r1_plugins.deepspeed._ranks import OUTDATED
from r1_plugins.transformers import TransformersPolicy
from r1core.errors import RefusedError
from r1core.losses import CrossEntropy
from r1core.store import kills
from r1core.testing import PolicySuite
from r1core.types import TrainSequence

pytestmark = [pytest.mark.filterwarnings(f"ignore:.*{name}:FutureWarning") for name in OUTDATED]


class TestDeepSpeed(PolicySuite):
    """On one rank, where AdamW's states are spread as at two."""

    component = "deepspeed"
    options = {"device": "cpu", "stage": 2}  # noqa: RUF012 - as suites are written
    architecture = {**LLAMA, "hidden_size": 64, "num_attention_heads": 2}  # noqa: RUF012
    source = "playground_corpus"


class Nan:
    """A loss that is not finite."""

    reads = frozenset({"logprob"})

    def __call__(self, view: Any) -> torch.Tensor:
        return view.logprob * math.nan


class NanGradient:
    """A finite loss whose gradient is not."""

    reads = frozenset({"logprob"})

    def __call__(self, view: Any) -> torch.Tensor:
        return torch.sqrt((view.logprob - view.logprob.detach()).abs())


def opened(tmp_path: Path, **options: Any) -> DeepSpeedPolicy:
    folder = tmp_path / "model"
    if not folder.exists():
        folder.mkdir()
        write_tokenizer(folder)
        TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(folder, LLAMA, seed=0)
    return DeepSpeedPolicy(DeepSpeedPolicy.Config(device="cpu", **options)).open(folder, trainable=True)


def rows() -> list[TrainSequence]:
    ids = np.arange(8, 24)
    return [TrainSequence(ids=ids, start=4, columns={"weight": np.full(12, 1 / 12)})]


@pytest.mark.parametrize("loss", [Nan(), NanGradient()])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_step_that_is_not_finite_changes_nothing(stage: int, loss: Any, tmp_path: Path) -> None:
    policy = opened(tmp_path, stage=stage)
    policy.update(rows(), CrossEntropy(), lr=1e-2)
    policy.export(tmp_path / "before")
    assert policy.update(rows(), loss, lr=1e-2)["skipped"] == 1.0
    policy.export(tmp_path / "after")
    assert (tmp_path / "before" / "model.safetensors").read_bytes() == (
        tmp_path / "after" / "model.safetensors"
    ).read_bytes()
    report = policy.update(rows(), CrossEntropy(), lr=1e-2)
    assert "skipped" not in report
    policy.export(tmp_path / "later")
    learned, old = (load_file(tmp_path / name / "model.safetensors") for name in ("later", "before"))
    assert all(tensor.isfinite().all() for tensor in learned.values())
    assert any(not torch.equal(learned[name], old[name]) for name in old)


@pytest.mark.parametrize(("stage", "offload"), [(1, "optimizer"), (2, "optimizer"), (3, "optimizer"), (3, "weights")])
def test_what_lies_in_the_cpus_memory_changes_no_step_and_is_saved(stage: int, offload: str, tmp_path: Path) -> None:
    plain, spread = opened(tmp_path, stage=stage), opened(tmp_path, stage=stage, offload=offload)
    for _ in range(3):
        wanted, found = (each.update(rows(), CrossEntropy(), lr=1e-2) for each in (plain, spread))
        assert found == pytest.approx(wanted, rel=1e-5)
    spread.save(tmp_path / "state")
    again = opened(tmp_path, stage=stage, offload=offload)
    again.restore(tmp_path / "state")
    assert again.update(rows(), CrossEntropy(), lr=1e-2) == spread.update(rows(), CrossEntropy(), lr=1e-2)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_half_precision_keeps_float32_masters(stage: int, tmp_path: Path) -> None:
    """Steps far below bfloat16's resolution add up."""
    policy = opened(tmp_path, stage=stage, dtype="bfloat16")
    first = policy.update(rows(), CrossEntropy(), lr=1e-5)["loss"]
    for _ in range(60):
        last = policy.update(rows(), CrossEntropy(), lr=1e-5)["loss"]
    policy.export(tmp_path / "out")
    exported = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in exported.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in exported.values())
    assert last < first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stage": 0, "dtype": "bfloat16"}, "no float32 copy"),
        ({"stage": 2, "offload": "weights"}, "needs stage 3"),
        ({"stage": 0, "offload": "optimizer"}, "needs stage 1, 2 or 3"),
        ({"stage": 4}, "less than or equal|Input should be"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DeepSpeedPolicy.Config(**options)


def test_a_recipe_trains_with_it_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    """A run that is stopped inside the RL stage, and started again, is the run that was left alone."""
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", "deepseek_r1_zero.yaml"]
    command += ["--profile", "smoke", "--set", "engines.policy.use=deepspeed", "--set", "checkpoint.every_s=0"]
    command += ["--until", "r1_zero", "--run-dir"]
    orders = {kills.AT: "r1_zero/checkpoint.done:1", kills.LOG: str(tmp_path / "kills")}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    environment = {**os.environ, **orders}
    first = subprocess.run([*command, str(killed)], capture_output=True, timeout=LIMIT_S, env=environment)
    assert first.returncode != 0
    assert (tmp_path / "kills").read_text(encoding="utf-8") == "r1_zero/checkpoint.done\n"
    shutil.copytree(killed, whole)  # the base model is made once
    shutil.rmtree(whole / "stages" / "r1_zero")
    for run in (killed, whole):
        done = subprocess.run([*command, str(run)], capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr[-3000:]
    models = [run / "stages" / "r1_zero" / "model" / "model.safetensors" for run in (whole, killed)]
    assert models[0].read_bytes() == models[1].read_bytes()


NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_tensor_whose_gradient_is_cut_off_is_named(stage: int, tmp_path: Path) -> None:
    policy = opened(tmp_path, stage=stage, gradient_checkpointing=False)
    layer = policy.module().model.layers[1].mlp.up_proj
    plain = layer.forward
    layer.forward = lambda states: plain(states).detach()
    policy.update(rows(), CrossEntropy(), lr=0.0)
    with pytest.raises(RefusedError, match=f"{NAME} got no gradient"):
        policy.update(rows(), CrossEntropy(), lr=1e-2)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_tensor_that_the_optimizer_lacks_is_named(
    stage: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when parameters are handed over before they are marked as trainable."""
    adam = torch.optim.AdamW

    def forgetful(parameters: list[torch.nn.Parameter], **options: Any) -> torch.optim.Optimizer:
        return adam(parameters[:-1], **options)

    monkeypatch.setattr(torch.optim, "AdamW", forgetful)
    policy = opened(tmp_path, stage=stage)
    last = list(dict(policy.module().named_parameters()))[-1]
    with pytest.raises(RefusedError, match=f"{last} got no gradient, or is in no optimizer"):
        policy.update(rows(), CrossEntropy(), lr=1e-2)
