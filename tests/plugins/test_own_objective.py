"""A researcher's loss: one file of twenty lines beside a recipe, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest

import r1core
from r1core.errors import R1Error
from r1core.store import read_metrics

MINE = '''\
"""The square of what the clipped ratio still lacks: a toy of an objective."""

from pydantic import Field

from r1core import Objective


class Mine(Objective):
    """The policy gradient, each token weighed by 1 / (1 + gap^2) of its log-ratio."""

    name = "mine"

    class Config(Objective.Config):
        gap: float = Field(1.0, gt=0, description="log-ratio at which a token weighs half")

    def __call__(self, view):
        gap = (view.logprob - view.columns["old_logprob"]).detach() / self.config.gap
        weight = 1 / (1 + gap**2)
        view.record("mine/weight", weight)
        return -weight * view.columns["advantage"] * view.logprob
'''
RECIPE = """\
r1: 1
name: own
engines: {policy: {use: transformers, device: cpu}, sampler: echo}
stages:
  base:
    train: {use: sft, lr: 1.0e-3}
    model: {scratch: {model_type: llama, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1,
                      num_attention_heads: 1, num_key_value_heads: 1, head_dim: 32}}
    data: {use: echo, limit: 8}
  zero:
    train: {use: rl, preset: grpo, objective: {use: ./mine.py:Mine, gap: 0.1}, steps: 4, updates_per_rollout: 2,
            prompts: 6, samples: 6, lr: 1.0e-2, filters: []}
    model: base
    problems: echo
    rewards: [accuracy]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    assert len(MINE.splitlines()) <= 20
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_an_objective_of_ones_own_is_trained_with(recipe: Path, tmp_path: Path) -> None:
    run = r1core.run(recipe, profile="none", run_dir=tmp_path / "run")
    metrics = list(read_metrics(run.folder / "stages" / "zero" / "metrics.jsonl"))[-1]
    assert 0 < metrics["mine/weight"] < 1, "the second update on a batch is off-policy"
    assert "clip_ratio/region_mean" not in metrics, "PPO's clip was not asked"
    assert "./mine.py:Mine" in recipe.read_text()
    assert "mine.py:Mine" in (run.folder / "plugins.lock").read_text()


def test_its_options_are_checked_like_any_others(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(R1Error, match="did you mean 'gap'"):
        r1core.run(
            recipe,
            profile="none",
            run_dir=tmp_path / "run",
            set={"stages.zero.train.objective.gpa": 1},
        )
