"""A learned critic: when it is asked, what it learns, how it is saved, that it comes to know what answers are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_batch import LENGTHS
from rl_plans import planned, refused
from test_advantages import VALUES, batch, estimator, flat
from test_transformers_policy import make, policy
from toy_rl import always, stage, train
from toy_training import ToyContext, group

from r1_plugins.rl.critic import Critic, CriticOptions, ValueLoss
from r1_plugins.rl.signals import known
from r1core.nn import TokenView
from r1core.testing.stages import bytes_of, launch
from r1core.types import At, TrainSequence

TOKENS = sum(LENGTHS)


def view(score: Any, value: Any, wanted: Any) -> TokenView:
    columns = {"value": torch.as_tensor(value), "return": torch.as_tensor(wanted)}
    index = torch.zeros(len(score), dtype=torch.long)
    return TokenView(columns=columns, given={"score": torch.as_tensor(score)}, sequence=index, targets=index)


# --- its loss ------------------------------------------------------------------------------------


def test_the_value_loss_is_verls() -> None:
    gae = estimator("gae", gamma=0.9, lam=0.95)
    old = np.concatenate([np.array(own) for each in VALUES for own in each])
    seen = view(old + 0.3, old, flat(gae.returns(batch())))
    assert float(ValueLoss(0.2)(seen).mean()) == pytest.approx(0.083903, abs=1e-6)
    assert 0 <= float(seen.recorded["critic/vf_clipfrac"]) <= TOKENS


def test_a_value_that_has_moved_too_far_gets_no_reward_for_it() -> None:
    score = torch.tensor([0.5, 0.1, -0.5], dtype=torch.float64, requires_grad=True)
    zeros = torch.zeros(3, dtype=torch.float64)
    loss = ValueLoss(0.2)(view(score, zeros, zeros + 1.0))
    np.testing.assert_allclose(loss.detach(), [0.5 * 0.8**2, 0.5 * 0.9**2, 0.5 * 1.5**2])
    loss.sum().backward()
    assert score.grad is not None
    assert score.grad.tolist() == pytest.approx([0.0, -0.9, -1.5])


def test_without_a_clip_it_is_half_the_squared_error() -> None:
    seen = view(np.array([0.5, -2.0]), np.zeros(2), np.ones(2))
    np.testing.assert_allclose(ValueLoss(None)(seen), [0.125, 4.5])
    assert seen.recorded == {}


# --- in the loop ---------------------------------------------------------------------------------

ANSWERS = group("a", 1.0, 0.0, tokens=[(2, 4, 6), (8,)])


def taught(context: ToyContext, **options: Any) -> list[Any]:
    return train(context, advantage={"use": "gae", "whiten": False}, **options)


def test_a_critic_is_opened_only_for_an_estimator_that_needs_one() -> None:
    for advantage, opened in (("grpo", []), ("gae", [None])):
        context = stage(always(ANSWERS))
        train(context, advantage=advantage)
        assert context.critics == opened


def test_it_may_begin_as_a_reward_model() -> None:
    context = stage(always(ANSWERS))
    taught(context, critic={"model": "judge"})
    assert context.critics == ["judge"]


def test_it_learns_what_it_should_have_said() -> None:
    context = stage(always(ANSWERS))
    (step,) = taught(context, critic={"lr": 0.5, "updates": 3, "clip": 0.1})
    assert len(context.second.updates) == 3
    assert context.second.rates == [0.5] * 3
    (long, short), *_ = context.second.updates
    assert (long.columns["value"].tolist(), short.columns["value"].tolist()) == ([1.0, 2.0, 3.0], [4.0])
    assert (long.columns["return"].tolist(), short.columns["return"].tolist()) == ([1.0] * 3, [0.0])
    assert long.columns["weight"].tolist() == [0.25] * 3, "the token mean, whatever the policy's aggregation"
    assert (context.second.losses[0].clip, context.second.losses[0].reads) == (0.1, {"score"})
    ((policys, _),) = context.policy.updates
    assert policys.columns["advantage"].tolist() == [0.0, -1.0, -2.0]
    assert (step.metrics["critic/vf_loss"], step.metrics["critic/grad_norm"], step.metrics["loss"]) == (0.25, 1.5, 0.25)


def test_each_share_of_a_batch_is_learned_from_by_both() -> None:
    context = stage(always(group("a", *range(6))))
    taught(context, steps=3, updates_per_rollout=3)
    assert (
        [len(share) for share in context.second.updates] == [len(share) for share in context.policy.updates] == [2] * 3
    )
    for share, own in zip(context.second.updates, context.policy.updates, strict=True):
        assert [s.columns["return"].tolist() for s in share] == [s.columns["return"].tolist() for s in own]


def test_the_policy_waits_while_the_critic_warms_up() -> None:
    context = stage(always(ANSWERS))
    steps = taught(context, steps=5, critic={"warmup_steps": 3})
    assert (len(context.second.updates), len(context.policy.updates)) == (5, 2)
    assert [step.metrics["loss"] for step in steps] == [0.0] * 3 + [0.25] * 2
    assert [step.note for step in steps] == [""] * 5


def test_an_empty_share_teaches_nobody() -> None:
    context = stage(always(group("a", 1.0, 1.0)))
    (step,) = taught(context, filters=["zero_variance"])
    assert context.second.updates == context.policy.updates == []
    assert not [name for name in step.metrics if name.startswith("critic/")]


def test_its_fit_is_measured_before_it_learns() -> None:
    def fit(*tokens: tuple[int, ...]) -> dict[str, float]:
        context = stage(always(group("a", 1.0, 0.0, tokens=tokens)))
        (step,) = taught(context)
        return {name.removeprefix("critic/"): value for name, value in step.metrics.items() if "critic/" in name}

    knowing = fit((2, 2), (0, 0))  # the toy says half of a token's number: 1, 1 and 0, 0
    assert knowing["vf_explained_var"] == pytest.approx(1.0)
    assert (knowing["vpred_mean"], knowing["return_mean"]) == (0.5, 0.5)
    assert fit((0, 0), (0, 0))["vf_explained_var"] == pytest.approx(0.0)
    assert fit((0, 0), (2, 2))["vf_explained_var"] == pytest.approx(-3.0)
    assert "vf_explained_var" not in fit((2, 2), ()), "one return explains nothing"


def test_penalties_in_the_reward_are_part_of_what_it_learns() -> None:
    context = stage(always(ANSWERS))
    taught(context, kl={"coefficient": 0.01, "placement": "reward"})
    (long, short), *_ = context.second.updates
    # The toys' log-probs are -1 and -11 (reference): each token is charged 0.1.
    assert long.columns["return"].tolist() == pytest.approx([0.7, 0.8, 0.9])
    assert short.columns["return"].tolist() == pytest.approx([-0.1])


# --- with a model --------------------------------------------------------------------------------


def test_a_critic_comes_to_know_what_answers_are_worth(tmp_path: Path) -> None:
    """Answers with the token 9 are worth 1, others 0: from there on it should say so, before it can only guess."""
    folder = make(tmp_path)
    random = np.random.default_rng(0)
    answers = [
        np.array([*random.integers(10, 40, 3), 9 if n % 2 else 8, *random.integers(10, 40, 3)]) for n in range(32)
    ]
    share = [TrainSequence(ids=np.array([3, *ids]), start=1, columns={}) for ids in answers]
    share = known(share, "return", [np.full(7, float(n % 2)) for n in range(32)])
    context = ToyContext()
    context.second = policy().open(folder, trainable=True, head="score")  # type: ignore[assignment]
    critic = Critic(context, CriticOptions(lr=3e-3, clip=None))  # type: ignore[arg-type]
    told: dict[str, float] = {}
    for step in range(60):
        share = known(share, "value", critic.values(share))
        told = critic.update(share, At(step=step, position=step, length=60))
    values_ST = np.array(critic.values(share))
    wise, ignorant = values_ST[:, 5:], values_ST[:, :3]
    np.testing.assert_allclose(wise[1::2].mean(), 1.0, atol=0.15)
    np.testing.assert_allclose(wise[0::2].mean(), 0.0, atol=0.15)
    assert abs(ignorant[1::2].mean() - ignorant[0::2].mean()) < 0.5 < wise[1::2].mean() - wise[0::2].mean()
    assert told["critic/vf_explained_var"] > 0.3


RECIPE = """\
r1: 1
name: critics
engines: {policy: {use: transformers, device: cpu}, sampler: echo}
stages:
  base:
    train: {use: sft, lr: 1.0e-3}
    model: {scratch: {model_type: llama, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1,
                      num_attention_heads: 1, num_key_value_heads: 1, head_dim: 32}}
    data: {use: echo, limit: 8}
  zero:
    train: {use: rl, advantage: gae, critic: {lr: 3.0e-3}, steps: 4, prompts: 4, samples: 4, lr: 3.0e-3}
    model: base
    problems: echo
    rewards: [accuracy]
