"""What each signal of distillation computes, on real models: against a direct computation, alone and together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_distill import ASKED, TRACES, Class, folder, gradient, logits, policy, train

from r1_plugins.distill.loss import Mixed
from r1core.batching import encode
from r1core.nn import Measure, TokenView, divergence
from r1core.types import Problem, Signal, Step, TrainSequence

OWN: Mapping[str, Any] = {"teacher": "teacher", "steps": 1, "prompts": 2, "samples": 4}
SAMPLED: Mapping[str, Any] = {"k": 0, "scheme": "sampled"}
MODES: Mapping[str, Mapping[str, Any]] = {
    "cached": {"cached": {"signals": "cache"}},
    "cached_jsd": {"cached": {"signals": "cache", "divergence": {"kind": "jsd", "beta": 0.1}}},
    "live": {"live": {"teacher": "teacher"}},
    "live_hot": {"live": {"teacher": "teacher", "divergence": {"kind": "forward", "temperature": 2.0, "square": True}}},
    "live_top_k": {"live": {"teacher": "teacher", "divergence": {"support": "student", "top_k": 4, "kind": "reverse"}}},
    "logprob": {"on_policy": {**OWN}},
    "full": {"on_policy": {**OWN, "signal": "full"}},
    "full_skewed": {"on_policy": {**OWN, "signal": "full", "divergence": {"kind": "skewed_reverse"}}},
    "together": {
        "cached": {"signals": "cache", "weight": 0.5},
        "live": {"teacher": "teacher", "weight": 2.0},
        "on_policy": {**OWN, "signal": "full"},
        "mix": "together",
        "lr": 1e-3,
    },
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    path = tmp_path_factory.mktemp("models")
    return {name: folder(path / name, seed=seed) for seed, name in enumerate(("student", "teacher", "other"))}


def pupil(models: Mapping[str, Path], **options: Any) -> Class:
    teachers = {name: path for name, path in models.items() if name != "student"}
    return Class(models["student"], teachers, **options)


def first(context: Class, **options: Any) -> Step:
    return next(iter(train(context, **options)))


# --- each by itself --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_teacher_equal_to_the_student_gives_no_loss_and_no_gradient(models: dict[str, Path], mode: str) -> None:
    context = Class(models["student"], {"teacher": models["student"]})
    context.cache()
    step = first(context, **MODES[mode])
    assert abs(step.metrics["loss"]) < 1e-7
    assert gradient(context).norm() < 1e-6
    if "cached" in mode or "live" in mode:
        assert step.metrics[f"{mode.partition('_')[0]}/agreement"] == pytest.approx(1.0)


@pytest.mark.parametrize("mode", MODES)
def test_another_teacher_gives_a_gradient(models: dict[str, Path], mode: str) -> None:
    context = pupil(models)
    context.cache()
    step = first(context, **MODES[mode])
    assert abs(step.metrics["loss"]) > 1e-3
    assert gradient(context).norm() > 1e-2


@pytest.mark.parametrize("kind", ["forward", "reverse", "jsd", "skewed_forward", "skewed_reverse", "adaptive", "tvd"])
def test_a_live_teacher_gives_the_divergence_over_all_tokens(models: dict[str, Path], kind: Any) -> None:
    context = pupil(models, micro_batch_tokens=24)
    student, teacher = policy().open(models["student"], trainable=False), context.models["teacher"]
    step = first(context, live={"teacher": "teacher", "divergence": {"kind": kind, "temperature": 1.5}})
    measure = Measure(kind=kind, temperature=1.5)
    wanted = torch.cat([divergence(logits(student, s), logits(teacher, s), measure) for s in texts(context)])
    assert step.metrics["loss"] == pytest.approx(wanted.mean().item(), abs=1e-6)
    assert step.metrics["num_tokens"] == len(wanted)


@pytest.mark.parametrize("k", [4, 2])
def test_a_cache_gives_the_divergence_on_its_tokens_and_one_for_the_rest(models: dict[str, Path], k: int) -> None:
    context = pupil(models)
    context.cache(k=4)
    student = policy().open(models["student"], trainable=False)
    step = first(context, cached={"signals": "cache", "divergence": {"top_k": k}})
    values, tails = [], []
    for sequence in texts(context):
        p, q = (logits(model, sequence).softmax(-1) for model in (context.models["teacher"], student))
        top = p.topk(k).indices
        p, q = (torch.cat([x.gather(1, top), 1 - x.gather(1, top).sum(1, keepdim=True)], 1) for x in (p, q))
        values.append((p * (p.log() - q.log())).sum(1))
        tails.append(p[:, -1])
    assert step.metrics["loss"] == pytest.approx(torch.cat(values).mean().item(), abs=1e-6)
    assert step.metrics["cached/tail"] == pytest.approx(torch.cat(tails).mean().item(), abs=1e-6)


def test_a_cache_of_the_whole_vocabulary_is_the_live_teacher(models: dict[str, Path]) -> None:
    heated = {"kind": "forward", "temperature": 2.0}
    live, cached = pupil(models), pupil(models)
    cached.cache(k=40, temperature=2.0)
    first(live, live={"teacher": "teacher", "divergence": heated})
    first(cached, cached={"signals": "cache"})
    assert apart(gradient(live), gradient(cached)) < 1e-5
    assert cached.loads == []


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_cache_of_own_tokens_gives_half_their_squared_log_ratio(models: dict[str, Path], temperature: float) -> None:
    context = pupil(models)
    context.cache(temperature=temperature, **SAMPLED)
    student = policy().open(models["student"], trainable=False)
    step = first(context, cached={"signals": "cache"})
    gaps = []
    for sequence in texts(context):
        own = torch.from_numpy(sequence.ids[sequence.start :, None])
        q, p = (
            (logits(model, sequence) / temperature).log_softmax(-1).gather(1, own)
            for model in (student, context.models["teacher"])
        )
        gaps.append((q - p).squeeze(1))
    gap = torch.cat(gaps)
    assert step.metrics["loss"] == pytest.approx((gap.square() / 2).mean().item(), rel=1e-5)
    assert step.metrics["cached/gap"] == pytest.approx(gap.mean().item(), abs=1e-5)
    assert any("which is no divergence" in note for note in context.notes)


def test_a_cache_of_own_tokens_brings_the_student_to_the_teachers_log_probs(models: dict[str, Path]) -> None:
    """From above and below; tokens that the teacher did not grade, or finds impossible, are left out."""
    context = pupil(models)
    cache = context.cache(**SAMPLED)
    cache.rows[0].logprobs[0], cache.rows[1].logprobs[1] = -np.inf, np.nan
    cache.rows[1].present[1] = False
    steps = train(context, cached={"signals": "cache", "epochs": 40, "lr": 3e-3})
    gaps = [step.metrics["cached/loss"] for step in steps]
    assert steps[0].metrics["cached/present"] == pytest.approx(1 - 2 / sum(len(row.present) for row in cache.rows))
    assert gaps[-1] < gaps[0] / 20


def test_a_cache_of_own_tokens_of_the_student_itself_teaches_nothing(models: dict[str, Path]) -> None:
    context = Class(models["student"], {"teacher": models["student"]})
    context.cache(**SAMPLED)
    assert abs(first(context, cached={"signals": "cache"}).metrics["loss"]) < 1e-9
    assert gradient(context).norm() < 1e-5


def test_own_tokens_share_an_update_with_likeliest_tokens(models: dict[str, Path]) -> None:
    """Columns of one signal are nothing to the other."""
    context = pupil(models)
    context.cache(**SAMPLED)
    alone = [first(context, cached={"signals": "cache"}).metrics["loss"]]
    alone += [first(pupil(models), traces={}).metrics["loss"]]
    both = pupil(models)
    both.cache(**SAMPLED)
    step = first(both, cached={"signals": "cache"}, traces={}, mix="together", lr=1e-3)
    assert step.metrics["loss"] == pytest.approx(sum(alone), rel=1e-5)


def texts(context: Class) -> list[TrainSequence]:
    return encode(context.policy, context.examples())


def apart(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left - right).norm() / right.norm())


# --- what is counted -------------------------------------------------------------------------------


def test_tokens_without_a_signal_are_left_out_of_loss_gradient_and_count(models: dict[str, Path]) -> None:
    whole, holed, short = pupil(models), pupil(models), pupil(models)
    for context in (whole, holed, short):
        context.cache()
    holed.caches["cache"].rows[3:] = [silent(row) for row in holed.caches["cache"].rows[3:]]
    del short.caches["cache"].rows[3:]
    steps = [first(context, **MODES["cached"]) for context in (whole, holed, short)]
    assert steps[1].metrics["loss"] == pytest.approx(steps[2].metrics["loss"], abs=1e-6)
    assert steps[1].metrics["cached/tail"] == pytest.approx(steps[2].metrics["cached/tail"], abs=1e-6)
    assert apart(gradient(holed), gradient(short)) < 1e-6
    assert apart(gradient(whole), gradient(short)) > 1e-2
    assert [step.metrics["num_tokens"] for step in steps] == [25, 12, 12]
    assert steps[1].metrics["cached/present"] == 12 / 25


def silent(row: Signal) -> Signal:
    nothing = {"top_ids": -np.ones_like(row.top_ids), "top_logprobs": np.full_like(row.top_logprobs, -np.inf)}
    own = {"logprobs": np.full_like(row.logprobs, np.nan), "present": np.zeros_like(row.present)}
    return Signal(ids=row.ids, start=row.start, **nothing, **own)


def test_the_end_token_is_learned_and_the_prompt_is_not(models: dict[str, Path]) -> None:
    context = pupil(models, examples=TRACES[:1])
    step = first(context, live={"teacher": "teacher"})
    assert step.metrics["num_tokens"] == len(TRACES[0].completion.split()) + 1  # type: ignore[union-attr]
    student, teacher = policy().open(models["student"], trainable=False), context.models["teacher"]
    (sequence,) = texts(context)
    each = divergence(logits(student, sequence), logits(teacher, sequence), Measure(kind="forward"))
    assert step.metrics["loss"] == pytest.approx(each.mean().item(), abs=1e-6)
    assert step.metrics["loss"] != pytest.approx(each[:-1].mean().item(), abs=1e-3)


def test_a_document_has_no_signal_for_its_first_token(models: dict[str, Path]) -> None:
    document = Problem(id="d", completion="w1 w2 w3 w4")
    for mode in ("cached", "live"):
        context = pupil(models, examples=[document])
        context.cache()
        assert first(context, **MODES[mode]).metrics["num_tokens"] == 3


def test_every_answer_counts_the_same_where_that_is_asked(models: dict[str, Path]) -> None:
    context = pupil(models)
    student, teacher = policy().open(models["student"], trainable=False), context.models["teacher"]
    step = first(context, live={"teacher": "teacher", "divergence": {"reduction": "sequence_mean"}})
    measure = Measure(kind="forward")
    means = [divergence(logits(student, s), logits(teacher, s), measure).mean().item() for s in texts(context)]
    assert step.metrics["loss"] == pytest.approx(np.mean(means), abs=1e-6)


def test_rows_beyond_the_vocabulary_count_on_neither_side(tmp_path: Path, models: dict[str, Path]) -> None:
    padded = folder(tmp_path / "padded", seed=5, vocab_size=64)
    context = Class(models["student"], {"teacher": padded})
    student, teacher = policy().open(models["student"], trainable=False), context.models["teacher"]
    step = first(context, live={"teacher": "teacher"})
    each = [(logits(student, s), logits(teacher, s)) for s in texts(context)]
    wanted = torch.cat([divergence(q, p[:, :40], Measure(kind="forward")) for q, p in each])
    lost = torch.cat([p.softmax(-1)[:, 40:].sum(1) for _, p in each])
    assert step.metrics["loss"] == pytest.approx(wanted.mean().item(), abs=1e-6)
    assert step.metrics["live/teacher_masked_mass"] == pytest.approx(lost.mean().item(), abs=1e-6)


# --- on the student's own answers ------------------------------------------------------------------


def exact_reverse_kl(context: Class) -> float:
    """KL(Q || P) of the first token of an answer."""
    (sequence,) = encode(context.policy, [Problem(id="p", messages=ASKED, completion="")])
    q, p = (logits(model, sequence)[0].log_softmax(-1) for model in (context.policy, context.models["teacher"]))
    return float((q.exp() * (q - p)).sum())


@pytest.mark.parametrize("signal", ["logprob", "full"])
def test_twenty_steps_on_its_own_answers_lower_the_reverse_kl(models: dict[str, Path], signal: str) -> None:
    context = pupil(models, length=1)
    before = exact_reverse_kl(context)
    steps = train(context, on_policy={**OWN, "steps": 20, "samples": 8, "lr": 5e-3, "signal": signal})
    assert before > 1.0
    assert exact_reverse_kl(context) < 0.3 * before
    assert len(steps) == 20


def test_the_full_signal_knows_what_the_policy_gradient_estimates(models: dict[str, Path]) -> None:
    """Over many answers of one token, the policy gradient comes near the gradient of the reverse KL, and only near."""
    full, sampled = pupil(models, length=1), pupil(models, length=1)
    first(full, on_policy={**OWN, "samples": 1, "prompts": 1, "signal": "full"})
    first(sampled, on_policy={**OWN, "samples": 2048, "prompts": 1})
    assert 1e-4 < apart(gradient(sampled), gradient(full)) < 0.3


def test_answers_of_any_temperature_may_be_learned_from_whole_distributions(models: dict[str, Path]) -> None:
    context = pupil(models, temperature=0.7)
    assert np.isfinite(first(context, **MODES["full"]).metrics["loss"])


# --- together --------------------------------------------------------------------------------------

ALL: Mapping[str, Any] = {
    "traces": {"weight": 0.3},
    "cached": {"signals": "cache", "weight": 2.0},
    "live": {"teacher": "other", "weight": 0.7, "divergence": {"kind": "jsd"}},
    "on_policy": {**OWN, "weight": 1.5},
}
"""Of each another number of tokens: a weight that was shared out over all of them would show."""


@pytest.mark.parametrize("micro_batch_tokens", [8192, 24])
def test_a_mixed_update_is_the_weighted_sum_of_the_separate_gradients(
    models: dict[str, Path], micro_batch_tokens: int
) -> None:
    mixed = pupil(models, micro_batch_tokens=micro_batch_tokens)
    mixed.cache()
    step = first(mixed, **ALL, mix="together", lr=1e-3)
    total, loss = torch.zeros_like(gradient(mixed)), 0.0
    for name, options in ALL.items():
        alone = pupil(models)
        alone.cache()
        own = first(alone, **{name: {**options, "weight": 1.0}})
        total += options["weight"] * gradient(alone)
        loss += options["weight"] * own.metrics["loss"]
        assert step.metrics[f"{name}/loss"] == pytest.approx(own.metrics["loss"], abs=1e-5)
    assert apart(gradient(mixed), total) < 1e-6
    assert step.metrics["loss"] == pytest.approx(loss, abs=1e-5)


def test_every_micro_batch_asks_every_signal(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that train together ask the same of the model and record the same, whichever signals their share has."""
    recorded: list[tuple[set[str], set[int]]] = []
    compute = Mixed.__call__

    def watched(self: Mixed, view: TokenView) -> torch.Tensor:
        loss = compute(self, view)
        recorded.append((set(view.recorded), set(view.columns["part"].tolist())))
        return loss

    monkeypatch.setattr(Mixed, "__call__", watched)
    context = pupil(models, micro_batch_tokens=8)
    context.cache()
    first(context, **ALL, mix="together", lr=1e-3)
    assert len(recorded) > 4
    assert {len(parts) for _, parts in recorded} < {1, 2, 3}
    assert len({frozenset(names) for names, _ in recorded}) == 1


