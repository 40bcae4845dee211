"""What is read of heads in tiles is what whole logits give, values and gradients, wherever the tiles' borders lie."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_divergences import EVERY, OPEN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_heads import Side, small_tiles

from r1core.errors import SetupError
from r1core.nn import LMHead, Measure, divergence
from r1core.nn.logits import Logits

UPSTREAM = torch.randn(11, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
NEAR = {torch.float64: 1e-9, torch.float32: 1e-5}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], near: float) -> None:
    """Each within `near` of its largest entry, and not all nought."""
    for name, value in wanted.items():
        assert float(value.abs().max()) > 1e-3, f"{name} has no gradient to compare"
        torch.testing.assert_close(found[name], value, atol=near * float(value.abs().max()), rtol=0)


@pytest.mark.parametrize("dtype", list(NEAR), ids=str)
@pytest.mark.parametrize("form", ["head", "whole"])
@pytest.mark.parametrize("more", [{}, {"temperature": 2.5, "square": True}, {"entropy": "left"}], ids=str)
@pytest.mark.parametrize("kind", EVERY + OPEN, ids=str)
def test_tiles_give_the_values_and_gradients_of_autograd(
    kind: dict[str, Any], more: dict[str, Any], form: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teacher and student have padding of their own; one of the two forms has only the logits. The mass that a support
    leaves is a small difference: in float32 it has fewer digits."""
    near = NEAR[dtype] * (10 if "support" in kind else 1)
    small_tiles(monkeypatch, logits=60, tokens=5)
    student, teacher = Side(0, padding=3, dtype=dtype), Side(1, padding=6, dtype=dtype)
    measure, upstream = Measure(**kind, **more), UPSTREAM.to(dtype)
    wanted = divergence(student.logits, teacher.logits, measure)
    by_autograd = student.gradients((upstream * wanted).sum())
    found = getattr(student, form)().divergence(getattr(teacher, form)(), measure)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, atol=10 * near, rtol=near)
    assert_same(student.gradients((upstream * found).sum()), by_autograd, near)
    assert teacher.module.weight.grad is None
    assert teacher.states.grad is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    logits=st.integers(1, 90),
    high=st.integers(1, 12),
    kind=st.sampled_from([*EVERY[:10], {"kind": "reverse", "support": "student", "top_k": 5}]),
    vocabulary=st.integers(5, 40),
    padding=st.integers(0, 9),
)
def test_no_border_of_a_tile_shows(
    logits: int, high: int, kind: dict[str, Any], vocabulary: int, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tiles(monkeypatch, logits=logits, tokens=high)
    student, teacher = Side(2, vocabulary=vocabulary, padding=padding), Side(3, vocabulary=vocabulary)
    wanted = divergence(student.logits, teacher.logits, Measure(**kind))
    by_autograd = student.gradients((UPSTREAM * wanted).sum())
    found = student.head().divergence(teacher.head(), Measure(**kind))
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)
    assert_same(student.gradients((UPSTREAM * found).sum()), by_autograd, 1e-9)


