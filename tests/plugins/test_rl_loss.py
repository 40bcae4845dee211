"""The loss around the objective: KL by estimator and placement, entropy, importance weights; and that no split of a
step into micro-batches, no padding and no order changes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_batch import LENGTHS, batch, golden, gradient, seen, total, view, with_columns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_model import ARCHITECTURE, write_tokenizer
from toy_rl import always, stage, train
from toy_training import group

from r1_plugins.objectives import Cispo, Gmpo, Gspo, PolicyGradient, Sapo
from r1_plugins.ppo import PpoClip
from r1_plugins.rl.importance import SAMPLER, WEIGHT, Importance, mismatch
from r1_plugins.rl.kl import Kl
from r1_plugins.rl.loss import PolicyLoss
from r1_plugins.transformers import TransformersPolicy
from r1core.batching import weighted
from r1core.components import Objective
from r1core.errors import RecipeError
from r1core.types import TrainSequence

EVERY: list[type[Objective]] = [PpoClip, Gspo, Cispo, Sapo, Gmpo, PolicyGradient]


def clip() -> Objective:
    return PpoClip(PpoClip.Config())


def on_policy() -> list[TrainSequence]:
    """The golden batch where the policy has not moved yet."""
    return with_columns(batch(), lambda row: {"old_logprob": row.columns["new"]})


# --- KL in the loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "wanted"), [("k2", 0.019401), ("k3", 0.021088), ("k3_corrected", 0.021088)])
def test_the_distance_to_the_reference_is_that_of_others(estimator: Any, wanted: float) -> None:
    given_ = seen(weighted(on_policy(), "token_mean"))
    loss = PolicyLoss(clip(), Kl(coefficient=1.0, estimator=estimator))
    assert total(loss, given_) - total(clip(), given_) == pytest.approx(wanted, abs=1e-6)
    assert float(given_.recorded["kl"]) / sum(LENGTHS) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("estimator", "wanted"), [("k3", -0.094816), ("k3_corrected", -0.095168)])
def test_the_whole_loss_is_trls(estimator: Any, wanted: float) -> None:
    loss = PolicyLoss(clip(), Kl(coefficient=0.1, estimator=estimator))
    assert total(loss, view("token_mean")) == pytest.approx(wanted, abs=1e-6)


def slope_of_kl(estimator: Any) -> torch.Tensor:
    rows = with_columns(on_policy(), lambda row: {"advantage": 0 * row.columns["advantage"]})
    return gradient(PolicyLoss(clip(), Kl(coefficient=1.0, estimator=estimator)), seen(weighted(rows, "token_mean")))


def test_the_corrected_k3_has_the_gradient_of_k2_and_the_plain_one_another() -> None:
    k2, k3, corrected = (slope_of_kl(estimator) for estimator in ("k2", "k3", "k3_corrected"))
    assert k2.abs().max() > 1e-3
    torch.testing.assert_close(corrected, k2, atol=1e-9, rtol=1e-9)
    assert (k3 - k2).abs().max() > 1e-4


def test_the_corrected_k3_descends_the_divergence_itself() -> None:
    """Over all answers of a small world, weighed by how likely they are, where the exact KL can be written down."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log()
    policy = torch.log_softmax(logits, 0)
    exact = (policy.exp() * (policy - reference)).sum()
    (wanted,) = torch.autograd.grad(exact, [logits], retain_graph=True)
    slopes = {}
    for estimator in ("k2", "k3", "k3_corrected"):
        rows = [
            TrainSequence(
                ids=np.array([0, token]),
                start=1,
                columns={
                    "new": np.array([p]),
                    "old_logprob": np.array([p]),
                    "ref_logprob": np.array([float(r)]),
                    "advantage": np.zeros(1),
                    "weight": np.exp([p]),
                },
            )
            for token, (p, r) in enumerate(zip(policy.tolist(), reference.tolist(), strict=True))
        ]
        by_token = gradient(PolicyLoss(clip(), Kl(coefficient=1.0, estimator=estimator)), seen(rows))  # type: ignore[arg-type]
        (slopes[estimator],) = torch.autograd.grad(policy, [logits], by_token, retain_graph=True)
    torch.testing.assert_close(slopes["k2"], wanted, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(slopes["k3_corrected"], wanted, atol=1e-9, rtol=1e-9)
    assert (slopes["k3"] - wanted).abs().max() > 0.01


def test_k1_in_the_loss_is_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError, match=r"gradient of 0 in expectation.*k3_corrected or k2, or placement: rew"):
        Kl(coefficient=0.1, estimator="k1")
    with pytest.raises(ValidationError, match="the reward has none: set estimator: k1, k2 or k3"):
        Kl(coefficient=0.1, estimator="k3_corrected", placement="reward")


