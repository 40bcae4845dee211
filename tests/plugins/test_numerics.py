"""`numerics`: whose conventions fill in what nobody says, and that they end up in the plan as plain numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from rl_plans import HOST, planned, resolved

from r1_plugins.rl import Rl
from r1_plugins.rl.numerics import ADVANTAGE, AGGREGATION, KL_IN_LOSS, OBJECTIVE
from r1core.choices import Use
from r1core.recipe.plan import make_plan, write_resolved
from r1core.recipe.resolve import resolve
from r1core.types import Floats, GroupSignals


def config(**options: Any) -> Any:
    return Rl.Config.model_validate(options)


@pytest.mark.parametrize(("numerics", "eps"), [("verl", 1e-6), ("trl", 1e-4), ("paper", 0.0)])
def test_an_estimators_eps_is_that_of_whom_one_follows(numerics: str, eps: float) -> None:
    assert config(numerics=numerics, advantage="grpo").advantage.options["eps"] == eps
    assert config(numerics=numerics).advantage.options["eps"] == eps, "also of the default estimator"


def test_what_the_recipe_says_stays() -> None:
    own = config(
        numerics="verl",
        advantage={"use": "grpo", "eps": 0.5},
        objective={"use": "ppo_clip", "dual_clip": None},
        kl={"estimator": "k2"},
    )
    assert own.advantage.options["eps"] == 0.5
    assert own.objective.options["dual_clip"] is None
    assert own.kl.estimator == "k2"
    gspo = config(numerics="verl", objective="gspo", aggregation="constant")
    assert gspo.aggregation == "constant"


def test_without_it_nothing_is_laid_under() -> None:
    plain = config()
    assert plain.numerics is None
    assert (plain.advantage, plain.objective) == (Use(use="grpo"), Use(use="ppo_clip"))
    assert (plain.kl.estimator, plain.aggregation) == ("k3_corrected", "token_mean")


@pytest.mark.parametrize(
    ("objective", "numerics", "wanted"),
    [
        ("ppo_clip", "verl", {"dual_clip": 3.0}),
        ("ppo_clip", "trl", {"dual_clip": None}),
        ("cispo", "verl", {"cap": None}),
        ("cispo", "trl", {"cap": 5.0}),
        ("sapo", "verl", {}),
    ],
)
def test_an_objectives_bounds_are_theirs(objective: str, numerics: str, wanted: dict[str, Any]) -> None:
    assert config(numerics=numerics, objective=objective).objective.options == wanted


@pytest.mark.parametrize(("numerics", "how"), [("verl", "token_mean"), ("trl", "sequence_mean")])
def test_gspo_is_averaged_as_they_do(numerics: str, how: str) -> None:
    assert config(numerics=numerics, objective="gspo").aggregation == how
    assert config(numerics=numerics, objective="ppo_clip").aggregation == "token_mean"


@pytest.mark.parametrize(("numerics", "estimator"), KL_IN_LOSS.items())
def test_the_kl_in_the_loss_is_theirs_and_in_the_reward_k1(numerics: str, estimator: str) -> None:
    assert config(numerics=numerics, kl={"coefficient": 0.1}).kl.estimator == estimator
    assert config(numerics=numerics, kl={"coefficient": 0.1, "placement": "reward"}).kl.estimator == "k1"


def test_a_component_of_ones_own_is_left_alone() -> None:
    mine = config(numerics="verl", advantage="./mine.py:Mine", objective={"use": "chem/clip", "width": 2})
    assert mine.advantage == Use(use="./mine.py:Mine")
    assert mine.objective == Use(use="chem/clip", width=2)


def test_a_name_nobody_has_is_refused() -> None:
    with pytest.raises(ValidationError, match="numerics"):
        config(numerics="verll")


def test_every_laid_option_is_one_that_the_component_has() -> None:
    for kind, table in (("advantage", ADVANTAGE), ("objective", OBJECTIVE)):
        for laid in table.values():
            for name, options in laid.items():
                HOST.find(kind, name).Config.model_validate(options)
    assert set(ADVANTAGE) == set(OBJECTIVE) == set(AGGREGATION) == set(KL_IN_LOSS)


def test_verl_and_trl_disagree_about_the_same_group() -> None:
    group = GroupSignals(rewards_G=np.array([1.0, 0.0, 0.5]), lengths_G=np.array([4, 2, 3]))
    found = {}
    for numerics in ("verl", "trl"):
        use = config(numerics=numerics).advantage
        cls = HOST.find("advantage", use.use)
        found[numerics] = _ask(cls, use, group)
    np.testing.assert_allclose(found["verl"], [0.999998, -0.999998, 0], atol=1e-6)
    np.testing.assert_allclose(found["trl"], [0.9998, -0.9998, 0], atol=1e-6)


@pytest.mark.parametrize(("numerics", "wanted"), [(None, 0.0), ("verl", 0.7 / (1 + 1e-6)), ("trl", 0.0)])
def test_a_group_of_one_is_worth_what_they_say(numerics: str | None, wanted: float) -> None:
    use = config(numerics=numerics).advantage
    group = GroupSignals(rewards_G=np.array([0.7]), lengths_G=np.array([4]))
    np.testing.assert_allclose(_ask(HOST.find("advantage", use.use), use, group), [wanted], atol=1e-9)


def _ask(cls: Any, use: Use, group: GroupSignals) -> Floats:
    (found,) = cls(cls.Config.model_validate(use.options))([group])
    return np.concatenate(found)


# --- in the plan -------------------------------------------------------------------------------------


def test_the_plan_shows_the_numbers(tmp_path: Path) -> None:
    train: Any = resolved(tmp_path, "preset: grpo, numerics: trl")
    assert train["numerics"] == "trl"
    assert train["advantage"]["eps"] == 1e-4
    assert train["objective"] == {"use": "ppo_clip", "clip_low": 0.2, "clip_high": 0.28, "dual_clip": None}
    assert train["kl"]["estimator"] == "k3_corrected"


def test_the_fingerprint_has_the_numbers(tmp_path: Path) -> None:
    prints = {
        options: planned(tmp_path, options).stage("zero").fingerprint
        for options in ("numerics: verl", "numerics: trl", "numerics: trl, advantage: {use: grpo, eps: 0.01}")
    }
    assert len(set(prints.values())) == 3


def test_a_resolved_recipe_plans_to_the_same_again(tmp_path: Path) -> None:
    for options in ("preset: r1", "numerics: verl, objective: gspo", "numerics: trl, preset: cispo"):
        first = planned(tmp_path, options)
        path = tmp_path / "again.yaml"
        path.write_text(write_resolved(first), encoding="utf-8")
        again = make_plan(resolve(path, None), HOST)
        assert again.stage("zero").fingerprint == first.stage("zero").fingerprint
