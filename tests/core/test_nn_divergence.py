"""Divergences have the values that other tools compute, asked for by their conventions; and what sampling gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_divergences import EVERY, GOLDEN, GRADIENT_NORMS, STUDENT, TEACHER
from torch import Tensor

from r1core.errors import RecipeError
from r1core.nn import LMHead, Measure, divergence, on_support

DTYPES = [torch.float32, torch.float64]


def logits(values: tuple[float, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([values], dtype=dtype)


def in_tiles(student: Tensor, teacher: Tensor, measure: Measure) -> Tensor:
    """From heads whose weight is the logits, and whose hidden state is 1."""
    return _head(student).divergence(_head(teacher), measure)


def _head(values: Tensor) -> LMHead:
    one = torch.ones(1, 1, dtype=values.dtype)
    return LMHead(one, lambda states, read: read(states, values.T, None), width=values.shape[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", [divergence, in_tiles])
@pytest.mark.parametrize(("tool", "given", "value"), GOLDEN, ids=str)
def test_a_tools_convention_gives_its_value(
    tool: Any, given: dict[str, Any], value: float, form: Any, dtype: torch.dtype
) -> None:
    found = form(logits(STUDENT, dtype), logits(TEACHER, dtype), Measure.like(tool, **given))
    assert found.item() == pytest.approx(value, abs=1.1e-6)


@pytest.mark.parametrize("form", [divergence, in_tiles])
@pytest.mark.parametrize(("tool", "given", "norm"), GRADIENT_NORMS, ids=str)
def test_a_gradient_has_its_size(tool: Any, given: dict[str, Any], norm: float, form: Any) -> None:
    student = logits(STUDENT).requires_grad_()
    form(student, logits(TEACHER), Measure.like(tool, **given)).sum().backward()
    assert student.grad is not None
    assert student.grad.norm().item() == pytest.approx(norm, abs=1e-6)


def test_what_is_given_wins_over_a_convention() -> None:
    plain = Measure.like("distillkit", kind="forward", temperature=2.0, square=False)
    assert plain.scale == 1.0
    assert Measure.like("distillkit", kind="forward", temperature=2.0).scale == 4.0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", [divergence, in_tiles])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("given", EVERY, ids=str)
def test_a_teacher_that_is_the_student_teaches_nothing(
    given: dict[str, Any], temperature: float, form: Any, dtype: torch.dtype
) -> None:
    student = (3 * torch.randn(1, 50, generator=torch.Generator().manual_seed(0), dtype=dtype)).requires_grad_()
    found = form(student, student.detach().clone(), Measure(temperature=temperature, **given))
    found.sum().backward()
    assert student.grad is not None
    assert abs(found.item()) <= 1e-7
    assert float(student.grad.abs().max()) <= 1e-7


def test_tails_that_hold_no_mass_outside_push_a_student_that_is_its_teacher() -> None:
    """A fact of these conventions, not of ours: the value is minus the log of the kept mass, or 0 with a gradient."""
    values = {}
    for tail in ("teacher", "none"):
        student = logits(STUDENT).requires_grad_()
        measure = Measure(kind="forward", support="teacher", top_k=2, tail=tail)  # type: ignore[arg-type]
        found = divergence(student, student.detach(), measure)
        values[tail] = found.item()
        pulled = gradient(student, found.sum()).topk(2, largest=False).indices
        assert set(pulled[0].tolist()) == {0, 1}, "the support is pulled up, the rest down"
    assert values == pytest.approx({"teacher": 0.242338, "none": 0.0}, abs=1e-6)


# --- what is sampled --------------------------------------------------------------------------------


def expected(student: Tensor, of_token: Any) -> Tensor:
    """The expectation over the student's own tokens of a loss of one token, as a function to differentiate."""
    logprobs = student.log_softmax(-1)
    return (logprobs.exp().detach() * of_token(logprobs)).sum()


def gradient(student: Tensor, value: Tensor) -> Tensor:
    return torch.autograd.grad(value, student)[0]


def test_the_policy_gradient_of_one_log_prob_is_the_reverse_kls() -> None:
    student, log_p = logits(STUDENT).requires_grad_(), logits(TEACHER).log_softmax(-1)
    advantage = (log_p - student.log_softmax(-1)).detach()
    found = gradient(student, expected(student, lambda log_q: -advantage * log_q))
    wanted = gradient(student, divergence(student, logits(TEACHER), Measure(kind="reverse")).sum())
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)
    assert float(wanted.norm()) > 0.3