@pytest.mark.parametrize("signal", ["logprob", "full"])
def test_problems_go_to_the_teacher_that_is_for_them(models: dict[str, Path], signal: str) -> None:
    """The teacher of one domain is the student itself: nothing is learned there, and all of it elsewhere."""
    context = Class(models["student"], {"same": models["student"], "other": models["other"]}, domains=("easy", "hard"))
    teachers = [{"teacher": "same", "for": {"domain": "easy"}}, {"teacher": "other"}]
    options = {"steps": 1, "prompts": 4, "samples": 2, "signal": signal}
    step = first(context, on_policy={**options, "teachers": teachers})
    name = "on_policy/{}/loss" if signal == "full" else "reverse_kl/{}"
    assert step.metrics[name.format("easy")] == pytest.approx(0.0, abs=1e-6)
    assert step.metrics[name.format("rest")] > 0.1
    hard = sum(len(r.completion_ids) for r in context.answered if r.problem.domain == "hard")
    share = hard / sum(len(r.completion_ids) for r in context.answered)
    overall = step.metrics["loss" if signal == "full" else "reverse_kl"]
    assert overall == pytest.approx(share * step.metrics[name.format("rest")], abs=1e-6)


def test_texts_go_to_the_teacher_that_is_for_them(models: dict[str, Path]) -> None:
    texts = [replace(trace, domain="easy" if n % 2 else "hard") for n, trace in enumerate(TRACES)]
    context = Class(models["student"], {"same": models["student"], "other": models["other"]}, examples=texts)
    teachers = [{"teacher": "same", "for": {"domain": "easy"}}, {"teacher": "other", "for": {"domain": "hard"}}]
    step = first(context, live={"teachers": teachers})
    assert step.metrics["live/easy/loss"] == pytest.approx(0.0, abs=1e-6)
    assert step.metrics["live/easy/agreement"] == pytest.approx(1.0)
    alone = Class(models["student"], {"other": models["other"]}, examples=texts[::2])
    assert step.metrics["live/hard/loss"] == pytest.approx(
        first(alone, live={"teacher": "other"}).metrics["loss"], abs=1e-6
    )