@pytest.mark.parametrize("ask", ["divergence", "logprobs_at"])
def test_a_gradient_in_place_is_added_to_the_weights_own(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tiles(monkeypatch, logits=60, tokens=5)
    student, teacher = Side(0), Side(1)

    def asked(into_grad: bool) -> torch.Tensor:
        head = student.head(into_grad=into_grad)
        if ask == "divergence":
            return head.divergence(teacher.head(), Measure(kind="reverse")).sum()
        return head.logprobs_at(torch.arange(22).view(11, 2)).sum()

    wanted = student.gradients(asked(False))["weight"]
    asked(True).backward()
    asked(True).backward()
    assert student.module.weight.grad is not None
    torch.testing.assert_close(student.module.weight.grad, 2 * wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("form", ["head", "whole"])
@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "forward"},
        {"kind": "reverse", "temperature": 2.5},
        {"kind": "forward", "support": "teacher", "top_k": 4},
    ],
    ids=str,
)
def test_what_is_watched_beside_a_divergence_is_that_of_the_whole_softmax(
    kind: dict[str, Any], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tiles(monkeypatch, logits=60, tokens=5)
    student, teacher, measure = Side(0, padding=3), Side(1, padding=6), Measure(**kind)
    found = getattr(student, form)().compared(getattr(teacher, form)(), measure)
    alone = getattr(student, form)().divergence(getattr(teacher, form)(), measure)
    torch.testing.assert_close(found.divergence, alone, atol=0, rtol=0)
    assert_same(student.gradients(found.divergence.sum()), student.gradients(alone.sum()), 1e-12)
    likeliest = [getattr(side, form)().likeliest(1)[0][:, 0] for side in (student, teacher)]
    assert found.agrees.tolist() == (likeliest[0] == likeliest[1]).tolist()
    for mass, side in ((found.masked_mass, student), (found.teacher_masked_mass, teacher)):
        torch.testing.assert_close(mass, getattr(side, form)().masked_mass())
        assert float(mass.min()) > 0


def test_watching_takes_no_pass_over_the_vocabulary_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    small_tiles(monkeypatch, logits=60, tokens=5)
    computed, tile = [0], Logits.tile

    def counted(self: Logits, rows: slice, columns: slice) -> torch.Tensor:
        logits = tile(self, rows, columns)
        computed[0] += logits.numel()
        return logits

    monkeypatch.setattr(Logits, "tile", counted)
    student, teacher = Side(0, padding=3), Side(1, padding=3)
    tokens, vocabulary = student.head().states.shape[0], student.head().vocabulary
    student.head().compared(teacher.head(), Measure(kind="forward"))
    assert computed[0] == 4 * tokens * vocabulary + 2 * tokens * 3, "normalisers and terms of both, and their padding"


# --- named tokens, and the likeliest ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["head", "whole"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_named_tokens_have_the_log_probs_and_gradients_of_the_whole_softmax(
    temperature: float, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids come twice, at the borders of tiles, and not at all (-1)."""
    small_tiles(monkeypatch, logits=60, tokens=5)
    student = Side(0, padding=4)
    ids = torch.randint(0, 37, (11, 6), generator=torch.Generator().manual_seed(1))
    ids[:, 1], ids[3] = ids[:, 0], torch.tensor([0, 11, 12, 24, 35, 36])
    upstream = torch.randn(11, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = (student.logits / temperature).log_softmax(-1).gather(1, ids)
    wanted = wanted * (there := torch.ones_like(ids, dtype=torch.bool).index_fill(1, torch.tensor([5]), False))
    by_autograd = student.gradients((upstream * wanted).sum())
    found = getattr(student, form)().logprobs_at(torch.where(there, ids, -1), temperature)
    assert torch.equal(found == -torch.inf, ~there)
    torch.testing.assert_close(found[there], wanted[there], atol=1e-9, rtol=0)
    assert_same(student.gradients((upstream[there] * found[there]).sum()), by_autograd, 1e-9)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    logits=st.integers(1, 90), high=st.integers(1, 12), k=st.integers(0, 12), temperature=st.sampled_from([1.0, 3.0])
)
def test_the_likeliest_tokens_are_those_of_the_whole_softmax(
    logits: int, high: int, k: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, padding left out; the targets' own beside them."""
    small_tiles(monkeypatch, logits=logits, tokens=high)
    model, targets = Side(4, vocabulary=12, padding=5), torch.arange(11)
    logprobs = (model.logits / temperature).log_softmax(-1)
    wanted = logprobs.topk(k)
    ids, values, own = model.head().graded(targets, k, temperature)
    torch.testing.assert_close(values, wanted.values, atol=1e-9, rtol=0)
    assert torch.equal(ids, wanted.indices)
    torch.testing.assert_close(own, logprobs[targets, targets], atol=1e-9, rtol=0)
    assert not values.requires_grad


def test_a_vocabulary_of_fewer_tokens_leaves_places_empty() -> None:
    ids, values = Side(4, vocabulary=5, padding=9).head().likeliest(8)
    assert torch.equal(ids[:, 5:], torch.full((11, 3), -1))
    assert torch.equal(values[:, 5:], torch.full((11, 3), -torch.inf, dtype=torch.float64))
    torch.testing.assert_close(values[:, :5].exp().sum(1), torch.ones(11, dtype=torch.float64))


# --- padding, and what does not go together ---------------------------------------------------------------


def test_padding_of_either_vocabulary_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """However likely its rows are: the value is that of the real tokens, and the rows get no gradient."""
    small_tiles(monkeypatch, logits=60, tokens=5)
    student, teacher = Side(0, padding=4), Side(1, padding=7)
    with torch.no_grad():
        student.module.bias[37:] += 20
        teacher.module.bias[37:] += 20
    found = student.head().divergence(teacher.head(), Measure(kind="jsd"))
    torch.testing.assert_close(found, divergence(student.logits, teacher.logits, Measure(kind="jsd")))
    gradients = student.gradients(found.sum())
    assert gradients["weight"][:37].abs().min() > 0
    assert gradients["weight"][37:].abs().max() == 0
    assert int(student.head().likeliest(1)[0].max()) < 37


def test_the_mass_of_the_padding_can_be_told() -> None:
    model = Side(0, padding=4)
    with torch.no_grad():
        whole = (model.states @ model.module.weight.T + model.module.bias).softmax(-1)
    torch.testing.assert_close(model.head().masked_mass(), whole[:, 37:].sum(1))
    assert Side(0).head().masked_mass().tolist() == [0.0] * 11


def test_vocabularies_of_other_sizes_are_refused() -> None:
    with pytest.raises(SetupError, match="vocabulary has 37 tokens, the teacher's 38"):
        Side(0).head().divergence(Side(1, vocabulary=38).head(), Measure(kind="forward"))


def test_a_teacher_of_other_tokens_is_a_bug_and_told() -> None:
    with pytest.raises(ValueError, match="11 tokens of the student beside 4"):
        Side(0).head().divergence(Side(1, tokens=4).head(), Measure(kind="forward"))


@pytest.mark.parametrize("form", ["head", "whole"])
def test_some_of_the_tokens_have_the_values_that_they_have_among_all(form: str) -> None:
    student, teacher = Side(0), Side(1)
    measure, mask = Measure(kind="reverse"), torch.arange(11) % 3 == 0
    everything = getattr(student, form)().divergence(getattr(teacher, form)(), measure)
    some = getattr(student, form)().take(mask).divergence(getattr(teacher, form)().take(mask), measure)
    torch.testing.assert_close(some, everything[mask])


def test_a_head_of_no_tokens_may_be_asked() -> None:
    """A rank without tokens of a kind asks as the others do; the way back exists."""
    student, teacher, none = Side(0), Side(1), torch.zeros(11, dtype=torch.bool)
    for kind in EVERY:
        head: LMHead = student.head().take(none)
        value = head.divergence(teacher.head().take(none), Measure(**kind))
        assert value.shape == (0,)
        assert all(gradient.abs().max() == 0 for gradient in student.gradients(value.sum()).values())
    assert head.logprobs_at(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3)
    assert head.likeliest(2)[0].shape == (0, 2)
    assert head.masked_mass().shape == (0,)