@given(st.sampled_from(["k2", "k3", "k3_corrected"]), st.sampled_from([-1e6, -30.0, 30.0, 1e6]))
def test_a_far_reference_is_finite(estimator: Any, far: float) -> None:
    rows = with_columns(on_policy(), lambda row: {"ref_logprob": row.columns["new"] + far})
    slope = gradient(PolicyLoss(clip(), Kl(coefficient=1.0, estimator=estimator)), seen(weighted(rows, "token_mean")))
    assert slope.isfinite().all()


# --- KL in the reward --------------------------------------------------------------------------------


def test_in_the_reward_k1_is_the_rule() -> None:
    kl = Kl.model_validate({"coefficient": 0.5, "placement": "reward"})
    assert kl.estimator == "k1"
    assert (kl.in_reward, kl.in_loss) == (True, False)
    assert not Kl.model_validate({"placement": "reward"}).in_reward, "a coefficient of 0 keeps no reference"


@pytest.mark.parametrize(("estimator", "wanted"), [("k1", -0.128571), ("k2", 0.019401), ("k3", 0.021088)])
def test_the_penalties_are_verls(estimator: Any, wanted: float) -> None:
    kl = Kl(coefficient=2.0, placement="reward", estimator=estimator)
    penalties = kl.penalties(on_policy())
    assert [len(own) for own in penalties] == list(LENGTHS)
    assert np.concatenate(penalties).mean() == pytest.approx(2 * wanted, abs=2e-6)
    assert kl.charged(on_policy())["kl"] == pytest.approx(wanted, abs=1e-6)


def test_the_reward_is_charged_before_the_estimator() -> None:
    context = stage(always(group("a", 1.0, 0.0, tokens=[(5, 6, 7), (5,)])))
    (step,) = train(context, kl={"coefficient": 0.01, "placement": "reward"})
    ((long, short),) = context.policy.updates  # the toys say -1 a token, their reference -11
    assert long.columns["advantage"] == pytest.approx([1.0 - 0.01 * 10 * 3] * 3)
    assert short.columns["advantage"] == pytest.approx([0.0 - 0.01 * 10])
    assert step.metrics["kl"] == pytest.approx(10)
    assert context.policy.losses[0].kl is None


def test_in_the_loss_the_reward_stays_as_it_is() -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    train(context, kl={"coefficient": 0.01})
    assert [row.columns["advantage"][0] for row in context.policy.updates[0]] == [1.0, 0.0]
    assert context.policy.losses[0].kl.coefficient == 0.01


# --- entropy -----------------------------------------------------------------------------------------


def test_the_entropy_bonus_is_read_only_where_it_is_wanted() -> None:
    rows = with_columns(batch(), lambda row: {"entropy": np.linspace(0.5, 1.5, len(row.ids) - 1)})
    given_ = seen(weighted(rows, "sequence_mean"))
    with_bonus, without = PolicyLoss(clip(), entropy=0.1), PolicyLoss(clip())
    assert (with_bonus.reads, without.reads) == ({"logprob", "entropy"}, {"logprob"})
    by_answer = np.mean([row.columns["entropy"].mean() for row in rows])
    assert total(without, given_) - total(with_bonus, given_) == pytest.approx(0.1 * by_answer)
    mean = np.concatenate([row.columns["entropy"] for row in rows]).mean()
    assert float(given_.recorded["policy_entropy"]) / sum(LENGTHS) == pytest.approx(mean)
    (given_.columns["weight"] * with_bonus(given_)).sum().backward()
    assert (given_.entropy.grad == -0.1 * given_.columns["weight"]).all()


# --- importance --------------------------------------------------------------------------------------


def log_ratios() -> list[Any]:
    """old - new of the golden batch: what it would be if the sampler had said `new`."""
    tables = golden()
    rows = (tables["old_logprob"] - tables["new"]).double().numpy()
    return [row[:length] for row, length in zip(rows, LENGTHS, strict=True)]


