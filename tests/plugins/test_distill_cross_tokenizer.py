"""A teacher with another tokenizer: the same text, compared where both tokenizations meet. Real tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_model import ARCHITECTURE, TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from toy_distill import Class, train
from transformers import PreTrainedTokenizerFast

from r1_plugins.distill import Distill
from r1_plugins.distill.cross_tokenizer import TEXT, THEIRS, FromOtherTokens, Translation
from r1_plugins.transformers import TransformersPolicy
from r1core.batching import weighted
from r1core.errors import RecipeError
from r1core.nn import Measure, TokenView, on_support
from r1core.types import Message, Problem, TrainSequence

LLAMA = {**ARCHITECTURE, "model_type": "llama"}
SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>", "<think>", "</think>"]
TEXTS = ["<think>3 + 9 is 12</think>the sum is 12", "then all of them: größer als π", "the answer is 144 🙂"]
ASKED: list[Message] = [{"role": "user", "content": "the sum?"}]
MEASURE = Measure(kind="forward", support="teacher", top_k=8)


def write_bpe(folder: Path, size: int, *, template: str = TEMPLATE) -> None:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    learned = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
    )
    core.train_from_iterator(TEXTS, learned)
    kind: Any = PreTrainedTokenizerFast
    found = kind(tokenizer_object=core, eos_token="<|end|>", pad_token="<pad>")
    found.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    found.chat_template = template
    found.save_pretrained(folder)


def model(folder: Path, *, size: int, seed: int, template: str = TEMPLATE) -> Path:
    folder.mkdir()
    write_bpe(folder, size, template=template)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(folder, LLAMA, seed=seed)
    return folder


def opened(folder: Path, *, trainable: bool = False) -> TransformersPolicy:
    return TransformersPolicy(TransformersPolicy.Config(device="cpu")).open(folder, trainable=trainable)


def renumbered(source: Path, folder: Path) -> Path:
    """The same model whose tokens, but the special ones, have other numbers."""
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    rest = [number for number in vocabulary.values() if number >= len(SPECIAL)]
    moved = dict(zip(rest, np.random.default_rng(0).permutation(rest).tolist(), strict=True))
    tokenizer["model"]["vocab"] = {token: moved.get(number, number) for token, number in vocabulary.items()}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    weights = load_file(source / "model.safetensors")
    before = weights["model.embed_tokens.weight"]
    after = before.clone()
    for old, new in moved.items():
        after[new] = before[old]
    save_file({**weights, "model.embed_tokens.weight": after}, folder / "model.safetensors", {"format": "pt"})
    return folder


def batch(policy: TransformersPolicy, *, cut: int = 0) -> list[TrainSequence]:
    """The texts as the student's answers, each its last `cut` tokens shorter."""
    prompt, found = policy.prompt_ids(ASKED), []
    for text in TEXTS:
        answer = policy.completion_ids(text)
        ids = np.concatenate([prompt, answer[: len(answer) - cut]])
        found.append(TrainSequence(ids=ids, start=len(prompt), columns={}))
    return found


def translated(translation: Translation, sequences: list[TrainSequence]) -> list[TrainSequence]:
    """With columns, and weights: each token with a partner counts the same."""
    found = [translation.add(ASKED, sequence) for sequence in sequences]
    partners = sum(int((each.columns[THEIRS] >= 0).sum()) for each in found)
    return [
        replace(each, columns={**each.columns, "weight": (each.columns[THEIRS] >= 0) / max(partners, 1)})
        for each in found
    ]


How = Literal["aligned", "uld"]


@pytest.mark.parametrize("how", ["aligned", "uld"])
def test_a_student_that_only_numbers_its_tokens_otherwise_has_nothing_to_learn(how: How, tmp_path: Path) -> None:
    teacher = opened(source := model(tmp_path / "t", size=300, seed=1))
    student = opened(renumbered(source, tmp_path / "s"), trainable=True)
    translation = Translation(student, teacher)
    assert 0 < (translation.table == np.arange(len(translation.table))).sum() < 30, "the numbers are others"
    learned = translated(translation, batch(student))
    assert all((each.columns[THEIRS] >= 0).all() for each in learned)
    report = student.update(learned, FromOtherTokens("live", translation, how, MEASURE), lr=1e-3)
    assert report["loss"] == pytest.approx(0.0, abs=1e-5)  # its softmax adds up in another order
    if how == "aligned":
        assert report["grad_norm"] < 1e-4
        assert 0 < report["live/matched_mass"] < 1


