"""The trainers on a model so small that what they promise can be computed: probabilities and divergences, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import ARCHITECTURE, write_tokenizer
from toy_training import ToyContext

from r1_plugins.distill import Distill
from r1_plugins.grpo import Grpo, ZeroVariance
from r1_plugins.native import NativeSampler
from r1_plugins.ppo import MonteCarlo, PpoClip
from r1_plugins.rl import Rl
from r1_plugins.sft import Sft
from r1_plugins.transformers import TransformersPolicy
from r1core.keys import derive_key
from r1core.types import At, Floats, Group, Problem, Rollout, SampleRequest, Score, Step

ASKED = Problem(id="p", messages=({"role": "user", "content": "w1 w2"},))
REWARDED = range(16, 22)
"""The tokens worth 1 at the end of an answer."""
BUILT = (Grpo, MonteCarlo, PpoClip, ZeroVariance)


def folder(path: Path, *, seed: int) -> Path:
    path.mkdir()
    write_tokenizer(path)
    policy().create(path, ARCHITECTURE, seed=seed)
    return path


def policy() -> TransformersPolicy:
    return TransformersPolicy(TransformersPolicy.Config(device="cpu"))


class Bandit(ToyContext):
    """One prompt, answers of `length` tokens, really sampled; worth 1 where the last token is a rewarded one."""

    def __init__(self, path: Path, *, length: int = 1, teacher: Path | None = None) -> None:
        super().__init__(built=BUILT)
        self.policy = policy().open(path, trainable=True)
        self.teacher: Any = policy().open(teacher, trainable=False) if teacher else None
        self.length = length
        self.sampler = NativeSampler(NativeSampler.Config())

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        return [self._answered(f"p{n}", samples, derive_key(at.step, n), None) for n in range(prompts)]

    def continuations(self, at: At, states: Sequence[tuple[Rollout, int]], *, samples: int) -> list[Floats]:
        self.states += states
        return [
            self._answered("c", samples, derive_key(at.step, "c", n), rollout.completion_ids[:kept]).rewards_G
            for n, (rollout, kept) in enumerate(states)
        ]

    def _answered(self, name: str, samples: int, key: int, prefix: Any) -> Group:
        asked = Problem(id=name, messages=ASKED.messages)
        kept = 0 if prefix is None else len(prefix)
        request = SampleRequest(
            problem=asked,
            prompt_ids=self.policy.prompt_ids(ASKED.messages),
            keys=tuple(derive_key(key, sample) for sample in range(samples)),
            samples=tuple(range(samples)),
            max_new_tokens=self.length - kept,
            prefix_ids=prefix,
        )
        self.sampler.sync(self.policy)
        rollouts = tuple(sorted(self.sampler.generate([request]), key=lambda rollout: rollout.sample))
        scores = tuple(
            Score(value=float(len(r.completion_ids) + kept == self.length and r.completion_ids[-1] in REWARDED))
            for r in rollouts
        )
        return Group(problem=asked, rollouts=rollouts, scores=scores)


@torch.no_grad()
def next_logprobs(opened: TransformersPolicy, *after: int) -> torch.Tensor:
    """(V,) what comes next, after the prompt and these tokens."""
    ids = torch.from_numpy(np.append(opened.prompt_ids(ASKED.messages), after).astype(np.int64))
    return torch.as_tensor(opened.module()(ids[None]).logits[0, -1].double().log_softmax(-1))


def chance(opened: TransformersPolicy, length: int) -> float:
    """The probability that an answer of this length ends in a rewarded token."""
    first = next_logprobs(opened).exp()
    if length == 1:
        return float(first[REWARDED].sum())
    second = torch.stack([next_logprobs(opened, token).exp()[REWARDED].sum() for token in range(len(first))])
    return float((first * second).sum() - first[1] * second[1])  # token 1 ends the answer


def run(trainer: Any, context: Any) -> list[Step]:
    steps: Iterator[Step] = trainer.run(context)
    return list(steps)


def rl(**options: Any) -> Rl:
    shared = {"steps": 12, "prompts": 4, "samples": 16, "lr": 5e-3}
    return Rl(Rl.Config.model_validate({**shared, **options}))


def test_grpo_makes_the_rewarded_token_likelier(tmp_path: Path) -> None:
    context = Bandit(folder(tmp_path / "model", seed=0))
    before = chance(context.policy, 1)
    steps = run(rl(**Rl.presets["grpo"]), context)
    assert before < 0.25
    assert chance(context.policy, 1) > 0.75
    assert steps[-1].metrics["reward"] > steps[0].metrics["reward"]


def test_sampled_values_make_the_rewarded_path_likelier(tmp_path: Path) -> None:
    context = Bandit(folder(tmp_path / "model", seed=0), length=2)
    before = chance(context.policy, 2)
    boundaries = [str(digit) for digit in range(10)]
    run(rl(**{**Rl.presets["ppo_mc"], "samples": 8, "states": {"boundaries": boundaries}}), context)
    assert {kept for _, kept in context.states} == {1}
    assert before < 0.25
    assert chance(context.policy, 2) > 0.75


def test_several_updates_on_a_rollout_batch_learn_too(tmp_path: Path) -> None:
    context = Bandit(folder(tmp_path / "model", seed=0))
    run(rl(**Rl.presets["grpo"], updates_per_rollout=4), context)
    assert chance(context.policy, 1) > 0.5


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_the_penalty_holds_the_policy_near_its_reference(tmp_path: Path, estimator: str) -> None:
    path, distances = folder(tmp_path / "model", seed=0), []
    for coefficient in (0.01, 2.0):
        context = Bandit(path)
        reference = policy().open(path, trainable=False)
        context.reference = lambda kept=reference, refresh=False: kept  # type: ignore[method-assign]
        steps = run(rl(kl={"coefficient": coefficient, "estimator": estimator}), context)
        assert steps[0].metrics["kl"] == pytest.approx(0, abs=1e-9)
        assert all(np.isfinite(list(step.metrics.values())).all() for step in steps)
        distances.append(reverse_kl(context.policy, reference))
    assert 0 < 3 * distances[1] < distances[0]


def test_equal_rewards_leave_the_model_as_it_is(tmp_path: Path) -> None:
    context = Bandit(folder(tmp_path / "model", seed=0))
    before = next_logprobs(context.policy)
    scored: Callable[..., Group] = context._answered
    context._answered = lambda *a: scored(*a).scored((Score(value=1.0),) * 16)  # type: ignore[method-assign]
    steps = run(rl(advantage="grpo", steps=2), context)
    assert [step.metrics["grad_norm"] for step in steps] == [0.0, 0.0]
    assert torch.equal(next_logprobs(context.policy), before)


# --- distillation ----------------------------------------------------------------------------------


def reverse_kl(student: TransformersPolicy, teacher: TransformersPolicy) -> float:
    q, p = next_logprobs(student), next_logprobs(teacher)
    return float((q.exp() * (q - p)).sum())


def distill(steps: int) -> Distill:
    options = {"teacher": "teacher", "steps": steps, "prompts": 4, "samples": 32, "lr": 5e-3}
    return Distill(Distill.Config.model_validate({"on_policy": options}))


def test_the_teachers_grades_lower_the_exact_reverse_kl(tmp_path: Path) -> None:
    context = Bandit(folder(tmp_path / "student", seed=0), teacher=folder(tmp_path / "teacher", seed=1))
    before = reverse_kl(context.policy, context.teacher)
    steps = run(distill(20), context)
    after = reverse_kl(context.policy, context.teacher)
    assert before > 1.0
    assert after < 0.3 * before
    assert steps[0].metrics["reverse_kl"] == pytest.approx(before, abs=0.5)
    assert steps[-1].metrics["reverse_kl_k3"] < steps[0].metrics["reverse_kl_k3"]


def test_a_teacher_equal_to_the_student_gives_no_gradient(tmp_path: Path) -> None:
    path = folder(tmp_path / "student", seed=0)
    context = Bandit(path, length=3, teacher=path)
    before = next_logprobs(context.policy)
    (step,) = run(distill(1), context)
    assert abs(step.metrics["loss"]) < 1e-6
    assert step.metrics["grad_norm"] < 1e-6
    assert torch.allclose(next_logprobs(context.policy), before, atol=1e-9)


def test_traces_make_the_teachers_answer_the_likeliest(tmp_path: Path) -> None:
    context = Bandit(folder(tmp_path / "student", seed=0))
    trace = Problem(id="t", messages=ASKED.messages, completion="w12 w3")
    context.examples = lambda: [trace] * 4  # type: ignore[method-assign]
    steps = run(Sft(Sft.Config.model_validate({"epochs": 20, "lr": 5e-3})), context)
    assert steps[-1].metrics["loss"] < 0.5 < steps[0].metrics["loss"]
    assert context.policy.decode(next_logprobs(context.policy).argmax(keepdim=True).numpy()) == "w12"
