"""A researcher's estimator: one file of twenty lines beside a recipe, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import r1core
from r1core.errors import R1Error
from r1core.store import read_metrics

MINE = '''\
"""Only the answers that beat the greedy one are learned from, by how much they beat it."""

import numpy as np
from pydantic import Field

from r1core import AdvantageEstimator


class Mine(AdvantageEstimator):
    """max(0, reward - reward of the greedy answer - margin)."""

    name = "mine"
    needs = frozenset({"rewards", "greedy"})

    class Config(AdvantageEstimator.Config):
        margin: float = Field(0.0, ge=0, description="what beating it takes, in units of the reward")

    def __call__(self, groups):
        return [[np.array([max(0.0, r - g.greedy - self.config.margin)]) for r in g.rewards_G] for g in groups]
'''
RECIPE = """\
r1: 1
name: own
engines: {policy: echo, sampler: echo}
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 4}, model: {scratch: {model_type: echo}}, data: {use: echo}}
  zero:
    train: {use: rl, advantage: {use: ./mine.py:Mine, margin: 0.25}, steps: 30, prompts: 8, samples: 4, lr: 0.2}
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


def test_an_estimator_of_ones_own_is_trained_with(recipe: Path, tmp_path: Path) -> None:
    run = r1core.run(recipe, profile="none", run_dir=tmp_path / "run")
    rows = list(read_metrics(run.folder / "stages" / "zero" / "metrics.jsonl"))
    rewards = [row["reward"] for row in rows]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.3, "it learns"
    assert rows[0]["greedy/answers"] == 8, "what it needs is sampled, one greedy answer to each problem"
    assert rows[-1]["empty_batch"] == 1.0, "nothing beats a greedy answer that is right"
    assert "mine.py:Mine" in (run.folder / "plugins.lock").read_text()


def test_what_nobody_provides_is_refused_before_it_runs(recipe: Path, tmp_path: Path) -> None:
    mine = recipe.with_name("mine.py")
    mine.write_text(MINE.replace('"greedy"}', '"gredy"}'), encoding="utf-8")
    with pytest.raises(R1Error) as caught:
        r1core.run(recipe, profile="none", run_dir=tmp_path / "run")
    said = str(caught.value)
    assert "recipe.yaml:7:" in said
    assert "needs 'gredy', not provided" in said
    assert "did you mean 'greedy'?" in said
    assert not (tmp_path / "run").exists()
