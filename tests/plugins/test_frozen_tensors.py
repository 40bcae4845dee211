"""A tensor that is to be trained and is not stops the run at the first step, with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_transformers_policy import Constant, make, policy, sequences

from r1core.errors import RefusedError
from r1core.nn.moved import Adam, Proof, fingerprint

NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path)


class Stubborn(torch.optim.AdamW):
    """AdamW that puts one parameter back after each step."""

    kept: torch.nn.Parameter

    def step(self, closure: Any = None) -> Any:
        before = self.kept.detach().clone()
        super().step(closure)
        with torch.no_grad():
            self.kept.copy_(before)


def test_a_parameter_that_the_optimizer_lacks_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = policy().open(folder, trainable=True)
    engine = opened._opened_engine
    named = dict(opened.module().named_parameters())
    monkeypatch.setattr(
        engine, "new_optimizer", lambda: torch.optim.AdamW([p for name, p in named.items() if name != NAME], fused=True)
    )
    with pytest.raises(RefusedError, match=f"{NAME} got no gradient, or is in no optimizer"):
        opened.update(sequences(), Constant(1.0), lr=1e-3)


def test_a_parameter_that_nothing_reads_is_named(folder: Path) -> None:
    opened = policy().open(folder, trainable=True)
    opened.module().model.layers[1].register_parameter("idle", torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(RefusedError, match=r"model\.layers\.1\.idle got no gradient"):
        opened.update(sequences(), Constant(1.0), lr=1e-3)


def test_a_module_whose_gradient_is_cut_off_is_named(folder: Path) -> None:
    opened = policy().open(folder, trainable=True)
    layer = opened.module().model.layers[1].mlp.up_proj
    plain = layer.forward
    layer.forward = lambda states: plain(states).detach()
    with pytest.raises(RefusedError, match=f"{NAME} got no gradient"):
        opened.update(sequences(), Constant(1.0), lr=1e-3)


def test_a_parameter_that_stays_though_it_has_a_gradient_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = policy().open(folder, trainable=True)
    stubborn = Stubborn(opened.module().parameters(), fused=True)
    stubborn.kept = dict(opened.module().named_parameters())[NAME]
    monkeypatch.setattr(opened._opened_engine, "new_optimizer", lambda: stubborn)
    with pytest.raises(RefusedError, match=f"{NAME} did not change although it had a gradient"):
        opened.update(sequences(), Constant(1.0), lr=1e-3)


@pytest.mark.parametrize(("lr", "steps"), [(0.0, 3), (1e-12, 1), (1e-3, 2)])
def test_honest_steps_pass(folder: Path, lr: float, steps: int) -> None:
    """No learning rate, one below all rounding, an ordinary one; adapters and score heads, which begin at nought."""
    for options, head in (({}, "lm"), ({"lora": {"rank": 2}}, "lm"), ({}, "score")):
        opened = policy(**options).open(folder, trainable=True, head=head)
        for _ in range(steps):
            opened.update(sequences(), Constant(1.0) if head == "lm" else _Higher(), lr=lr)
        assert opened._opened_engine.proven == (lr > 0)


class _Higher:
    reads = frozenset({"score"})

    def __call__(self, view: Any) -> torch.Tensor:
        return -view.score


def test_a_step_that_was_left_out_proves_nothing(folder: Path) -> None:
    opened = policy().open(folder, trainable=True)
    assert opened.update(sequences(), Constant(float("nan")), lr=1e-3)["skipped"] == 1.0
    assert not opened._opened_engine.proven
    opened.update(sequences(), Constant(1.0), lr=1e-3)
    assert opened._opened_engine.proven


def test_a_fingerprint_sees_changes_that_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1core.nn.moved.PIECE", 3)
    tensor = torch.tensor([1.0, 2.0, 1.0, 4.0, 5.0])
    swapped = torch.tensor([1.0, 2.0, 5.0, 4.0, 1.0])
    assert fingerprint(tensor) == fingerprint(tensor.clone())
    assert fingerprint(tensor) != fingerprint(swapped)
    assert fingerprint(tensor.bfloat16()) != fingerprint(swapped.bfloat16())


@pytest.mark.parametrize(("lr", "moves"), [(1e-9, False), (1e-6, True)])
def test_a_step_below_the_rounding_need_not_move_a_weight(lr: float, moves: bool) -> None:
    gradient = torch.full((4,), 0.3)
    adam = Adam(mean=0.1 * gradient, square=0.05 * gradient**2, step=1, lr=lr, betas=(0.9, 0.95), eps=1e-8)
    weight = torch.nn.Parameter(torch.ones(4))
    assert adam.moves(weight) == moves
    optimizer = torch.optim.AdamW([weight], lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    weight.grad = gradient
    proof = Proof({"w": weight}, lambda own, key: own if key == "weight" else optimizer.state[own].get(key))
    optimizer.step()
    assert proof.found(step=1, lr=lr, betas=(0.9, 0.95), eps=1e-8)["w"] == ("moved" if moves else "idle")
