"""The transformers policy: text in and out, exact folders, and steps that do not depend on how they are split."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_model import ARCHITECTURE, TEMPLATE, write_tokenizer

from r1_plugins.transformers import TransformersPolicy
from r1core.errors import RecipeError, SetupError
from r1core.types import TrainSequence

USER = ({"role": "user", "content": "w1 w2"},)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("model"))


def make(folder: Path, *, seed: int = 0, template: str = TEMPLATE) -> Path:
    write_tokenizer(folder, template=template)
    policy().create(folder, ARCHITECTURE, seed=seed)
    return folder


def policy(**options: Any) -> TransformersPolicy:
    return TransformersPolicy(TransformersPolicy.Config(device="cpu", **options))


def sequences(count: int = 12) -> list[TrainSequence]:
    random = np.random.default_rng(0)
    lengths = random.integers(4, 30, count)
    starts = [int(random.integers(0, length - 1)) for length in lengths]
    total = sum(int(length) - max(start, 1) for length, start in zip(lengths, starts, strict=True))
    return [
        TrainSequence(
            ids=random.integers(8, 40, length),
            start=start,
            columns={"weight": np.full(length - start, 1 / total), "advantage": random.normal(size=length - start)},
        )
        for length, start in zip(lengths, starts, strict=True)
    ]


class Reinforce:
    reads = frozenset({"logprob", "entropy"})

    def __call__(self, view: Any) -> torch.Tensor:
        view.record("entropy", view.entropy)
        return -view.columns["advantage"] * view.logprob - 0.1 * view.entropy


class Constant:
    """A loss whose value and gradient are this factor's."""

    reads = frozenset({"logprob"})

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, view: Any) -> torch.Tensor:
        return -view.logprob * self.factor


class OneMicroBatch(Constant):
    """Sound, but for the second micro-batch of every update of two or more."""

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.calls = 0

    def __call__(self, view: Any) -> torch.Tensor:
        self.calls += 1
        return -view.logprob * (self.factor if self.calls == 2 else 1.0)


class OnlyTheGradient(Constant):
    """A finite loss whose gradient is not: the square root at nought."""

    def __call__(self, view: Any) -> torch.Tensor:
        return (view.logprob - view.logprob.detach()).abs().sqrt()


def weights(opened: TransformersPolicy) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in opened.module().state_dict().items()}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# --- text -------------------------------------------------------------------------------------


def test_a_prompt_goes_through_the_chat_template(folder: Path) -> None:
    opened = policy().open(folder, trainable=False)
    assert opened.prompt_ids(USER).tolist() == [2, 9, 10, 3]
    assert opened.prefilled(USER) == ""


@pytest.mark.parametrize("opening", ["<think>", "<think>\n"])
def test_what_the_template_opens_is_prefilled(tmp_path: Path, opening: str) -> None:
    template = TEMPLATE.replace("<|assistant|>", f"<|assistant|> {opening}")
    opened = policy().open(make(tmp_path, template=template), trainable=False)
    assert opened.prompt_ids(USER).tolist() == [2, 9, 10, 3, 4]
    assert opened.prefilled(USER) == opening


def test_the_start_of_an_answer_is_gone_on_from(folder: Path) -> None:
    opened = policy().open(folder, trainable=False)
    messages = (*USER, {"role": "assistant", "content": "<think> w5"})
    assert opened.prompt_ids(messages).tolist() == [2, 9, 10, 3, 4, 13]
    assert opened.prefilled(messages) == "<think> w5"


def test_a_template_that_rewrites_the_start_is_refused(tmp_path: Path) -> None:
    template = TEMPLATE.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
    opened = policy().open(make(tmp_path, template=template), trainable=False)
    with pytest.raises(SetupError, match="rewrites the start"):
        opened.prefilled((*USER, {"role": "assistant", "content": "<think> w5 </think> w6"}))


def test_a_completion_ends_and_comes_back_without_its_end(folder: Path) -> None:
    opened = policy().open(folder, trainable=False)
    text = "<think> w1 </think> <answer> w2 </answer>"
    ids = opened.completion_ids(text)
    assert ids.tolist() == [4, 9, 5, 6, 10, 7, 1]
    assert opened.decode(ids) == opened.decode(np.append(ids, [0, 0])) == text


def test_documents_are_encoded_as_they_stand(folder: Path) -> None:
    opened = policy().open(folder, trainable=False)
    assert [ids.tolist() for ids in opened.document_ids(["<|user|> w1", "w2 <|end|>"])] == [[2, 9], [10, 1]]
    assert opened.document_ids([]) == []