class SameTokens:
    """The ordinary way, for one tokenizer."""

    reads = frozenset({"head"})

    def __init__(self, teacher: TransformersPolicy) -> None:
        self.teacher = teacher

    def __call__(self, view: TokenView) -> torch.Tensor:
        ids, logprobs = self.teacher.head(view).likeliest(MEASURE.top_k)
        return on_support(view.head.logprobs_at(ids), logprobs, ids >= 0, MEASURE)


def test_with_one_tokenizer_it_is_the_ordinary_divergence(tmp_path: Path) -> None:
    folder = model(tmp_path / "s", size=300, seed=0)
    teacher, reports = opened(model(tmp_path / "t", size=300, seed=1)), []
    for crossed in (True, False):
        student = opened(folder, trainable=True)
        translation = Translation(student, teacher)
        learned = translated(translation, batch(student)) if crossed else weighted(batch(student), "token_mean")
        loss: Any = FromOtherTokens("live", translation, "aligned", MEASURE) if crossed else SameTokens(teacher)
        reports.append(student.update(learned, loss, lr=1e-3))
    for name in ("loss", "grad_norm"):
        assert reports[0][name] == pytest.approx(reports[1][name], rel=1e-5)
    assert reports[0]["loss"] > 0.1


@pytest.mark.parametrize("how", ["aligned", "uld"])
@pytest.mark.parametrize("sizes", [(280, 340), (340, 280)], ids=str)
def test_a_student_comes_nearer_to_a_teacher_with_other_tokens(
    sizes: tuple[int, int], how: How, tmp_path: Path
) -> None:
    student = opened(model(tmp_path / "s", size=sizes[0], seed=0), trainable=True)
    translation = Translation(student, opened(model(tmp_path / "t", size=sizes[1], seed=1)))
    learned = translated(translation, batch(student))
    loss = FromOtherTokens("live", translation, how, MEASURE)
    reports = [student.update(learned, loss, lr=3e-3) for _ in range(15)]
    assert reports[-1]["loss"] < 0.8 * reports[0]["loss"]
    alone = [(each.columns[THEIRS] < 0).any() for each in learned]
    assert any(alone) == (sizes[0] < sizes[1]), "the student's shorter tokens begin inside the teacher's"


def test_partners_follow_the_same_text(tmp_path: Path) -> None:
    """Of each pair both prefixes decode to the same bytes; the teacher's prompt is its own."""
    student = opened(model(tmp_path / "s", size=280, seed=0))
    teacher = opened(model(tmp_path / "t", size=340, seed=1))
    translation, checked = Translation(student, teacher), 0
    for sequence in batch(student):
        found = translation.add(ASKED, sequence)
        theirs = translation.texts[int(found.columns[TEXT][0])]
        np.testing.assert_array_equal(theirs.ids[: theirs.start], teacher.prompt_ids(ASKED))
        for own, other in enumerate(found.columns[THEIRS]):
            if other >= 0:
                sides = ((student, sequence, own), (teacher, theirs, int(other)))
                before = [b"".join(p.pieces[n] for n in s.ids[s.start : s.start + at]) for p, s, at in sides]
                assert before[0] == before[1]
                checked += 1
        assert found.columns[THEIRS][-1] == len(theirs.ids) - theirs.start - 1, "both say whether the answer ends"
    assert checked > 20


def test_an_answer_that_was_cut_is_not_ended_for_the_teacher(tmp_path: Path) -> None:
    student, teacher = (opened(model(tmp_path / name, size=300, seed=0)) for name in "st")
    translation = Translation(student, teacher)
    for sequence in batch(student, cut=2)[:2]:
        translation.add(ASKED, sequence)
        np.testing.assert_array_equal(translation.texts[-1].ids, sequence.ids)


@pytest.mark.parametrize("opens", ["student", "teacher"])
def test_a_template_that_opens_the_thinking_is_part_of_the_text(opens: str, tmp_path: Path) -> None:
    """One prompt ends in "<think>", the other model writes it: the same text, as long as the answer begins with it."""
    opening = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
    templates: Callable[[str], str] = lambda name: opening if name == opens else TEMPLATE  # noqa: E731
    student, teacher = (
        opened(model(tmp_path / name, size=300, seed=0, template=templates(name))) for name in ("student", "teacher")
    )
    translation, prompt = Translation(student, teacher), student.prompt_ids(ASKED)
    text = TEXTS[0].removeprefix("<think>") if opens == "student" else TEXTS[0]
    ids = np.concatenate([prompt, student.completion_ids(text)])
    found = translation.add(ASKED, TrainSequence(ids=ids, start=len(prompt), columns={}))
    lead = int(opens == "teacher")
    assert (found.columns[THEIRS][:lead] == -1).all(), "the teacher is not asked for what its prompt has"
    np.testing.assert_array_equal(found.columns[THEIRS][lead:], np.arange(len(found.columns[THEIRS]) - lead) + 1 - lead)