@pytest.mark.parametrize(
    ("estimator", "value", "kind"), [("k1", 0.256482, None), ("k2", 0.283480, "reverse"), ("k3", 0.256482, "forward")]
)
def test_estimators_of_the_reverse_kl_have_gradients_of_their_own(estimator: str, value: float, kind: Any) -> None:
    """k1's is nothing, k2's the reverse KL's, k3's the forward KL's."""
    student, log_p = logits(STUDENT).requires_grad_(), logits(TEACHER).log_softmax(-1)
    forms = {
        "k1": lambda log_q: log_q - log_p,
        "k2": lambda log_q: 0.5 * (log_q - log_p) ** 2,
        "k3": lambda log_q: torch.expm1(log_p - log_q) - (log_p - log_q),
    }
    average = expected(student, forms[estimator])
    assert average.item() == pytest.approx(value, abs=1e-6)
    found = gradient(student, average)
    measure = None if kind is None else Measure(kind=kind)
    wanted = (
        torch.zeros_like(found)
        if measure is None
        else gradient(student, divergence(student, logits(TEACHER), measure).sum())
    )
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)


def test_one_sampled_token_and_the_rest_are_less_than_the_reverse_kl() -> None:
    """The bucket of TRL's asynchronous trainer: exact values of one token, and of the expectation over all."""
    student, log_p = logits(STUDENT), logits(TEACHER).log_softmax(-1)
    log_q, measure = student.log_softmax(-1), Measure(kind="reverse")
    each = on_support(log_q.T, log_p.T, torch.ones(5, 1, dtype=torch.bool), measure)
    assert each[2].item() == pytest.approx(0.002956, abs=1e-6)
    assert (log_q.exp()[0] * each).sum().item() == pytest.approx(0.142843, abs=1e-6)


# --- cached signals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["bucket", "renormalised", "teacher", "none"])
def test_tokens_that_are_not_there_do_not_count(tail: Any) -> None:
    """A list that is shorter than the others: its padding is no token, whatever stands in it."""
    measure = Measure(kind="forward", tail=tail)
    log_q, log_p = (logits(values).log_softmax(-1)[:, :2] for values in (STUDENT, TEACHER))
    filler = torch.tensor([[-1.0, -torch.inf]], dtype=torch.float64)
    wide_q, wide_p = (torch.cat([logs, filler], 1).requires_grad_() for logs in (log_q, log_p))
    there = torch.tensor([[True, True, False, False]])
    found = on_support(wide_q, wide_p, there, measure)
    assert found.item() == pytest.approx(on_support(log_q, log_p, there[:, :2], measure).item(), abs=1e-12)
    found.sum().backward()
    assert wide_q.grad is not None
    assert wide_q.grad[0, :2].abs().min() > 1e-3
    assert wide_q.grad[0, 2:].abs().max() == 0


@pytest.mark.parametrize("tail", ["bucket", "renormalised", "teacher", "none"])
def test_a_place_without_a_signal_is_nothing_and_not_all_tail(tail: Any) -> None:
    log_q = torch.full((1, 3), -torch.inf, dtype=torch.float64).requires_grad_()
    found = on_support(
        log_q, torch.full((1, 3), -torch.inf), torch.zeros(1, 3, dtype=torch.bool), Measure(kind="forward", tail=tail)
    )
    found.sum().backward()
    assert log_q.grad is not None
    assert (found.item(), log_q.grad.abs().max().item()) == (0.0, 0.0)


def test_a_support_of_all_the_mass_leaves_a_finite_rest() -> None:
    """In float32 the mass of what was cached may come to 1, or to more."""
    log_q = torch.tensor([[0.6, 0.3]]).log().requires_grad_()
    for mass in (1.0, 1.0 + 1e-6):
        log_p = torch.tensor([[0.7 * mass, 0.3 * mass]]).log()
        for kind in ("forward", "reverse"):
            found = on_support(log_q, log_p, torch.ones(1, 2, dtype=torch.bool), Measure(kind=kind))  # type: ignore[arg-type]
            assert torch.isfinite(found).all()
            assert torch.isfinite(gradient(log_q, found.sum())).all()