"""


def test_a_killed_stage_goes_on_with_its_critic(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    launch(recipe, tmp_path / "whole", "zero")
    launch(recipe, tmp_path / "killed", "zero", kill_at=3)
    saved = sorted((tmp_path / "killed/stages/zero/checkpoint").glob("step-*"))[-1]
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*.safetensors")}
    assert files == {f"{who}/{what}.safetensors" for who in ("policy", "critic") for what in ("weights", "optimizer")}
    assert launch(recipe, tmp_path / "killed", "zero").gone_on
    assert bytes_of(tmp_path / "killed", "zero") == bytes_of(tmp_path / "whole", "zero")
    assert not list((tmp_path / "whole/stages/zero/model").glob("*critic*")), "the model that is left is the policy"


# --- what the plan refuses -----------------------------------------------------------------------


def test_a_policy_without_a_score_head_can_be_no_critic(tmp_path: Path) -> None:
    said = refused(tmp_path, "advantage: gae")
    assert "recipe.yaml:6:" in said
    assert "gae (r1core" in said
    assert "needs a critic, policy echo has no score head to make one of" in said
    planned(tmp_path, "advantage: gae", policy="{use: transformers, device: cpu}")


def test_a_policy_that_would_never_learn_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, "critic: {warmup_steps: 2}")
    assert "critic.warmup_steps is 2, of 2 steps: the policy would never learn" in said


def test_a_critic_begins_from_a_stage_that_there_is(tmp_path: Path) -> None:
    said = refused(tmp_path, "advantage: remax, critic: {model: bse}")
    assert "no stage 'bse'" in said
    assert "did you mean 'base'?" in said


def test_the_stage_that_it_begins_from_is_an_input(tmp_path: Path) -> None:
    options = "advantage: remax, critic: {model: base}"
    assert planned(tmp_path, options).stage("zero").inputs == ("base",)
