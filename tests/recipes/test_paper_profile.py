"""`--profile paper`: the plan against the published numbers, written out here once more.

Sources: arXiv 2501.12948 v2, sections 2.1, 2.2, 3.1, 3.2, B.4 and Tables 4 to 6. What the paper does not print (the
steps of the first RL stage, samples for each prompt) is not held to anything.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from r1core.choices import Use
from r1core.cli.recipe import command
from r1core.components import Trainer
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve
from r1core.recipe.schema import Mix
from r1core.recipe.shipped import shipped_folder

RECIPE = shipped_folder() / "deepseek_r1.yaml"
CONTEXT = 32768
GRPO: dict[str, Any] = {
    "prompts": 512,
    "samples": 16,
    "updates_per_rollout": 16,
    "lr": 3e-6,
    "kl": {"coefficient": 0.001, "placement": "loss", "estimator": "k3", "refresh_every": 400},
    "clip": (10, 10),
    "filters": [],
    "temperature": 1.0,
    "lengths": {0: CONTEXT},
    "top_p": 1.0,
}
RL: dict[str, dict[str, Any]] = {
    "r1_zero": {**GRPO, "steps": 10400, "lengths": {0: CONTEXT, 8199: CONTEXT, 8200: 65536, 10399: 65536}},
    "dev2": GRPO,
    "r1": {**GRPO, "steps": 1700, "temperature": 0.7},
    "student_rl": {**GRPO, "steps": 10000, "lr": 2e-6},
}
SFT: dict[str, tuple[float, float, int]] = {
    "dev1": (5e-5, 5e-6, 128),
    "dev3": (5e-5, 5e-6, 128),
    "student_distilled": (6e-5, 6e-6, 64),
}
REWARDS: dict[str, list[tuple[str, float]]] = {
    "r1_zero": [("accuracy", 1.0), ("format", 1.0)],
    "dev2": [("accuracy", 1.0), ("format", 1.0), ("language", 1.0)],
    "r1": [("accuracy", 1.0), ("format", 1.0), ("language", 1.0), ("reward_model", 1.0), ("reward_model", 1.0)],
    "student_rl": [("accuracy", 1.0), ("format", 1.0)],
}


@cache
def paper() -> Plan:
    return make_plan(resolve(RECIPE, "paper"), PluginHost.discover())


def config(stage: str) -> Any:
    """The Config of a stage's trainer."""
    use = paper().stage(stage).stage.train
    assert use is not None
    trainer: Trainer = paper().component("trainer", use)
    return trainer.config


# --- reinforcement learning --------------------------------------------------------------------------


@pytest.mark.parametrize("stage", RL)
def test_a_stage_of_rl_is_the_papers(stage: str) -> None:
    c, sampling = config(stage), paper().stage(stage).stage.sampling
    objective = c.objective.options
    found = {
        "steps": c.steps,
        "prompts": c.prompts,
        "samples": c.samples,
        "updates_per_rollout": c.updates_per_rollout,
        "lr": c.lr.peak,
        "kl": c.kl.model_dump(),
        "clip": (objective["clip_low"], objective["clip_high"]),
        "filters": c.filters,
        "temperature": sampling.temperature.at(0, c.steps),
        "lengths": {step: sampling.max_new_tokens.at(step, c.steps) for step in RL[stage]["lengths"]},
        "top_p": sampling.top_p,
    }
    assert {key: found[key] for key in RL[stage]} == RL[stage]
    assert c.lr.decay == "constant"
    assert c.lr.warmup_steps == 0
    assert (c.advantage.use, c.objective.use, c.aggregation) == ("grpo", "ppo_clip", "sequence_mean")


@pytest.mark.parametrize("stage", RL)
def test_a_rollout_is_8192_outputs_in_16_minibatches_of_32_questions_on_average(stage: str) -> None:
    c = config(stage)
    assert c.prompts * c.samples == 8192
    assert c.prompts * c.samples / c.updates_per_rollout == 512
    assert c.prompts / c.updates_per_rollout == 32
    assert c.kl.refresh_every / c.updates_per_rollout == 25


@pytest.mark.parametrize("stage", REWARDS)
def test_rules_weigh_alike_and_language_is_added_directly(stage: str) -> None:
    assert [(use.use, use.weight) for use in paper().stage(stage).stage.rewards] == REWARDS[stage]