def test_a_teacher_that_two_signals_name_is_opened_once(models: dict[str, Path]) -> None:
    context = pupil(models)
    train(context, live={"teacher": "teacher"}, on_policy=OWN)
    assert context.loads == ["teacher"]


# --- which batches ---------------------------------------------------------------------------------


def test_signals_in_turn_come_one_after_the_other(models: dict[str, Path]) -> None:
    context = pupil(models)
    context.cache()
    steps = train(context, traces={"epochs": 2, "lr": 1e-4}, cached={"signals": "cache", "lr": 2e-4}, on_policy=OWN)
    assert [step.metrics["learning_rate"] for step in steps] == [1e-4, 1e-4, 2e-4, 1e-5]
    assert ["cached/loss" in step.metrics for step in steps] == [False, False, True, False]


def test_together_the_shorter_signal_starts_over_in_a_new_order(models: dict[str, Path]) -> None:
    context = pupil(models)
    seen: list[list[tuple[int, ...]]] = []
    update = context.policy.update

    def watched(sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        seen.append([tuple(s.ids.tolist()) for s in sequences if s.columns["part"][0] == 0])
        return update(sequences, loss, lr=lr)

    context.policy.update = watched  # type: ignore[method-assign]
    options = {"traces": {"batch_tokens": 1}, "on_policy": {**OWN, "steps": 15}}
    steps = train(context, **options, mix="together", lr=1e-4)
    assert len(steps) == len(context.asked) == 15
    epochs = [[text for (text,) in seen[first : first + 5]] for first in (0, 5, 10)]
    assert all(set(epoch) == {tuple(s.ids.tolist()) for s in texts(context)} for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert context.notes == ["15 updates of all signals together; traces after 5 start over"]


# --- texts that are too long ---------------------------------------------------------------------------


def short_of_positions(path: Path, positions: int) -> Path:
    """A model that has only so many."""
    folder(path, seed=0)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": positions}))
    return path


@pytest.mark.parametrize("mode", ["traces", "live", "cached"])
def test_texts_that_the_student_has_no_positions_for_are_left_out_and_counted(
    tmp_path: Path, models: dict[str, Path], mode: str
) -> None:
    """The texts have 7 to 11 tokens, with those of the prompt."""
    signal = {"traces": {}, "live": {"teacher": "teacher"}, "cached": {"signals": "cache"}}[mode]
    context = Class(short_of_positions(tmp_path / "student", 9), {"teacher": models["teacher"]})
    context.cache()
    lengths = sorted(len(sequence.ids) for sequence in encode(context.policy, TRACES))
    assert lengths == [lengths[0] + n for n in range(5)]
    fitting = [length for length in lengths if length <= 9]
    assert 0 < len(fitting) < 5
    learned = [step.metrics["num_tokens"] for step in train(context, **{mode: signal})]
    prompt = len(context.policy.prompt_ids(ASKED))
    assert sum(learned) == sum(length - prompt for length in fitting)
    assert context.told["left_out"][mode].startswith(f"{5 - len(fitting)} of 5 texts of more than 9 tokens")


def test_texts_that_the_live_teacher_has_no_positions_for_are_left_out_too(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    context = Class(models["student"], {"teacher": short_of_positions(tmp_path / "teacher", 9)})
    train(context, live={"teacher": "teacher"})
    assert "texts of more than 9 tokens" in str(context.told["left_out"]["live"])