def test_an_answer_that_the_teachers_template_would_begin_otherwise_has_no_partners(tmp_path: Path) -> None:
    opening = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
    student = opened(model(tmp_path / "s", size=300, seed=0), trainable=True)
    translation = Translation(student, opened(model(tmp_path / "t", size=300, seed=0, template=opening)))
    learned = translated(translation, batch(student)[1:])
    assert all((each.columns[THEIRS] == -1).all() for each in learned)
    report = student.update(learned, FromOtherTokens("live", translation, "aligned", MEASURE), lr=1e-3)
    assert (report["loss"], report["grad_norm"]) == (0.0, 0.0)


# --- in the trainer -----------------------------------------------------------------------------------------

EXAMPLES = [Problem(id=f"t{n}", messages=tuple(ASKED), completion=text) for n, text in enumerate(TEXTS)]
ALIGNED = {"teacher": "teacher", "tokenizers": "aligned", "divergence": {"support": "teacher", "top_k": 8}}
ULD = {"teacher": "teacher", "tokenizers": "uld"}


@pytest.mark.parametrize("live", [ALIGNED, ULD], ids=lambda live: live["tokenizers"])
def test_a_stage_learns_from_a_teacher_with_other_tokens(live: dict[str, Any], tmp_path: Path) -> None:
    """Its loss is the mean over tokens with a partner, and it says how many have one."""
    folders = [
        model(tmp_path / name, size=size, seed=seed) for seed, (name, size) in enumerate({"s": 280, "t": 340}.items())
    ]
    context = Class(folders[0], {"teacher": folders[1]}, examples=EXAMPLES)
    steps = train(context, live={**live, "epochs": 12, "lr": 3e-3})
    student = opened(folders[0], trainable=True)
    translation = Translation(student, opened(folders[1]))
    learned = translated(translation, batch(student))
    report = student.update(learned, FromOtherTokens("live", translation, live["tokenizers"], MEASURE), lr=1e-3)
    first = steps[0].metrics
    assert first["loss"] == pytest.approx(report["loss"], rel=1e-4)
    partners = np.concatenate([each.columns[THEIRS] for each in learned]) >= 0
    assert first["live/aligned"] == pytest.approx(partners.mean())
    assert first["num_tokens"] == partners.sum() < len(partners)
    assert ("live/matched_mass" in first) == (live is ALIGNED)
    assert steps[-1].metrics["loss"] < 0.9 * first["loss"]
    assert any("tokens can be compared" in note for note in context.notes)


def test_other_tokens_are_refused_unless_they_are_asked_for(tmp_path: Path) -> None:
    folders = [model(tmp_path / name, size=size, seed=0) for name, size in {"s": 280, "t": 340}.items()]
    context = Class(folders[0], {"teacher": folders[1]}, examples=EXAMPLES)
    with pytest.raises(RecipeError, match="different tokenizers"):
        train(context, live={"teacher": "teacher"})


def test_texts_that_cannot_be_compared_anywhere_are_refused(tmp_path: Path) -> None:
    opening = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
    folders = [model(tmp_path / "s", size=300, seed=0), model(tmp_path / "t", size=300, seed=0, template=opening)]
    context = Class(folders[0], {"teacher": folders[1]}, examples=EXAMPLES[1:])
    with pytest.raises(RecipeError, match=r"of \d+ tokens none begins where one of the teacher's does"):
        train(context, live=ALIGNED)


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({**ALIGNED, "divergence": {}}, "give divergence.support: teacher"),
        ({**ALIGNED, "divergence": {"support": "student", "top_k": 4}}, "give divergence.support: teacher"),
        ({**ULD, "divergence": {"kind": "reverse"}}, "divergence.kind changes nothing with tokenizers: uld"),
        ({**ULD, "divergence": {"like": "trl"}}, "divergence.like changes nothing with tokenizers: uld"),
    ],
)
def test_options_that_change_nothing_across_tokenizers_are_refused(live: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Distill.Config.model_validate({"live": live})
