"""A policy with a score head: where it comes from, what it says, and that the library reads the same of its folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_transformers_policy import digests, make, policy, sequences, weights
from transformers import AutoModelForSequenceClassification

from r1core.errors import SetupError
from r1core.types import TrainSequence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def scorer(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose head says something."""
    opened = policy().open(folder, trainable=True, head="score")
    opened.update(sequences(), Raise(), lr=1e-2)
    opened.update(sequences(), Raise(), lr=1e-2)
    path = tmp_path_factory.mktemp("scorer")
    opened.export(path)
    return path


class Raise:
    """Scores go where `advantage` is greater than 0, times a factor."""

    reads = frozenset({"score"})

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __call__(self, view: Any) -> torch.Tensor:
        return -view.columns["advantage"] * view.score * self.factor


class NotFinite(Raise):
    """A finite loss whose gradient is not."""

    def __call__(self, view: Any) -> torch.Tensor:
        return (view.score - view.score.detach()).abs().sqrt()


def at_the_end(*lengths: int) -> list[TrainSequence]:
    """Sequences whose last real token is scored: one more follows it, the only one that counts."""
    random = np.random.default_rng(1)
    ids = [np.append(random.integers(8, 40, n - 1), 1) for n in lengths]
    return [TrainSequence(ids=np.append(i, i[-1]), start=len(i), columns={}) for i in ids]


def test_a_new_head_has_no_opinion_and_learns_one(folder: Path) -> None:
    opened = policy().open(folder, trainable=True, head="score")
    assert [found.tolist() for found in opened.values(at_the_end(5, 9))] == [[0.0], [0.0]]
    losses = [opened.update(sequences(), Raise(), lr=1e-2)["loss"] for _ in range(4)]
    assert losses[0] == 0.0
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < -0.1


def test_the_library_reads_the_same_scores_from_the_folder(scorer: Path) -> None:
    asked = at_the_end(4, 17, 9)
    found = np.concatenate(policy(micro_batch_tokens=20).open(scorer, trainable=False, head="score").values(asked))
    theirs = AutoModelForSequenceClassification.from_pretrained(scorer)
    config = json.loads((scorer / "config.json").read_text())
    assert (theirs.num_labels, config["pad_token_id"], config["architectures"]) == (
        1,
        0,
        ["Qwen2ForSequenceClassification"],
    )
    padded = np.zeros((3, 17), dtype=np.int64)
    for row, sequence in zip(padded, asked, strict=True):
        row[: sequence.start] = sequence.ids[:-1]
    ids = torch.from_numpy(padded)
    with torch.no_grad():
        wanted = theirs.eval()(input_ids=ids, attention_mask=(ids != 0).long()).logits[:, 0]
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    assert found.std() > 1e-3


def test_an_exported_head_is_the_same_head(scorer: Path, tmp_path: Path) -> None:
    opened = policy().open(scorer, trainable=True, head="score")
    opened.export(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(scorer)
    assert opened.frozen(tmp_path / "again").values(at_the_end(6))[0] == opened.values(at_the_end(6))[0] != 0


@pytest.mark.parametrize("updates", [0, 2])
def test_a_restored_score_model_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path, updates: int) -> None:
    whole = policy().open(folder, trainable=True, head="score")
    for _ in range(updates):
        whole.update(sequences(), Raise(), lr=1e-2)
    whole.save(tmp_path / "saved")
    restored = policy().open(folder, trainable=True, head="score")
    restored.restore(tmp_path / "saved")
    for each, name in ((whole, "a"), (restored, "b")):
        each.update(sequences(), Raise(), lr=1e-2)
        each.export(tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_step_does_not_depend_on_its_split(scorer: Path) -> None:
    whole, split = (policy(micro_batch_tokens=n, eps=1.0).open(scorer, trainable=True, head="score") for n in (9999, 1))
    reports = [each.update(sequences(), Raise(), lr=0.1) for each in (whole, split)]
    assert reports[0] == pytest.approx(reports[1], rel=1e-4)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(split)[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("loss", [Raise(math.nan), Raise(math.inf), NotFinite()])
def test_a_step_that_is_not_finite_changes_nothing(scorer: Path, loss: Raise) -> None:
    opened = policy().open(scorer, trainable=True, head="score")
    before = weights(opened)
    assert opened.update(sequences(), loss, lr=1e-2)["skipped"] == 1.0
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(opened).items())


def test_bfloat16_scores_stay_near(scorer: Path) -> None:
    exact = np.concatenate(policy().open(scorer, trainable=False, head="score").values(sequences()))
    opened = policy(dtype="bfloat16").open(scorer, trainable=True, head="score")
    rough = np.concatenate(opened.values(sequences()))
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert rough.tolist() != exact.tolist()
    assert {tensor.dtype for tensor in weights(opened).values()} == {torch.float32}


# --- what is not what it is taken for -----------------------------------------------------------


def test_each_head_does_its_own_work(folder: Path, scorer: Path) -> None:
    with pytest.raises(SetupError, match="no score head"):
        policy().open(folder, trainable=False).values(at_the_end(5))
    with pytest.raises(SetupError, match="no next-token logits"):
        policy().open(scorer, trainable=False, head="score").logprobs(at_the_end(5))
    with pytest.raises(SetupError, match="scores answers, it cannot write any"):
        policy().open(scorer, trainable=False)


def test_a_classifier_of_two_labels_is_refused(scorer: Path, tmp_path: Path) -> None:
    two = AutoModelForSequenceClassification.from_pretrained(scorer, num_labels=2, ignore_mismatched_sizes=True)
    policy().open(scorer, trainable=False, head="score").export(tmp_path)
    two.save_pretrained(tmp_path)
    with pytest.raises(SetupError, match="2 labels, not one score"):
        policy().open(tmp_path, trainable=False, head="score")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path)
    (made / "config.json").write_text('{"model_type": "qwen99"}')
    with pytest.raises(SetupError, match="config cannot be read"):
        policy().open(made, trainable=False, head="score")