def test_the_weights_are_verls() -> None:
    by_token = Importance(mode="truncate", level="token", high=1.1)
    np.testing.assert_allclose(by_token.weights(log_ratios()[0]), [1.049543, 0.968754, 0.762126, 1.1], atol=1e-6)
    masked = Importance(mode="mask", level="token", low=0.9, high=1.1)
    np.testing.assert_allclose(masked.weights(log_ratios()[0]), [1.049543, 0.968754, 0, 0], atol=1e-6)
    by_answer = Importance(mode="truncate", level="sequence", high=1.1)
    found = [by_answer.weights(own) for own in log_ratios()]
    np.testing.assert_allclose([own[0] for own in found], [1.023542, 1.1, 1.1, 1.1, 1.1, 1.1], atol=1e-6)
    assert all(np.ptp(own) == 0 for own in found)


def test_truncation_keeps_what_masking_drops() -> None:
    far = np.log([0.1, 1.0, 9.0])
    assert Importance(mode="truncate", low=0.5, high=2.0).weights(far) == pytest.approx([0.5, 1, 2])
    assert Importance(mode="mask", low=0.5, high=2.0).weights(far) == pytest.approx([0, 1, 0])
    assert Importance(mode="mask", high=2.0).weights(far) == pytest.approx([0.1, 1, 0])
    with pytest.raises(ValidationError, match="low is 3 and high 2"):
        Importance(low=3)


def test_the_weight_is_on_the_objective_and_not_on_the_penalty() -> None:
    loss = PolicyLoss(clip(), Kl(coefficient=0.1))
    plain, doubled = (
        seen(weighted(with_columns(batch(), lambda row, w=w: {WEIGHT: np.full(len(row.ids) - 1, w)}), "token_mean"))
        for w in (1.0, 2.0)
    )
    assert total(loss, doubled) - total(loss, plain) == pytest.approx(total(clip(), plain))


def test_how_far_sampler_and_policy_are_apart() -> None:
    rows = with_columns(batch(), lambda row: {SAMPLER: row.columns["new"]})
    told = {name.removeprefix("sampler/"): value for name, value in mismatch(rows).items()}
    gap = np.concatenate(log_ratios())
    ratio = np.exp(gap)
    assert told == {
        "sampling_logp_difference/mean": pytest.approx(np.abs(gap).mean()),
        "sampling_logp_difference/max": pytest.approx(np.abs(gap).max()),
        "kl": pytest.approx(-0.10901, abs=1e-6),  # verl's ppo_kl of the same pair, the other way round
        "k3_kl": pytest.approx((ratio - gap - 1).mean()),
        "rollout_is_eff_sample_size": pytest.approx(1 / np.mean((ratio / ratio.mean()) ** 2)),
    }
    assert mismatch(batch()) == {}, "nobody told"


def test_verls_ppo_kl_is_told() -> None:
    given_ = view("token_mean")
    PolicyLoss(clip())(given_)
    assert float(given_.recorded["ppo_kl"]) / sum(LENGTHS) == pytest.approx(0.10901, abs=1e-6)


def test_the_gap_is_logged_from_the_first_step_where_both_are_known() -> None:
    steps = train(stage(always(group("a", 1.0, 0.0))), steps=2)  # the sampler says -0.5, the policy -1
    assert [step.metrics["sampler/sampling_logp_difference/mean"] for step in steps] == [0.5, 0.5]
    (step,) = train(stage(always(group("a", 1.0, 0.0))), old_logprobs="sampler")
    assert not [name for name in step.metrics if name.startswith("sampler/")], "only the sampler's are known"


@pytest.mark.parametrize(("level", "weight"), [("token", np.exp(-0.5)), ("sequence", np.exp(-1.5))])
def test_a_step_is_weighed_against_its_sampler(level: str, weight: float) -> None:
    context = stage(always(group("a", 1.0, 0.0)))
    (step,) = train(context, importance={"mode": "truncate", "level": level})
    for row in context.policy.updates[0]:
        assert row.columns[WEIGHT] == pytest.approx([weight] * 3)
        assert SAMPLER not in row.columns, "nothing reads it any more"
    assert step.metrics["sampler/importance_sampling_ratio/mean"] == pytest.approx(weight)


def test_a_sampler_that_told_nothing_is_refused() -> None:
    rows = group("a", 1.0, 0.0)
    untold = type(rows)(
        problem=rows.problem,
        rollouts=tuple(type(r)(**{**vars(r), "logprobs": None}) for r in rows.rollouts),
        scores=rows.scores,
    )
    with pytest.raises(RecipeError, match="temperature 1") as caught:
        train(stage(always(untold)), importance={"mode": "mask"})
    assert "importance.mode: mask" in str(caught.value)
    (step,) = train(stage(always(untold)))
    assert "sampler/kl" not in step.metrics


