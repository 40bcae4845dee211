"""Objectives against the values of verl 0.9.1 and TRL 1.16.0, and what each one is for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from golden_batch import LENGTHS, batch, gradient, seen, total, view
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.objectives import Cispo, Gmpo, Gspo, PolicyGradient, Sapo
from r1_plugins.ppo import PpoClip
from r1core.batching import weighted
from r1core.components import Objective
from r1core.nn import TokenView
from r1core.types import TrainSequence

EVERY: list[type[Objective]] = [PpoClip, Gspo, Cispo, Sapo, Gmpo, PolicyGradient]
CLIP = {"clip_low": 0.2, "clip_high": 0.28}
GOLDEN: dict[str, tuple[type[Objective], dict[str, Any], str, float]] = {
    "GSPO by answer: TRL, OpenRLHF": (Gspo, {"clip_low": 0.03, "clip_high": 0.04}, "sequence_mean", 0.022811),
    "GSPO by token: verl": (Gspo, {"clip_low": 0.03, "clip_high": 0.04}, "token_mean", -0.072164),
    "CISPO: verl, slime": (Cispo, CLIP, "token_mean", 0.137474),
    "CISPO with epsilon_high 1.28: TRL": (Cispo, {"cap": 1.28}, "token_mean", 0.137261),
    "SAPO: verl, TRL": (Sapo, {}, "sequence_mean", -0.047397),
    "GPG: verl": (PolicyGradient, {}, "token_mean", 0.15775),
    "GMPO: verl": (Gmpo, CLIP, "sequence_mean", -0.009211),
}


def made(cls: type[Objective], **options: Any) -> Objective:
    return cls(cls.Config.model_validate(options))


def drawn(log_ratios: list[float], advantage: float, *, old: float = -1.0) -> TokenView:
    """One answer with these log-ratios."""
    size = len(log_ratios)
    columns = {
        "new": old + np.array(log_ratios),
        "old_logprob": np.full(size, old),
        "advantage": np.full(size, advantage),
    }
    return seen(weighted([TrainSequence(ids=np.arange(size + 1), start=1, columns=columns)], "token_mean"))


@pytest.mark.parametrize(("cls", "options", "how", "wanted"), GOLDEN.values(), ids=GOLDEN)
def test_the_values_are_those_of_other_implementations(
    cls: type[Objective], options: dict[str, Any], how: str, wanted: float
) -> None:
    assert total(made(cls, **options), view(how)) == pytest.approx(wanted, abs=1e-6)


# --- what all of them promise ----------------------------------------------------------------------


@pytest.mark.parametrize("cls", EVERY)
def test_at_the_old_policy_every_objective_is_the_policy_gradient(cls: type[Objective]) -> None:
    rows = [replace(r, columns={**r.columns, "new": r.columns["old_logprob"]}) for r in batch()]
    slopes = [gradient(made(one), seen(weighted(rows, "sequence_mean"))) for one in (cls, PolicyGradient)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-9, rtol=1e-9)
    assert slopes[0].abs().max() > 0.01


EXTREME = st.sampled_from([-1e6, -700.0, -20.0, -1.0, 0.0, 1e-9, 1.0, 20.0, 700.0, 1e6])


@given(
    st.sampled_from(EVERY),
    st.lists(EXTREME, min_size=1, max_size=5),
    st.sampled_from([-1e3, -1.0, 0.0, 1.0, 1e3]),
)
def test_nothing_that_can_happen_is_infinite(cls: type[Objective], ratios: list[float], advantage: float) -> None:
    given_ = drawn(ratios, advantage)
    loss = made(cls)(given_)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert given_.logprob.grad is not None
    assert given_.logprob.grad.isfinite().all()


@pytest.mark.parametrize("cls", EVERY)
def test_an_empty_micro_batch_has_no_loss(cls: type[Objective]) -> None:
    none = torch.zeros(0, dtype=torch.float64)
    columns = {"advantage": none, "old_logprob": none, "weight": none}
    index = torch.zeros(0, dtype=torch.long)
    loss = made(cls)(TokenView(columns=columns, sequence=index, targets=index, given={"logprob": none}))
    assert loss.shape == (0,)


@given(st.permutations(range(6)), st.integers(1, 5), st.sampled_from([Gspo, Gmpo]))
def test_an_answer_s_ratio_is_its_own_whatever_the_order_or_split(
    order: list[int], cut: int, cls: type[Objective]
) -> None:
    rows = weighted(batch(), "token_mean")
    whole = total(made(cls, clip_low=0.01, clip_high=0.01), seen(rows))
    mixed = [rows[place] for place in order]
    parts = [total(made(cls, clip_low=0.01, clip_high=0.01), seen(part)) for part in (mixed[:cut], mixed[cut:])]
    assert sum(parts) == pytest.approx(whole, abs=1e-6)


# --- GSPO ------------------------------------------------------------------------------------------


def test_gspo_clips_an_answer_whole() -> None:
    for shift, pushed in ((0.0003, True), (0.0005, False)):
        slope = gradient(made(Gspo), drawn([shift - 0.5, shift + 0.5, shift], 1.0))
        assert (slope != 0).all() if pushed else (slope == 0).all()
        assert slope.std() == pytest.approx(0, abs=1e-9), "each token is pushed alike, however far it moved itself"


def test_gspo_takes_an_advantage_for_each_token() -> None:
    given_ = drawn([0.1, -0.1], 1.0)
    given_.columns["advantage"].copy_(torch.tensor([1.0, -2.0]))
    np.testing.assert_allclose(made(Gspo)(given_).detach(), [-1.0, 2.0])
    np.testing.assert_allclose(gradient(made(Gspo), given_), [-0.5, 1.0])


# --- CISPO -----------------------------------------------------------------------------------------


def test_cispo_leaves_every_token_a_gradient() -> None:
    for log_ratio, weight in ((0.0, 1.0), (3.0, 1.28), (-3.0, 0.8)):
        slope = gradient(made(Cispo, **CLIP), drawn([log_ratio], 2.0))
        assert slope.item() == pytest.approx(-2.0 * weight)


def test_with_a_cap_cispo_has_no_bound_below() -> None:
    for log_ratio, weight in ((-3.0, np.exp(-3)), (1.0, np.e), (3.0, 5.0)):
        assert gradient(made(Cispo, cap=5), drawn([log_ratio], 1.0)).item() == pytest.approx(-weight)


def test_the_share_of_clipped_weights_is_told() -> None:
    given_ = drawn([0.0, 1.0, -1.0, 0.2], 1.0)
    made(Cispo, **CLIP)(given_)
    assert float(given_.recorded["clip_ratio/region_mean"]) == 2


# --- SAPO ------------------------------------------------------------------------------------------


@given(st.floats(-2, 2), st.sampled_from([-1.0, 1.0]))
def test_sapo_s_gate_is_the_papers(log_ratio: float, advantage: float) -> None:
    rho, tau = np.exp(log_ratio), 1.0 if advantage > 0 else 1.05
    wanted = -advantage * 4 / tau / (1 + np.exp(-tau * (rho - 1)))
    assert total(made(Sapo), drawn([log_ratio], advantage)) == pytest.approx(wanted)


def test_sapo_fades_where_the_others_cut() -> None:
    slopes = [abs(gradient(made(Sapo), drawn([np.log(rho)], -1.0)).item()) / rho for rho in (1, 2, 4, 8)]
    assert all(near > far > 0 for near, far in itertools.pairwise(slopes))
    sooner, later = (gradient(made(Sapo, tau_negative=tau), drawn([2.0], -1.0)).item() for tau in (2.0, 1.0))
    assert sooner < later


# --- GMPO ------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=6), st.floats(0.1, 3), st.booleans())
def test_gmpo_is_the_geometric_mean_of_clipped_ratios(ratios: list[float], size: float, good: bool) -> None:
    clipped = np.minimum(ratios, 0.4) if good else np.maximum(ratios, -0.4)
    wanted = (-size if good else size) * np.exp(np.mean(clipped))
    assert total(made(Gmpo), drawn(ratios, size if good else -size)) == pytest.approx(wanted)


def test_one_outlying_token_moves_gmpo_less_than_its_clip_allows() -> None:
    ordinary, outlying = (total(made(Gmpo), drawn([0.0] * 9 + [far], 1.0)) for far in (0.0, 15.0))
    assert ordinary > outlying == pytest.approx(-np.exp(0.4 / 10))


# --- bad options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Gspo, {"clip_low": -1}),
        (Cispo, {"cap": 0}),
        (Sapo, {"tau_positive": 0}),
        (Gmpo, {"clip_high": -0.1}),
        (PolicyGradient, {"clip_low": 0.2}),
    ],
)
def test_options_out_of_range_are_refused(cls: type[Objective], options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        made(cls, **options)


def test_the_batch_has_one_value_for_each_token() -> None:
    for cls in EVERY:
        assert made(cls)(view("token_mean")).shape == (sum(LENGTHS),)
