"""A frozen policy as a live teacher: real tiny models, whose next-token distributions a loss compares in one update."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import ARCHITECTURE, write_tokenizer

from r1_plugins.transformers import TransformersPolicy
from r1core.components import Policy
from r1core.errors import SetupError
from r1core.nn import Measure, TokenView, divergence, head, on_support
from r1core.types import TrainSequence

TOKENS = 40  # of the tokenizer
LLAMA = {**ARCHITECTURE, "model_type": "llama"}
CAPPED = {**ARCHITECTURE, "model_type": "gemma2", "head_dim": 16, "final_logit_softcapping": 3.0, "sliding_window": 4}
FAMILIES = {"llama": LLAMA, "untied": {**LLAMA, "tie_word_embeddings": False}, "soft-capped": CAPPED}
REVERSE = Measure(kind="reverse")


class Distance:
    """How far the student is from its teachers; a column says whose each token is."""

    reads = frozenset({"head", "logprob"})

    def __init__(self, *teachers: Policy, measure: Measure = REVERSE) -> None:
        self.teachers = teachers
        self.measure = measure
        self.asked = 0

    def __call__(self, view: TokenView) -> torch.Tensor:
        value = torch.zeros_like(view.logprob)
        for number, teacher in enumerate(self.teachers):
            mask = view.columns["teacher"] == number
            mine = view.take(mask)
            theirs = teacher.head(mine)
            self.asked += len(theirs)
            mine.record(f"masked_{number}", theirs.masked_mass())
            value = value.masked_scatter(mask, mine.head.divergence(theirs, self.measure))
        return value


def model(folder: Path, *, seed: int, **architecture: Any) -> Path:
    folder.mkdir()
    write_tokenizer(folder)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(folder, architecture or LLAMA, seed=seed)
    return folder


def opened(folder: Path, *, trainable: bool = False, **options: Any) -> TransformersPolicy:
    return TransformersPolicy(TransformersPolicy.Config(device="cpu", **options)).open(folder, trainable=trainable)


def sequences(*teachers: int) -> list[TrainSequence]:
    """Texts of uneven lengths, each for one of the teachers; the weights are the token mean's."""
    random = np.random.default_rng(3)
    shapes = [(9, 4), (14, 1), (6, 5), (11, 3), (12, 7), (5, 0)]
    counted = sum(length - max(start, 1) for length, start in shapes)
    found = []
    for number, (length, start) in enumerate(shapes):
        columns = {
            "weight": np.full(length - start, 1 / counted),
            "teacher": np.full(length - start, (teachers or (0,))[number % max(len(teachers), 1)]),
        }
        found.append(TrainSequence(ids=random.integers(8, TOKENS, length), start=start, columns=columns))
    return found


def logits(policy: Policy, sequence: TrainSequence) -> torch.Tensor:
    """(T, V) of the whole forward, padding of the vocabulary left out."""
    ids = torch.from_numpy(sequence.ids).unsqueeze(0)
    whole: torch.Tensor = policy.module()(input_ids=ids, use_cache=False).logits[0].float()
    return whole[max(sequence.start, 1) - 1 : -1, :TOKENS]