# --- whatever the split, the padding and the order -----------------------------------------------------

HOW = st.sampled_from(["token_mean", "sequence_mean", "constant"])
LOSSES: dict[str, Callable[[Objective], PolicyLoss]] = {
    "alone": PolicyLoss,
    "with all terms": lambda objective: PolicyLoss(objective, Kl(coefficient=0.3), entropy=0.2),
}


@st.composite
def steps(draw: Any) -> list[TrainSequence]:
    """Answers of any lengths with random numbers in all columns."""
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for length in lengths:
        old = -rng.exponential(size=length)
        columns = {
            "old_logprob": old,
            "new": old + 0.5 * rng.normal(size=length),
            "ref_logprob": old + 0.5 * rng.normal(size=length),
            "advantage": rng.normal(size=length),
            "entropy": rng.uniform(size=length),
            WEIGHT: rng.uniform(0, 2, size=length),
        }
        rows.append(TrainSequence(ids=np.arange(length + 2), start=2, columns=columns))
    return rows


@given(steps(), st.sampled_from(EVERY), HOW, st.sampled_from(list(LOSSES)), st.data())
def test_a_step_is_the_same_however_it_is_cut_and_ordered(
    rows: list[TrainSequence], cls: type[Objective], how: Any, terms: str, data: Any
) -> None:
    loss = LOSSES[terms](cls(cls.Config()))
    rows = weighted(rows, how, longest=7)
    order = data.draw(st.permutations(range(len(rows))))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(rows) - 1, 1)))) - {len(rows)})
    whole = seen(rows)
    slope = gradient(loss, whole).split([len(row.ids) - row.start for row in rows])
    value, found = 0.0, dict[int, torch.Tensor]()
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        places = order[begin:end]
        part = seen([rows[place] for place in places])
        value += total(loss, part)
        slopes = gradient(loss, part).split([len(rows[place].ids) - rows[place].start for place in places])
        found.update(zip(places, slopes, strict=True))
    assert value == pytest.approx(total(loss, whole), abs=1e-6)
    for place, own in enumerate(slope):
        torch.testing.assert_close(found[place], own, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    write_tokenizer(place)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(place, ARCHITECTURE, seed=0)
    return place


def answers(folder: Path) -> list[TrainSequence]:
    """Twelve prompts and answers of uneven lengths, a little off-policy."""
    rng = np.random.default_rng(3)
    rows = [
        TrainSequence(ids=rng.integers(8, 40, size=size), start=int(rng.integers(1, size)), columns={})
        for size in (3, 25, 9, 14, 4, 30, 8, 17, 5, 21, 12, 6)
    ]
    said = TransformersPolicy(TransformersPolicy.Config(device="cpu")).open(folder, trainable=False).logprobs(rows)
    noise = iter(said)

    def columns(row: TrainSequence) -> dict[str, Any]:
        own = next(noise)
        shift = 0.3 * rng.normal(size=(2, len(own)))
        return {"old_logprob": own + shift[0], "ref_logprob": own + shift[1], "advantage": rng.normal(size=len(own))}

    return with_columns(rows, columns)


def stepped(folder: Path, loss: PolicyLoss, rows: list[TrainSequence], budget: int) -> tuple[Any, dict[str, Any]]:
    config = TransformersPolicy.Config(device="cpu", micro_batch_tokens=budget, eps=1.0)
    opened = TransformersPolicy(config).open(folder, trainable=True)
    report = opened.update(rows, loss, lr=0.1)
    return report, {name: tensor.detach() for name, tensor in opened.module().state_dict().items()}


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("how", ["token_mean", "sequence_mean", "constant"])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(1, 200), order=st.permutations(range(12)))
def test_a_policy_s_step_is_the_same_however_it_is_cut_padded_and_ordered(
    folder: Path, cls: type[Objective], how: Any, budget: int, order: list[int]
) -> None:
    loss = PolicyLoss(cls(cls.Config()), Kl(coefficient=0.3), entropy=0.2)
    rows = weighted(answers(folder), how, longest=30)
    whole, whole_weights = stepped(folder, loss, rows, 100_000)
    split, split_weights = stepped(folder, loss, [rows[place] for place in order], budget)
    assert split == pytest.approx(whole, rel=1e-4, abs=1e-4)
    for name, tensor in whole_weights.items():
        torch.testing.assert_close(split_weights[name], tensor, atol=1e-4, rtol=1e-4)
