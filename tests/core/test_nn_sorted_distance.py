"""ULD: distributions over other tokens, compared by rank; in tiles, with the gradients of autograd."""

from __future__ import annotations

import pytest
import torch
from golden_divergences import STUDENT, TEACHER
from toy_heads import Side, small_tiles

from r1core.nn import LMHead


def head(values: tuple[float, ...]) -> LMHead:
    return LMHead(torch.tensor([values], dtype=torch.float64), width=len(values))


def direct(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    sides = [(logits / temperature).softmax(-1).sort(descending=True).values for logits in (student, teacher)]
    widest = max(side.shape[1] for side in sides)
    own, theirs = (torch.nn.functional.pad(side, (0, widest - side.shape[1])) for side in sides)
    return (own - theirs).abs().sum(1)


def test_it_has_the_value_of_its_paper() -> None:
    assert head(STUDENT).sorted_distance(head(TEACHER)).item() == pytest.approx(0.279440, abs=1e-6)


def test_the_order_of_the_tokens_does_not_matter() -> None:
    assert head(STUDENT).sorted_distance(head(STUDENT[::-1])).item() == pytest.approx(0.0, abs=1e-12)
    assert head(STUDENT).sorted_distance(head(TEACHER[::-1])).item() == pytest.approx(0.279440, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(("own", "theirs"), [(37, 37), (29, 41), (41, 29)])
@pytest.mark.parametrize("form", ["head", "whole"])
def test_tiles_give_the_values_and_gradients_of_autograd(
    form: str, own: int, theirs: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vocabularies of any two sizes, padding of either left out."""
    small_tiles(monkeypatch, logits=100, tokens=5)
    student, teacher = Side(0, vocabulary=own, padding=3), Side(1, vocabulary=theirs, padding=6)
    upstream = torch.randn(11, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    wanted = direct(student.logits, teacher.logits.detach(), temperature)
    by_autograd = student.gradients((upstream * wanted).sum())
    found = getattr(student, form)().sorted_distance(getattr(teacher, form)(), temperature)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)
    for name, gradient in student.gradients((upstream * found).sum()).items():
        assert by_autograd[name].abs().max() > 1e-3
        torch.testing.assert_close(gradient, by_autograd[name], atol=1e-10, rtol=0)
    assert teacher.module.weight.grad is None


def test_a_head_of_no_tokens_may_be_asked() -> None:
    none = torch.zeros(11, dtype=torch.bool)
    assert Side(0).head().take(none).sorted_distance(Side(1).head().take(none)).shape == (0,)
