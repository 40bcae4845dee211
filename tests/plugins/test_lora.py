"""Adapters of low rank: they alone are trained and saved, and what is exported is the model that was trained, whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_transformers_policy import Constant, Reinforce, digests, make, policy, sequences

from r1_plugins.native import NativeSampler
from r1core.errors import RecipeError
from r1core.testing import PolicySuite
from r1core.types import Floats, Problem, SampleRequest

LORA = {"rank": 4, "alpha": 8.0}


class TestTransformersWithAdapters(PolicySuite):
    component = "transformers"
    options = {"device": "cpu", "lora": LORA}  # noqa: RUF012 - as suites are written
    architecture = {  # noqa: RUF012
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
    }
    source = "playground_corpus"
    lr = 1e-2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("model"))


def learned(folder: Path, **options: Any) -> Any:
    opened = policy(lora=LORA, **options).open(folder, trainable=True)
    for _ in range(3):
        opened.update(sequences(), Reinforce(), lr=1e-2)
    return opened


def apart(ours: list[Floats], theirs: list[Floats]) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True))


def test_adapters_begin_as_the_model_itself_and_the_same_in_every_process(folder: Path) -> None:
    state = torch.random.get_rng_state()
    one, other = (policy(lora=LORA).open(folder, trainable=True) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    plain = policy().open(folder, trainable=False)
    assert apart(one.logprobs(sequences()), plain.logprobs(sequences())) < 1e-6
    named, same = (dict(each.module().named_parameters()) for each in (one, other))
    assert all(torch.equal(named[name], same[name]) for name in named)
    trained = {name for name, parameter in named.items() if parameter.requires_grad}
    assert trained == {name for name in named if ".lora_" in name}
    assert len(trained) == 2 * 2 * 7, "two matrices beside each of 7 linear layers of 2 blocks"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_exported_model_is_the_trained_one_without_adapters(folder: Path, tmp_path: Path, dtype: str) -> None:
    opened = learned(folder, dtype=dtype)
    opened.export(tmp_path / "out")
    weights, before = (load_file(place / "model.safetensors") for place in (tmp_path / "out", folder))
    assert weights.keys() == before.keys()
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in (tmp_path / "out").iterdir())
    moved = {name for name in weights if not torch.equal(weights[name], before[name])}
    kept = weights.keys() - moved
    assert any("q_proj.weight" in name for name in moved)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    if dtype == "float32":
        assert all("proj.weight" in name for name in moved)
        assert any("norm" in name for name in kept)
        again = policy().open(tmp_path / "out", trainable=False)
        assert apart(opened.logprobs(sequences()), again.logprobs(sequences())) < 1e-5
        assert apart(opened.logprobs(sequences()), policy().open(folder, trainable=False).logprobs(sequences())) > 1e-2
        given = {name: tensor.clone() for name, tensor in opened.weights()}
        assert given.keys() == weights.keys()
        for name, tensor in given.items():
            torch.testing.assert_close(tensor, weights[name], atol=1e-6, rtol=1e-6)


def test_what_is_saved_is_small_and_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    opened = learned(folder)
    opened.save(tmp_path / "state")
    saved = load_file(tmp_path / "state" / "weights.safetensors")
    assert all(".lora_" in name for name in saved)
    again = policy(lora=LORA).open(folder, trainable=True)
    again.restore(tmp_path / "state")
    for each, name in ((opened, "a"), (again, "b")):
        each.update(sequences(), Reinforce(), lr=1e-2)
        each.export(tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_half_precision_keeps_the_weights_in_half_and_adapters_in_full(folder: Path) -> None:
    opened = learned(folder, dtype="bfloat16")
    kinds = {(".lora_" in name, p.dtype) for name, p in opened.module().named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_recomputed_activations_change_no_step(folder: Path) -> None:
    plain, saving = learned(folder), learned(folder, gradient_checkpointing=True)
    assert apart(plain.logprobs(sequences()), saving.logprobs(sequences())) < 1e-5


def test_a_score_head_is_trained_with_the_adapters(folder: Path, tmp_path: Path) -> None:
    class Higher:
        reads = frozenset({"score"})

        def __call__(self, view: Any) -> torch.Tensor:
            return -view.score

    opened = policy(lora=LORA).open(folder, trainable=True, head="score")
    for _ in range(3):
        opened.update(sequences(), Higher(), lr=1e-2)
    assert opened.module().score.weight.abs().max() > 0
    opened.export(tmp_path / "out")
    again = policy().open(tmp_path / "out", trainable=False, head="score")
    assert apart(opened.values(sequences()), again.values(sequences())) < 1e-5
    moved = load_file(tmp_path / "out" / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    assert not torch.equal(moved, load_file(folder / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"])


def test_the_module_samples_as_it_was_trained(folder: Path, tmp_path: Path) -> None:
    opened = learned(folder)
    opened.export(tmp_path / "out")
    requests = [
        SampleRequest(
            problem=Problem(id="a"), prompt_ids=np.array([8, 9]), keys=(1, 2), samples=(0, 1), max_new_tokens=6
        )
    ]
    found = []
    for each in (opened, policy().open(tmp_path / "out", trainable=False)):
        sampler = NativeSampler(NativeSampler.Config())
        sampler.sync(each)
        rollouts = sorted(sampler.generate(requests), key=lambda rollout: rollout.sample)
        found.append([rollout.completion_ids.tolist() for rollout in rollouts])
    assert found[0] == found[1]


def test_targets_choose_layers_and_slips_are_named(folder: Path) -> None:
    opened = policy(lora={**LORA, "targets": ["q_proj"]}).open(folder, trainable=True)
    adapted = {name.split(".lora_")[0] for name, _ in opened.module().named_parameters() if ".lora_" in name}
    assert {name.rpartition(".")[2] for name in adapted} == {"q_proj"}
    with pytest.raises(RecipeError, match="q_prj") as caught:
        policy(lora={**LORA, "targets": ["q_prj"]}).open(folder, trainable=True)
    assert "down_proj" in caught.value.fix
    with pytest.raises(RecipeError, match="no linear layer"):
        policy(lora={**LORA, "targets": ["embed_tokens"]}).open(folder, trainable=True)


def test_a_reference_has_no_adapters_and_stays(folder: Path) -> None:
    opened = learned(folder)
    reference = opened.frozen(folder)
    assert not [name for name, _ in reference.module().named_parameters() if ".lora_" in name]
    before = reference.logprobs(sequences())
    opened.update(sequences(), Constant(1.0), lr=1e-2)
    assert apart(before, reference.logprobs(sequences())) == 0.0