# --- folders ----------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_bytes_and_leaves_the_random_state(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    before = torch.random.get_rng_state()
    one, two, other = (make(tmp_path / name, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert torch.equal(before, torch.random.get_rng_state())
    assert digests(one) == digests(two)
    assert digests(one)["model.safetensors"] != digests(other)["model.safetensors"]
    assert json.loads((one / "config.json").read_text())["vocab_size"] == 40


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    with pytest.raises(RecipeError, match="vocab_size is 10"):
        policy().create(tmp_path, {**ARCHITECTURE, "vocab_size": 10}, seed=0)


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    with pytest.raises(RecipeError, match="qwen99"):
        policy().create(tmp_path, {**ARCHITECTURE, "model_type": "qwen99"}, seed=0)


def test_an_exported_model_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    opened = policy().open(folder, trainable=True)
    opened.update(sequences(), Reinforce(), lr=1e-2)
    opened.export(tmp_path / "out")
    again = policy().open(tmp_path / "out", trainable=False)
    for ours, theirs in zip(opened.logprobs(sequences()), again.logprobs(sequences()), strict=True):
        assert ours.tolist() == theirs.tolist()
    source, copy = digests(folder), digests(tmp_path / "out")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert source[name] == copy[name]
    assert sorted(copy) == sorted(source)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_those_of_the_exported_folder(folder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """Under their names there, the tied head once, in the format that the policy computes in."""
    opened = policy(dtype=str(dtype).removeprefix("torch.")).open(folder, trainable=True)
    opened.update(sequences(), Reinforce(), lr=1e-2)
    opened.export(tmp_path / "out")
    exported, given = load_file(tmp_path / "out" / "model.safetensors"), dict(opened.weights())
    assert given.keys() == exported.keys()
    assert all(torch.equal(given[name], weight.to(dtype)) for name, weight in exported.items())


def test_all_end_tokens_are_kept_and_exported(folder: Path, tmp_path: Path) -> None:
    policy().open(folder, trainable=False).export(tmp_path)
    config = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [20]}))
    opened = policy().open(tmp_path, trainable=False)
    opened.export(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == [1, 20]
    assert opened.decode(np.array([9, 20])) == "w1"


def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path) -> None:
    policy().open(folder, trainable=False).export(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SetupError, match=r"no \*\.safetensors"):
        policy().open(tmp_path, trainable=False)
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    with pytest.raises(SetupError, match=r"pickles \(pytorch_model.bin\)"):
        policy().open(tmp_path, trainable=False)


@pytest.mark.filterwarnings("ignore")
def test_missing_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    policy().open(folder, trainable=False).export(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SetupError, match=r"model\.norm\.weight"):
        policy().open(tmp_path, trainable=False)


# --- numbers ----------------------------------------------------------------------------------


def test_logprobs_align_with_the_columns(folder: Path) -> None:
    opened = policy(micro_batch_tokens=64).open(folder, trainable=False)
    data = sequences()
    for sequence, found in zip(data, opened.logprobs(data), strict=True):
        ids = torch.from_numpy(sequence.ids)
        with torch.no_grad():
            logs = torch.log_softmax(opened.module()(ids[None]).logits[0], dim=-1)
        wanted = np.append(0.0, logs[:-1].gather(1, ids[1:, None]).squeeze(1).numpy())[sequence.start :]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert len(found) == len(sequence.columns["weight"])


def step(folder: Path, data: list[TrainSequence], micro_batch_tokens: int) -> tuple[dict[str, float], Any]:
    opened = policy(micro_batch_tokens=micro_batch_tokens, eps=1.0).open(folder, trainable=True)
    report = opened.update(data, Reinforce(), lr=0.1)
    return report, weights(opened)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(1, 300), order=st.permutations(range(12)))
def test_a_step_does_not_depend_on_its_split_or_order(folder: Path, budget: int, order: list[int]) -> None:
    whole, whole_weights = step(folder, sequences(), 100_000)
    split, split_weights = step(folder, [sequences()[place] for place in order], budget)
    assert split == pytest.approx(whole, rel=1e-4)
    for name, tensor in whole_weights.items():
        torch.testing.assert_close(split_weights[name], tensor, atol=1e-4, rtol=1e-4)


def test_updates_lower_the_loss_and_report_means(folder: Path) -> None:
    opened = policy().open(folder, trainable=True)
    reports = [opened.update(sequences(), Constant(1.0), lr=1e-2) for _ in range(8)]
    assert reports[-1]["loss"] < reports[0]["loss"] - 0.3
    assert math.isclose(reports[0]["loss"], -np.mean(np.concatenate(counted(folder))), rel_tol=1e-4)
    entropy = opened.update(sequences(), Reinforce(), lr=0.0)["entropy"]
    assert 0 < entropy < math.log(40)


def counted(folder: Path) -> list[np.ndarray]:
    """Log-probabilities of the tokens that have a predictor."""
    logprobs = policy().open(folder, trainable=False).logprobs(sequences())
    return [found[1:] if data.start == 0 else found for data, found in zip(sequences(), logprobs, strict=True)]


