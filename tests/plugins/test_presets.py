"""Presets of `rl`: each is a whole method with its paper, and what overrides one into contradiction is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rl_plans import HOST, planned, refused, resolved

from r1_plugins.rl import Rl
from r1_plugins.rl.contradictions import BLIND_TO_PENALTIES, BY_TOKEN, GROUP_BASELINES
from r1_plugins.rl.presets import PRESETS, SOURCES
from r1core.cli.explain import command
from r1core.errors import RecipeError
from r1core.types import GroupSignals

METHODS: dict[str, tuple[str, str, str]] = {
    "grpo": ("grpo", "ppo_clip", "token_mean"),
    "dr_grpo": ("dr_grpo", "ppo_clip", "constant"),
    "dapo": ("grpo", "ppo_clip", "token_mean"),
    "gspo": ("grpo", "gspo", "sequence_mean"),
    "cispo": ("grpo", "cispo", "token_mean"),
    "rloo": ("rloo", "policy_gradient", "token_mean"),
    "reinforce_pp": ("reinforce_pp", "ppo_clip", "token_mean"),
    "remax": ("remax", "policy_gradient", "token_mean"),
    "opo": ("opo", "policy_gradient", "token_mean"),
    "ppo": ("gae", "ppo_clip", "token_mean"),
    "ppo_mc": ("monte_carlo", "ppo_clip", "token_mean"),
    "r1": ("grpo", "ppo_clip", "sequence_mean"),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_method(name: str) -> None:
    config = Rl.Config.model_validate(PRESETS[name])
    assert (config.advantage.use, config.objective.use, config.aggregation) == METHODS[name]
    for kind, use in (("advantage", config.advantage), ("objective", config.objective)):
        HOST.find(kind, use.use).Config.model_validate(use.options)
    for use in config.filters:
        HOST.find("filter", use.use).Config.model_validate(use.options)


@pytest.mark.parametrize("name", PRESETS)
def test_explain_prints_the_keys_and_the_paper(name: str) -> None:
    said = CliRunner().invoke(command, [name]).output
    said = said[said.index(f"preset {name} of trainer rl") :]
    for key in PRESETS[name]:
        assert f"    {key}: " in said
    assert re.search(r"\b\d{4}\.\d{5}\b", SOURCES[name]), "an arXiv number"
    assert " ".join(SOURCES[name].split()) in " ".join(said.split())


def test_every_preset_has_a_source_and_a_test() -> None:
    assert set(PRESETS) == set(SOURCES) == set(METHODS)


def test_r1_is_the_published_run(tmp_path: Path) -> None:
    assert (PRESETS["r1"]["prompts"], PRESETS["r1"]["samples"]) == (512, 16)
    train: Any = resolved(tmp_path, "preset: r1, prompts: 512, samples: 16")
    assert (train["objective"]["clip_low"], train["objective"]["clip_high"]) == (10, 10)
    assert train["objective"]["dual_clip"] is None
    kl = {"coefficient": 0.001, "placement": "loss", "estimator": "k3", "refresh_every": 400}
    assert train["kl"] == kl
    assert train["updates_per_rollout"] == 16
    assert train["advantage"]["eps"] == 0


def test_what_the_recipe_says_wins(tmp_path: Path) -> None:
    train: Any = resolved(tmp_path, "preset: grpo, objective: {clip_high: 0.5}, kl: {coefficient: 0.1}")
    assert (train["objective"]["clip_low"], train["objective"]["clip_high"]) == (0.2, 0.5)
    train = resolved(tmp_path, "preset: grpo, objective: {use: sapo, tau_positive: 2}")
    assert train["objective"] == {"use": "sapo", "tau_positive": 2.0, "tau_negative": 1.05}


# --- contradictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("preset: grpo, samples: 1, filters: []", r"samples is 1, and advantage grpo compares .*; raise samples"),
        ("preset: rloo, samples: 1", "samples is 1, and advantage rloo"),
        ("preset: opo, samples: 1, numerics: paper", "samples is 1, and advantage opo"),
        ("preset: grpo, samples: 1, numerics: verl", "filter zero_variance drops every group of one"),
        (
            "preset: grpo, importance: {mode: truncate}, old_logprobs: sampler",
            "takes the sampler's for both; set old_logprobs: policy",
        ),
        ("preset: r1, prompts: 2, samples: 4", "updates_per_rollout is 16, of a batch of 2 x 4 answers"),
        ("preset: rloo, kl: {placement: loss}", r"k1 in the loss has a gradient of 0 in expectation"),
        ("preset: rloo, advantage: gdpo", "advantage gdpo would not see kl.placement: reward .*it reads each reward"),
        (
            "preset: ppo_mc, kl: {coefficient: 0.1, placement: reward}",
            "advantage monte_carlo would not see kl.placement: reward .*continuations",
        ),
        ("preset: ppo_mc, objective: gmpo", "monte_carlo one for each token: what tells its tokens apart"),
    ],
)
def test_a_preset_overridden_into_contradiction_is_refused(tmp_path: Path, options: str, said: str) -> None:
    found = refused(tmp_path, options)
    assert re.search(said, found)
    assert re.match(r".*recipe\.yaml:6:\d+: stages\.zero\.train", found), "with its place"


def test_all_contradictions_are_said_at_once(tmp_path: Path) -> None:
    found = refused(
        tmp_path, "advantage: opo, samples: 1, importance: {mode: mask}, old_logprobs: sampler, updates_per_rollout: 9"
    )
    assert all(word in found for word in ("samples is 1", "importance.mode", "updates_per_rollout is 9"))


ESTIMATORS = sorted(c.cls.name for c in HOST.components() if c.kind == "advantage")


def asked(name: str, *, samples: int, charged: bool = False) -> list[float]:
    """The advantages of answers of one token to three problems; `charged`: with penalties in their rewards."""
    cls: Any = HOST.find("advantage", name)
    estimator = cls(cls.Config())
    groups = []
    for number in range(3):
        rewards_G = np.arange(samples) ** 1.5 + number
        penalties_GT = tuple(np.array([0.1 * (i % 2) + 0.2 * number]) for i in range(samples))
        groups.append(
            GroupSignals(
                rewards_G=rewards_G - np.concatenate(penalties_GT) if charged else rewards_G,
                lengths_G=np.ones(samples, dtype=np.int64),
                components={"one": rewards_G},
                states_GK=(np.zeros(1, dtype=np.int64),) * samples,
                values_GK=(np.full(1, 0.5),) * samples,
                greedy=0.5,
                critic_GT=(np.full(1, 0.5),) * samples,
                penalties_GT=penalties_GT if charged else None,
            )
        )
    arrays = estimator(groups) if cls.scope == "batch" else [estimator([group])[0] for group in groups]
    return [float(sample[0]) for group in arrays for sample in group]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_who_needs_a_group_is_who_is_refused_one_answer(name: str) -> None:
    assert (not any(asked(name, samples=1))) == (name in GROUP_BASELINES)


def test_every_name_in_the_tables_is_an_estimator() -> None:
    assert {*GROUP_BASELINES, *BY_TOKEN, *BLIND_TO_PENALTIES} <= set(ESTIMATORS)


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"monte_carlo"}))
def test_who_does_not_see_penalties_is_refused_them_in_the_reward(name: str) -> None:
    seen = asked(name, samples=3) != asked(name, samples=3, charged=True)
    assert seen == (name not in BLIND_TO_PENALTIES)
    assert "monte_carlo" in BLIND_TO_PENALTIES, "it sees them, at the end of an answer only"


@pytest.mark.parametrize(
    "options",
    [
        "preset: remax, samples: 1",
        "preset: reinforce_pp, samples: 1",
        "samples: 1, numerics: verl",
        "samples: 1, advantage: {use: rloo, group_of_one: reward}",
        "preset: ppo_mc, kl: {coefficient: 0.1}",
        "preset: ppo_mc, objective: gspo",
        "preset: grpo, importance: {mode: truncate}",
        "preset: grpo, kl: {placement: reward}",
    ],
)
def test_what_is_sound_is_planned(tmp_path: Path, options: str) -> None:
    assert planned(tmp_path, options).stage("zero").kind == "train"


def test_a_misspelled_preset_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no preset 'gsop'\n  did you mean 'gspo'"):
        planned(tmp_path, "preset: gsop")