def test_preference_rewards_and_general_data_come_in_the_last_400_steps_of_r1_only() -> None:
    stage = paper().stage("r1").stage
    for use in stage.rewards:
        covered = [step for step in range(1700) if use.active is None or use.active.covers(step, 1700)]
        assert len(covered) == (400 if use.use == "reward_model" else 1700)
        assert covered[-1] == 1699
    assert stage.problems is not None
    first, last = (stage.problems.at(step, 1700) for step in (1299, 1300))
    reasoning, general = "problems/reasoning.jsonl", "problems/general.jsonl"
    assert isinstance(first, Use)
    assert first.options["path"] == reasoning
    assert isinstance(last, Mix)
    mixed = {share.problems.at(1300, 1700).options["path"]: share.weight for share in last.mix}
    assert mixed == {reasoning: 80, general: 78}


def test_a_general_question_has_one_of_two_reward_models() -> None:
    models = [use for use in paper().stage("r1").stage.rewards if use.use == "reward_model"]
    assert [(use.options["model"], use.options["sees"], use.only_for) for use in models] == [
        ("helpful_rm", "answer", {"task": "chat"}),
        ("safety_rm", "response", {"task": "harm"}),
    ]


# --- supervised stages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", SFT)
def test_a_supervised_stage_is_the_papers(stage: str) -> None:
    c = config(stage)
    c = c.traces if stage == "student_distilled" else c
    peak, end, batch = SFT[stage]
    assert (c.lr.peak, c.lr.decay, c.lr.warmup_steps) == (peak, "cosine", 0)
    assert c.lr.at(10**6, 10**6) == pytest.approx(end)
    assert c.batch_tokens == batch * CONTEXT
    assert c.epochs in (2, 3)


def test_the_second_sft_balances_600k_reasoning_and_200k_general_samples() -> None:
    stage = paper().stage("dev3").stage
    assert stage.balance == {"rejection_sampling": 626933, "general_data": 177812}
    assert sum(stage.balance.values()) == 804745
    sample = paper().stage("general_data").stage.sample
    assert sample is not None
    assert sample.prompts == 177812


@pytest.mark.parametrize(
    ("stage", "objective", "sees"), [("helpful_rm", "pairwise", "answer"), ("safety_rm", "pointwise", "response")]
)
def test_a_reward_model_is_the_papers(stage: str, objective: str, sees: str) -> None:
    c = config(stage)
    assert (c.objective, c.sees, c.batch, c.lr.peak, c.epochs) == (objective, sees, 256, 6e-6, 1)
    assert paper().stage("preference_data").stage.sampling.max_new_tokens.at(0, 1) == 8192


def test_models_and_evaluation_are_the_papers() -> None:
    assert paper().stage("base").stage.import_ == "deepseek-ai/DeepSeek-V3-Base"
    assert paper().stage("student_base").stage.import_ == "Qwen/Qwen2.5-32B"
    evaluate = paper().stage("evaluation").stage.evaluate
    assert evaluate is not None
    aime = evaluate.sets["pass@1"]
    assert (aime.limit, aime.samples, aime.temperature, aime.top_p) == (30, 64, 0.6, 0.95)
    assert paper().stage("evaluation").stage.sampling.max_new_tokens.at(0, 1) == CONTEXT


# --- what a reader sees ---------------------------------------------------------------------------------


def test_the_dry_run_says_the_arithmetic(tmp_path: Path) -> None:
    arguments = [str(RECIPE), "--profile", "paper", "--dry-run", "--run-dir", str(tmp_path / "run")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    said = re.sub(r"\s+", " ", done.output)
    assert "10400 steps" in said
    answers = "650 rollout batches of 512 prompts x 16 samples = 5,324,800 answers of at most 65536 tokens"
    assert f"{answers}, 512 an update" in said
    assert "107 rollout batches of 512 prompts x 16 samples = 876,544 answers of at most 32768 tokens" in said
    assert not (tmp_path / "run").exists()


def test_every_number_names_its_source() -> None:
    """Each line with a value of training in it says where it is from, or that it is not printed."""
    lines = (RECIPE.parent / "profiles" / "paper.yaml").read_text().splitlines()
    keys = re.compile(r"^\s+(?:steps|lr|epochs|batch|batch_tokens|objective|kl|balance|prompts|samples): |sample: \{")
    r1 = lines.index("  r1:")
    told = [line for line in lines[:r1] if keys.search(line)]
    assert len(told) > 25
    assert [line for line in told if not re.search(r"# .*(?:v2|\[none\])", line)] == []
