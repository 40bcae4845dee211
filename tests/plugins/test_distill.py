"""Distillation: traces first, then the teacher's grades on the student's own answers; and what these grades do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy_training import ToyContext, group, problem

from r1_plugins.distill import Distill
from r1_plugins.rl.kl import Kl
from r1_plugins.rl.loss import PolicyLoss
from r1core.components import Objective
from r1core.errors import RecipeError
from r1core.losses import CrossEntropy, PolicyGradient
from r1core.nn import TokenView
from r1core.types import At, Group, Problem, Step

TRACES = [Problem(id=f"t{n}", messages=problem("ask").messages, completion="y" * n) for n in range(1, 5)]
BOTH: dict[str, Any] = {
    "traces": {"batch_tokens": 1, "lr": 1e-3},
    "on_policy": {"teacher": "teacher", "steps": 3, "lr": {"peak": 1.0, "decay": "linear"}},
}


def groups(at: At) -> list[Group]:
    return [group(f"{at.step}", 0.0, 0.0, tokens=[(5, 6), (7, 8, 9)])]


def train(context: ToyContext, **options: Any) -> list[Step]:
    return list(Distill(Distill.Config.model_validate(options)).run(context))


# --- the two signals -----------------------------------------------------------------------------


def test_a_student_needs_a_signal() -> None:
    with pytest.raises(ValidationError, match="there is no signal"):
        Distill.Config()


@pytest.mark.parametrize(
    ("keys", "reads"), [(["traces"], {"data"}), (["on_policy"], {"problems"}), ([*BOTH], {"data", "problems"})]
)
def test_it_reads_what_its_signals_need(keys: list[str], reads: set[str]) -> None:
    trainer = Distill(Distill.Config.model_validate({key: BOTH[key] for key in keys}))
    assert trainer.reads == reads


def test_traces_come_first_each_signal_at_its_own_rate() -> None:
    context = ToyContext(groups, examples=TRACES)
    steps = train(context, **BOTH)
    assert [type(loss) for loss in context.policy.losses] == [CrossEntropy] * 4 + [PolicyGradient] * 3
    assert context.policy.rates == pytest.approx([1e-3] * 4 + [1, 2 / 3, 1 / 3])
    assert [step.metrics["learning_rate"] for step in steps] == context.policy.rates
    assert [at.step for at, *_ in context.asked] == [4, 5, 6]


def test_traces_alone_need_no_teacher() -> None:
    context = ToyContext(examples=TRACES)
    assert len(train(context, traces={"batch_tokens": 1})) == 4
    assert context.teacher.asked == 0


def test_an_extension_repeats_both_signals_in_proportion() -> None:
    context = ToyContext(groups, examples=TRACES, extra=(7, 3))
    train(context, **BOTH)
    kinds = [isinstance(loss, PolicyGradient) for loss in context.policy.losses]
    assert kinds == ([False] * 4 + [True] * 3) * 2 + [False, False, True]


def test_an_answer_is_graded_by_what_the_teacher_thinks_of_each_token() -> None:
    context = ToyContext(groups)
    (step,) = train(context, on_policy={"teacher": "teacher", "steps": 1, "prompts": 6, "samples": 2})
    ((short, long),) = context.policy.updates
    assert (short.ids.tolist(), short.start) == ([1, 2, 5, 6], 2)
    assert short.columns["advantage"].tolist() == [-3.0 - -1.0] * 2
    assert np.concatenate([short.columns["weight"], long.columns["weight"]]).tolist() == [1 / 5] * 5
    assert [(prompts, samples) for _, prompts, samples in context.asked] == [(6, 2)]
    assert step.metrics["reverse_kl"] == 2.0
    assert step.metrics["reverse_kl_k3"] == pytest.approx(np.exp(-2.0) + 2.0 - 1.0)
    assert step.metrics["num_tokens"] == 5
    assert step.sample is not None


def test_a_teacher_with_another_tokenizer_is_refused() -> None:
    context = ToyContext(groups)
    context.teacher.decode = lambda ids: "".join(chr(token + 1) for token in ids)  # type: ignore[method-assign]
    with pytest.raises(RecipeError, match="different tokenizers"):
        train(context, on_policy=BOTH["on_policy"])
    assert not context.policy.updates


def test_answers_drawn_at_another_temperature_are_refused() -> None:
    context = ToyContext(lambda at: [unmeasured(each) for each in groups(at)])
    with pytest.raises(RecipeError, match="temperature 1"):
        train(context, on_policy=BOTH["on_policy"])


def unmeasured(group: Group) -> Group:
    return replace(group, rollouts=tuple(replace(rollout, logprobs=None) for rollout in group.rollouts))


def test_answers_that_are_all_empty_are_a_step_without_an_update() -> None:
    context = ToyContext(lambda at: [group("a", 0.0, 0.0, tokens=[(), ()])])
    (step,) = train(context, on_policy={"teacher": "teacher", "steps": 1})
    assert (context.policy.updates, step.metrics["loss"]) == ([], 0.0)
    assert step.note == "nothing to learn from: all 2 answers are empty"
    assert np.isfinite(list(step.metrics.values())).all()


def test_a_teacher_equal_to_the_student_teaches_nothing() -> None:
    context = ToyContext(groups)
    context.teacher.logprob = context.policy.logprob
    (step,) = train(context, on_policy={"teacher": "teacher", "steps": 1})
    assert all((s.columns["advantage"] == 0).all() for s in context.policy.updates[0])
    assert step.metrics["reverse_kl"] == step.metrics["reverse_kl_k3"] == 0.0


# --- the gradient, by enumeration over five tokens -------------------------------------------------

TEACHER = torch.tensor([2.0, 1.0, 0.5, -1.0, -2.0], dtype=torch.float64).log_softmax(-1)
STUDENT = torch.tensor([1.0, 1.5, 0.0, -0.5, -1.0], dtype=torch.float64)


class Silent(Objective):
    """No loss of its own: what is left is the penalty."""

    name = "silent"

    def __call__(self, view: TokenView) -> torch.Tensor:
        return 0.0 * view.logprob


def expected(loss: Any) -> tuple[float, torch.Tensor]:
    """The mean loss and its gradient in the logits, each of the five tokens as often as the student samples it."""
    logits = STUDENT.clone().requires_grad_()
    logprob = logits.log_softmax(-1)
    old = logprob.detach()
    columns = {"advantage": TEACHER - old, "ref_logprob": TEACHER, "old_logprob": old}
    tokens = torch.arange(5)
    view = TokenView(columns=columns, sequence=tokens, targets=tokens, given={"logprob": logprob})
    total = (old.exp() * loss(view)).sum()
    total.backward()
    assert logits.grad is not None
    return total.item(), logits.grad


def reverse_kl() -> tuple[float, torch.Tensor]:
    """KL(student || teacher) and its gradient in the logits."""
    logits = STUDENT.clone().requires_grad_()
    logprob = logits.log_softmax(-1)
    value = (logprob.exp() * (logprob - TEACHER)).sum()
    value.backward()
    assert logits.grad is not None
    return value.item(), logits.grad


def test_the_reverse_kl_is_that_of_other_implementations() -> None:
    value, gradient = reverse_kl()
    assert value == pytest.approx(0.256482, abs=1e-6)
    assert gradient.norm().item() == pytest.approx(0.394287, abs=1e-6)


def test_the_policy_gradient_of_the_teachers_grades_is_the_gradient_of_the_reverse_kl() -> None:
    _, gradient = expected(PolicyGradient())
    torch.testing.assert_close(gradient, reverse_kl()[1], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("estimator", "value"), [("k2", 0.283480), ("k3_corrected", 0.256482)])
def test_both_penalties_of_rl_have_the_gradient_of_the_reverse_kl(estimator: Any, value: float) -> None:
    found, gradient = expected(PolicyLoss(Silent(Silent.Config()), Kl(coefficient=1.0, estimator=estimator)))
    assert found == pytest.approx(value, abs=1e-6)
    torch.testing.assert_close(gradient, reverse_kl()[1], atol=1e-9, rtol=1e-9)