def test_a_gradient_is_scaled_down_to_the_norm(folder: Path) -> None:
    small, large = (policy(eps=1.0, max_grad_norm=0.5).open(folder, trainable=True) for _ in range(2))
    one, other = (p.update(sequences(), Constant(f), lr=0.1) for p, f in ((small, 10.0), (large, 1000.0)))
    assert other["grad_norm"] == pytest.approx(100 * one["grad_norm"], rel=1e-3)
    for name, tensor in weights(small).items():
        torch.testing.assert_close(weights(large)[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [Constant, OneMicroBatch, OnlyTheGradient])
def test_a_step_that_is_not_finite_changes_nothing(folder: Path, kind: type[Constant], factor: float) -> None:
    broken, sound = (policy(micro_batch_tokens=100).open(folder, trainable=True) for _ in range(2))
    for each in (broken, sound):
        each.update(sequences(), Constant(1.0), lr=1e-2)
    before, loss = weights(broken), kind(factor)
    report = broken.update(sequences(), loss, lr=1e-2)
    assert report["skipped"] == 1.0
    assert math.isfinite(report["loss"]) == (kind is OnlyTheGradient)
    if isinstance(loss, OneMicroBatch):
        assert loss.calls > 2
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(broken).items())
    for each in (broken, sound):
        report = each.update(sequences(), Constant(1.0), lr=1e-2)
    assert "skipped" not in report
    assert all(torch.equal(weights(sound)[name], tensor) for name, tensor in weights(broken).items())


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_a_restored_policy_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path, updates: int) -> None:
    whole = policy(weight_decay=0.1).open(folder, trainable=True)
    for _ in range(updates):
        whole.update(sequences(), Reinforce(), lr=1e-2)
    whole.save(tmp_path / "saved")
    restored = policy(weight_decay=0.1).open(folder, trainable=True)
    restored.restore(tmp_path / "saved")
    for each, name in ((whole, "a"), (restored, "b")):
        for lr in (1e-2, 3e-3):
            each.update(sequences(), Reinforce(), lr=lr)
        each.save(tmp_path / f"saved_{name}")
        each.export(tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "saved_a") == digests(tmp_path / "saved_b")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "weights.safetensors",
        *(["optimizer.safetensors"] if updates else []),
    }


def test_full_precision_is_kept_however_the_forward_pass_runs(folder: Path, tmp_path: Path) -> None:
    opened = policy(dtype="bfloat16").open(folder, trainable=True)
    opened.update(sequences(), Constant(1.0), lr=1e-4)
    opened.save(tmp_path)
    restored = policy(dtype="bfloat16").open(folder, trainable=True)
    restored.restore(tmp_path)
    assert {tensor.dtype for tensor in weights(restored).values()} == {torch.float32}
    assert all(torch.equal(weights(opened)[name], tensor) for name, tensor in weights(restored).items())


def test_the_state_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_tokenizer(other)
    policy().create(other, {**ARCHITECTURE, "num_hidden_layers": 1}, seed=0)
    policy().open(other, trainable=True).save(tmp_path / "saved")
    with pytest.raises(SetupError, match="another model's"):
        policy().open(folder, trainable=True).restore(tmp_path / "saved")


def test_training_again_gives_identical_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        opened = policy(micro_batch_tokens=100).open(folder, trainable=True)
        for _ in range(3):
            opened.update(sequences(), Reinforce(), lr=1e-2)
        opened.export(tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_frozen_policy_is_apart_and_cannot_be_trained(folder: Path) -> None:
    opened = policy().open(folder, trainable=True)
    reference = opened.frozen(folder)
    before = reference.logprobs(sequences())[0].tolist()
    opened.update(sequences(), Constant(1.0), lr=1e-2)
    assert reference.logprobs(sequences())[0].tolist() == before
    with pytest.raises(SetupError, match="frozen"):
        reference.update(sequences(), Constant(1.0), lr=1e-2)


def test_bfloat16_trains_float32_weights_and_stays_near(folder: Path) -> None:
    opened = policy(dtype="bfloat16").open(folder, trainable=True)
    exact = policy().open(folder, trainable=False).logprobs(sequences())
    for found, wanted in zip(opened.logprobs(sequences()), exact, strict=True):
        np.testing.assert_allclose(found, wanted, atol=0.15)
    assert np.concatenate(opened.logprobs(sequences())).tolist() != np.concatenate(exact).tolist()
    report = opened.update(sequences(), Constant(1.0), lr=1e-2)
    assert math.isfinite(report["loss"])
    assert {tensor.dtype for tensor in weights(opened).values()} == {torch.float32}


def test_weights_column_decides_each_tokens_share(folder: Path) -> None:
    data = sequences()
    doubled = [replace(s, columns={**s.columns, "weight": 2 * s.columns["weight"]}) for s in data]

    def ask(given: list[TrainSequence]) -> float:
        return policy().open(folder, trainable=True).update(given, Constant(1.0), lr=0.0)["loss"]

    assert ask(doubled) == pytest.approx(2 * ask(data), rel=1e-5)


def test_the_component_imports_without_torch() -> None:
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys, r1_plugins.transformers, r1_plugins.native; assert not {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unopened_policy_says_so() -> None:
    with pytest.raises(SetupError, match="no model is open"):
        policy().prompt_ids(USER)