def by_autograd(
    student: Policy, teachers: list[Policy], batch: list[TrainSequence], measure: Measure
) -> tuple[float, float]:
    """The loss and the norm of its gradient, from whole logits."""
    loss = torch.zeros(())
    for sequence in batch:
        with torch.no_grad():
            theirs = logits(teachers[int(sequence.columns["teacher"][0])], sequence)
        own = divergence(logits(student, sequence), theirs, measure)
        loss = loss + float(sequence.columns["weight"][0]) * own.sum()
    trained = [weight for weight in student.module().parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    squares = sum((gradient**2).sum() for gradient in gradients if gradient is not None)
    return loss.item(), float(torch.as_tensor(squares).sqrt())


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that every batch has many."""
    monkeypatch.setitem(head.TILE_LOGITS, "cpu", 70)
    monkeypatch.setattr(head, "TILE_TOKENS", 6)


@pytest.mark.parametrize("options", [{}, {"micro_batch_tokens": 16}, {"packing": True}, {"lora": {"rank": 4}}], ids=str)
@pytest.mark.parametrize("measure", [REVERSE, Measure(kind="jsd", beta=0.2, temperature=2.0)], ids=lambda m: m.kind)
@pytest.mark.parametrize("teacher", FAMILIES)
@pytest.mark.parametrize("student", ["llama", "untied"])
def test_an_update_goes_down_the_divergence_of_the_whole_logits(
    student: str, teacher: str, measure: Measure, options: dict[str, Any], tmp_path: Path
) -> None:
    """Student and teacher have vocabularies padded by different amounts."""
    own = opened(model(tmp_path / "s", seed=0, **FAMILIES[student], vocab_size=44), trainable=True, **options)
    frozen = own.frozen(model(tmp_path / "t", seed=1, **FAMILIES[teacher], vocab_size=53))
    batch, loss = sequences(), Distance(frozen, measure=measure)
    value, norm = by_autograd(own, [frozen], batch, measure)
    reports = [own.update(batch, loss, lr=1e-2) for _ in range(12)]
    assert reports[0]["loss"] == pytest.approx(value, rel=1e-4)
    assert reports[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert reports[-1]["loss"] < 0.9 * value
    assert 0 < reports[0]["masked_0"] < 1
    assert loss.asked == 12 * sum(len(each.ids) - max(each.start, 1) for each in batch)


def test_a_student_with_capped_logits_learns_from_its_teacher(tmp_path: Path) -> None:
    own = opened(model(tmp_path / "s", seed=0, **CAPPED), trainable=True)
    frozen = own.frozen(model(tmp_path / "t", seed=1, **LLAMA))
    value, norm = by_autograd(own, [frozen], sequences(), REVERSE)
    report = own.update(sequences(), Distance(frozen), lr=1e-2)
    assert (report["loss"], report["grad_norm"]) == pytest.approx((value, norm), rel=1e-4)


@pytest.mark.parametrize("kind", ["forward", "reverse", "jsd", "skewed_forward", "skewed_reverse", "adaptive", "tvd"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_that_is_the_student_changes_nothing(family: str, kind: Any, tmp_path: Path) -> None:
    folder = model(tmp_path / "s", seed=0, **FAMILIES[family], vocab_size=44)
    own = opened(folder, trainable=True)
    report = own.update(sequences(), Distance(own.frozen(folder), measure=Measure(kind=kind)), lr=1e-2)
    assert abs(report["loss"]) <= 1e-7
    assert report["grad_norm"] <= 1e-6  # the norm over all weights of entries of at most 1e-7


def test_each_token_learns_from_its_own_teacher(tmp_path: Path) -> None:
    """Rows of both share a micro-batch; each teacher is asked for its own tokens alone."""
    own = opened(model(tmp_path / "s", seed=0), trainable=True)
    teachers = [own.frozen(model(tmp_path / f"t{seed}", seed=seed)) for seed in (1, 2)]
    batch, loss = sequences(0, 1), Distance(*teachers)
    value, norm = by_autograd(own, list(teachers), batch, REVERSE)
    report = own.update(batch, loss, lr=1e-3)
    assert (report["loss"], report["grad_norm"]) == pytest.approx((value, norm), rel=1e-4)
    assert loss.asked == sum(len(each.ids) - max(each.start, 1) for each in batch)


def test_a_teacher_without_tokens_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = opened(model(tmp_path / "s", seed=0), trainable=True)
    teachers = [own.frozen(model(tmp_path / f"t{seed}", seed=seed)) for seed in (1, 2)]
    runs = []
    for number, teacher in enumerate(teachers):
        teacher.module().base_model.register_forward_hook(lambda *_, number=number: runs.append(number))
    assert np.isfinite(own.update(sequences(1), Distance(*teachers), lr=1e-3)["loss"])
    assert set(runs) == {1}


def test_a_teacher_in_half_precision_is_near_itself(tmp_path: Path) -> None:
    folder = model(tmp_path / "s", seed=0)
    own = opened(folder, trainable=True, dtype="bfloat16")
    same = own.update(sequences(), Distance(own.frozen(folder)), lr=1e-3)
    other = own.update(sequences(), Distance(own.frozen(model(tmp_path / "t", seed=1))), lr=1e-3)
    assert same["loss"] < 1e-3  # rounding: what is trained is float32, and rounded on the way
    assert other["loss"] > 0.1


# --- the likeliest tokens, and learning from them -----------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_likeliest_tokens_are_those_of_the_whole_forward(family: str, temperature: float, tmp_path: Path) -> None:
    """However the texts are batched; padding of the vocabulary is none of them."""
    teacher = opened(model(tmp_path / "t", seed=1, **FAMILIES[family], vocab_size=53), micro_batch_tokens=20)
    for sequence, found in zip(
        sequences(), teacher.top_logprobs(sequences(), k=5, temperature=temperature), strict=True
    ):
        ids, logprobs, own = found
        first = max(sequence.start, 1)
        with torch.no_grad():
            wanted = (logits(teacher, sequence) / temperature).log_softmax(-1)
        lead = first - sequence.start
        assert ids.dtype == np.int64
        assert logprobs.dtype == own.dtype == np.float32
        assert len(own) == len(sequence.ids) - sequence.start
        np.testing.assert_array_equal(ids[lead:], wanted.topk(5).indices)
        np.testing.assert_allclose(logprobs[lead:], wanted.topk(5).values, atol=2e-5)
        np.testing.assert_allclose(
            own[lead:], wanted.gather(1, torch.from_numpy(sequence.ids[first:, None]))[:, 0], atol=2e-5
        )
        assert (ids[:lead] == -1).all()
        assert np.isneginf(logprobs[:lead]).all()
        assert np.isnan(own[:lead]).all()


@pytest.mark.parametrize(("k", "kept"), [(0, 0), (60, TOKENS)])
def test_no_token_and_more_than_there_are_may_be_asked_for(k: int, kept: int, tmp_path: Path) -> None:
    teacher = opened(model(tmp_path / "t", seed=1))
    ids, logprobs, own = teacher.top_logprobs(sequences()[:1], k=k, temperature=1.0)[0]
    assert ids.shape == logprobs.shape == (5, k)
    assert (ids[:, kept:] == -1).all()
    assert np.isneginf(logprobs[:, kept:]).all()
    np.testing.assert_allclose(np.exp(logprobs[:, :kept].astype(np.float64)).sum(1), float(kept > 0), atol=1e-5)
    np.testing.assert_allclose(own, teacher.logprobs(sequences()[:1])[0], atol=1e-5)


class Cached:
    """A divergence on tokens that columns bring."""

    reads = frozenset({"head"})

    def __init__(self, measure: Measure) -> None:
        self.measure = measure

    def __call__(self, view: TokenView) -> torch.Tensor:
        ids, theirs = view.columns["top_ids"], view.columns["top_logprobs"]
        assert ids.dtype == torch.int64
        own = view.head.logprobs_at(ids, self.measure.temperature)
        return on_support(own, theirs, ids >= 0, self.measure)


def test_what_was_cached_teaches_as_its_live_teacher_does(tmp_path: Path) -> None:
    """One step each, from the same start: the same loss and gradient, on the teacher's five likeliest tokens."""
    folder, steps = model(tmp_path / "s", seed=0), []
    measure = Measure(kind="forward", support="teacher", top_k=5, temperature=1.5)
    teacher = opened(model(tmp_path / "t", seed=1))
    said = teacher.top_logprobs(sequences(), k=5, temperature=1.5)
    cached = [
        TrainSequence(
            ids=each.ids, start=each.start, columns={**each.columns, "top_ids": ids, "top_logprobs": logprobs}
        )
        for each, (ids, logprobs, _) in zip(sequences(), said, strict=True)
    ]
    for batch, loss in ((sequences(), Distance(teacher, measure=measure)), (cached, Cached(measure))):
        steps.append(opened(folder, trainable=True).update(batch, loss, lr=1e-3))
    assert steps[0]["loss"] > 0.1
    for name in ("loss", "grad_norm"):
        assert steps[0][name] == pytest.approx(steps[1][name], rel=1e-5)


# --- what is refused ----------------------------------------------------------------------------------------


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    own = opened(model(tmp_path / "s", seed=0), trainable=True)
    folder = model(tmp_path / "t", seed=1, **LLAMA, vocab_size=50)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(text.replace('"w31": 39', '"w31": 39, "w32": 40'), encoding="utf-8")
    with pytest.raises(SetupError, match="vocabulary has 40 tokens, the teacher's 41"):
        own.update(sequences(), Distance(own.frozen(folder)), lr=1e-3)


def test_a_score_head_tells_no_tokens(tmp_path: Path) -> None:
    config = TransformersPolicy.Config(device="cpu")
    scores = TransformersPolicy(config).open(model(tmp_path / "m", seed=0), trainable=False, head="score")
    with pytest.raises(SetupError, match="no next-token logits"):
        scores.top_logprobs(sequences(), k=2, temperature=1.0)
    own = opened(model(tmp_path / "s", seed=0), trainable=True)
    with pytest.raises(SetupError, match="no next-token logits"):
        own.update(sequences(), Distance(scores), lr=1e-3)


def test_a_loss_must_declare_that_it_reads_the_head(tmp_path: Path) -> None:
    loss = Distance(opened(model(tmp_path / "t", seed=1)))
    loss.reads = frozenset({"logprob"})
    with pytest.raises(KeyError, match="reads 'head' but does not declare it"):
        opened(model(tmp_path / "s", seed=0), trainable=True).update(sequences(), loss, lr=1e-3)