def test_without_rescaling_a_value_may_be_negative_and_then_counts_for_nothing() -> None:
    log_q, log_p = torch.tensor([[0.8]]).log().requires_grad_(), torch.tensor([[0.5]]).log()
    there = torch.ones(1, 1, dtype=torch.bool)
    assert on_support(log_q, log_p, there, Measure(kind="forward", tail="none")).item() == pytest.approx(
        -0.235002, abs=1e-6
    )
    raised = on_support(log_q, log_p, there, Measure.like("verl", kind="forward"))
    assert raised.item() == 0.0
    assert gradient(log_q, raised.sum()).item() == 0.0


def test_a_floor_raises_what_is_below_it() -> None:
    log_q, log_p = torch.tensor([[-30.0]]), torch.tensor([[-1.0]])
    there = torch.ones(1, 1, dtype=torch.bool)
    found = on_support(log_q, log_p, there, Measure(kind="forward", tail="none", floor=-10.0))
    assert found.item() == pytest.approx(9 * 0.36787944, abs=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "backward"}, "no divergence 'backward'"),
        ({"kind": "jsd", "beta": 1.5}, "beta is 1.5"),
        ({"kind": "skewed_forward", "alpha": 1.0}, "alpha 1.0"),
        ({"kind": "forward", "temperature": 0.0}, "temperature is 0.0"),
        ({"kind": "forward", "support": "teacher"}, "top_k is 0"),
        ({"kind": "ranking"}, "top_k is 0"),
        ({"kind": "ranking", "support": "teacher", "top_k": 3}, "top_k tokens itself"),
        *(
            ({"kind": kind, "support": "teacher", "top_k": 3, "tail": "teacher", **more}, "is infinite")
            for kind, more in (("reverse", {}), ("symmetric", {}), ("adaptive", {}), ("jsd", {"beta": 1.0}))
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Measure(**given)


HALF = (0.5, 0.3, 0.2, 0.0)
"""A teacher's probabilities, and the student's: each has a token that the other finds impossible."""
MASKED = (0.6, 0.4, 0.0, 0.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", [divergence, in_tiles])
@pytest.mark.parametrize(
    "given",
    [
        {"kind": "jsd", "beta": 0.5},
        {"kind": "jsd", "beta": 0.1},
        {"kind": "skewed_forward", "alpha": 0.1},
        {"kind": "skewed_reverse", "alpha": 0.1},
        {"kind": "skewed_reverse", "alpha": 0.1, "mixture": "detached"},
        {"kind": "tvd"},
    ],
    ids=str,
)
def test_what_the_student_finds_impossible_counts_in_full(given: dict[str, Any], form: Any, dtype: torch.dtype) -> None:
    """Against the formulas by hand, which need no log ratio."""
    p, q = (torch.tensor([values], dtype=torch.float64) for values in (HALF, MASKED))
    measure = Measure(**given)
    share = {"jsd": measure.teacher_share, "skewed_forward": 0.1, "skewed_reverse": 0.9, "tvd": 0.0}[measure.kind]
    mixed = share * p + (1 - share) * q
    to_p, to_q = (torch.special.xlogy(x, x).sum() - torch.special.xlogy(x, mixed).sum() for x in (p, q))
    wanted = {
        "jsd": share * to_p + (1 - share) * to_q,
        "skewed_forward": to_p,
        "skewed_reverse": to_q,
        "tvd": (p - q).abs().sum() / 2,
    }[measure.kind]
    student = q.log().to(dtype).requires_grad_()
    found = form(student, p.log().to(dtype), measure)
    found.sum().backward()
    assert found.item() == pytest.approx(wanted.item(), abs=1e-6)
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("tail", ["bucket", "renormalised", "teacher", "none"])
def test_a_floor_makes_nothing_of_tokens_that_are_not_there(tail: Any) -> None:
    log_q = torch.tensor([[-0.7, -2.0]], dtype=torch.float64)
    log_p = torch.tensor([[-0.3, -3.0]], dtype=torch.float64)
    there, measure = torch.ones(1, 2, dtype=torch.bool), Measure(kind="jsd", tail=tail, floor=-2.5)
    filler, gaps = torch.full((1, 30), -torch.inf, dtype=torch.float64), torch.zeros(1, 30, dtype=torch.bool)
    wanted = on_support(log_q, log_p, there, measure)
    student = torch.cat([log_q, filler], 1).requires_grad_()
    found = on_support(student, torch.cat([log_p, filler], 1), torch.cat([there, gaps], 1), measure)
    found.sum().backward()
    assert found.item() == pytest.approx(wanted.item(), abs=1e-9)
    assert student.grad is not None
    assert student.grad.isfinite().all()
