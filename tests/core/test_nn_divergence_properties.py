"""Limits, symmetries and bounds of the divergences, for any two distributions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from r1core.nn import Measure, divergence

logits = st.lists(st.floats(-6, 6), min_size=6, max_size=6).map(lambda row: torch.tensor([row], dtype=torch.float64))
shares = st.floats(0.02, 0.98)


def value(student: Tensor, teacher: Tensor, **given_: Any) -> float:
    return divergence(student, teacher, Measure(**given_)).item()


@given(logits, logits)
def test_the_reverse_kl_is_the_forward_one_turned_round(student: Tensor, teacher: Tensor) -> None:
    assert value(student, teacher, kind="reverse") == pytest.approx(value(teacher, student, kind="forward"), abs=1e-10)


@given(logits, logits, shares)
def test_turning_a_jsd_round_turns_beta_and_so_does_naming_the_other_side(
    student: Tensor, teacher: Tensor, beta: float
) -> None:
    one = value(student, teacher, kind="jsd", beta=beta)
    assert one == pytest.approx(value(teacher, student, kind="jsd", beta=1 - beta), abs=1e-10)
    assert one == pytest.approx(value(student, teacher, kind="jsd", beta=1 - beta, beta_on="student"), abs=1e-10)


@given(logits, logits)
def test_a_jsd_over_its_beta_tends_to_the_kls(student: Tensor, teacher: Tensor) -> None:
    """From 1e-4 to 1e-6 the distance shrinks a hundredfold: linear in beta."""
    for side, kind in (("teacher", "forward"), ("student", "reverse")):
        limit = value(student, teacher, kind=kind)
        near = [value(student, teacher, kind="jsd", beta=b, beta_on=side) / b - limit for b in (1e-4, 1e-6)]
        assert (
            abs(near[0])
            <= 0.5e-4
            * float(
                (teacher.softmax(-1) ** 2 / student.softmax(-1)).sum()
                + (student.softmax(-1) ** 2 / teacher.softmax(-1)).sum()
            )
            + 1e-9
        )
        assert abs(near[1]) <= abs(near[0]) / 20 + 1e-8


@given(logits, logits)
def test_at_its_ends_a_jsd_is_the_pure_kl_itself(student: Tensor, teacher: Tensor) -> None:
    for beta, kind in ((0.0, "forward"), (1.0, "reverse")):
        pure = value(student, teacher, kind=kind)
        assert value(student, teacher, kind="jsd", beta=beta) == pure
        assert value(student, teacher, kind="jsd", beta=1 - beta, beta_on="student") == pure


@given(logits, logits, shares)
def test_a_jsd_is_at_most_the_entropy_of_its_weights(student: Tensor, teacher: Tensor, beta: float) -> None:
    weights = torch.tensor([beta, 1 - beta], dtype=torch.float64)
    found = value(student, teacher, kind="jsd", beta=beta)
    assert -1e-12 <= found <= float(-(weights * weights.log()).sum()) + 1e-12


@given(logits, logits)
def test_skewing_by_nothing_is_the_kl(student: Tensor, teacher: Tensor) -> None:
    for kind in ("forward", "reverse"):
        pure = value(student, teacher, kind=kind)
        assert value(student, teacher, kind=f"skewed_{kind}", alpha=0.0) == pure
        assert value(student, teacher, kind=f"skewed_{kind}", alpha=1e-9) == pytest.approx(pure, rel=1e-4, abs=1e-7)


@given(logits, logits, shares)
def test_skewing_brings_the_distributions_nearer(student: Tensor, teacher: Tensor, alpha: float) -> None:
    """KL is convex in its second argument: a mixture of a share (1 - a) is at most (1 - a) as far."""
    for kind in ("forward", "reverse"):
        skewed = value(student, teacher, kind=f"skewed_{kind}", alpha=alpha)
        assert -1e-12 <= skewed <= (1 - alpha) * value(student, teacher, kind=kind) + 1e-12


@given(logits, logits)
def test_tvd_is_symmetric_and_bounded_by_the_kls(student: Tensor, teacher: Tensor) -> None:
    """Pinsker: TVD <= sqrt(KL / 2)."""
    found = value(student, teacher, kind="tvd")
    assert found == pytest.approx(value(teacher, student, kind="tvd"), abs=1e-12)
    for kind in ("forward", "reverse"):
        assert found <= (max(value(student, teacher, kind=kind), 0.0) / 2) ** 0.5 + 1e-7


@given(logits, logits)
def test_an_adaptive_kl_lies_between_both(student: Tensor, teacher: Tensor) -> None:
    ends = sorted(value(student, teacher, kind=kind) for kind in ("forward", "reverse"))
    assert ends[0] - 1e-12 <= value(student, teacher, kind="adaptive") <= ends[1] + 1e-12


@given(logits, logits, st.floats(0.0, 1.0))
def test_symmetric_mixes_both_kls(student: Tensor, teacher: Tensor, beta: float) -> None:
    forward, reverse = (value(student, teacher, kind=kind) for kind in ("forward", "reverse"))
    found = value(student, teacher, kind="symmetric", beta=beta)
    assert found == pytest.approx(beta * forward + (1 - beta) * reverse, abs=1e-10)


@given(logits, logits)
def test_a_forward_kl_with_the_entropy_left_is_larger_by_it_and_pulls_the_same(
    student: Tensor, teacher: Tensor
) -> None:
    grown, gradients = [], []
    for entropy in ("subtracted", "left"):
        own = student.clone().requires_grad_()
        found = divergence(own, teacher, Measure(kind="forward", entropy=entropy))  # type: ignore[arg-type]
        grown.append(found.item())
        gradients.append(torch.autograd.grad(found.sum(), own)[0])
    logs = teacher.log_softmax(-1)
    assert grown[1] - grown[0] == pytest.approx(float(-(logs.exp() * logs).sum()), abs=1e-10)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-10, rtol=0)


@settings(max_examples=200)
@given(logits, logits, st.integers(1, 5), st.sampled_from(["teacher", "student"]))
def test_a_bucket_never_makes_more_of_a_divergence(student: Tensor, teacher: Tensor, k: int, support: str) -> None:
    """Merging tokens loses what tells them apart (data processing)."""
    for kind in ("forward", "reverse", "jsd", "tvd", "skewed_forward", "skewed_reverse"):
        whole = value(student, teacher, kind=kind)
        assert -1e-9 <= value(student, teacher, kind=kind, support=support, top_k=k) <= whole + 1e-9


@given(logits, logits)
def test_a_support_of_the_whole_vocabulary_is_the_whole_divergence(student: Tensor, teacher: Tensor) -> None:
    for tail in ("bucket", "renormalised", "none"):
        for kind in ("forward", "reverse", "jsd"):
            found = value(student, teacher, kind=kind, support="teacher", top_k=6, tail=tail)
            assert found == pytest.approx(value(student, teacher, kind=kind), abs=1e-9)


@given(logits, logits, st.sampled_from(["forward", "reverse", "jsd", "tvd"]))
def test_a_high_temperature_squared_leaves_a_gradient_of_one_size(student: Tensor, teacher: Tensor, kind: str) -> None:
    """At high temperature KL tends to (z_T - z_S)' (I/V - 1/V^2) (z_T - z_S) / (2 t^2): the square keeps it."""
    centred = (teacher - student) - (teacher - student).mean()
    limit = float((centred**2).sum() / (2 * 6))
    if kind in ("forward", "reverse"):
        found = value(student, teacher, kind=kind, temperature=1e4, square=True)
        assert found == pytest.approx(limit, rel=1e-2, abs=1e-6)
    once = value(student, teacher, kind=kind, temperature=3.0)
    assert value(student, teacher, kind=kind, temperature=3.0, square=True) == pytest.approx(9 * once, abs=1e-10)
