"""Slots and defaults: what a profile binds, where it goes, and what is said when nothing is bound."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest
from third_party import toy_host
from toy_recipes import HEAD, STAGES, TINY, refused, resolved, write

from r1core.errors import RecipeError
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve


def test_model_slots_become_the_first_stages(tmp_path: Path) -> None:
    stages = resolved(tmp_path).recipe.stages
    assert list(stages) == ["base", "zero", "kept", "final", "table"]
    assert stages["base"].kind == "train"


def test_a_model_slot_may_be_a_folder_or_a_hub_id(tmp_path: Path) -> None:
    base = resolved(tmp_path, HEAD + STAGES, "models.base=Qwen/Qwen2.5-0.5B").recipe.stages["base"]
    assert (base.kind, base.import_) == ("import", "Qwen/Qwen2.5-0.5B")


def test_a_profile_brings_along_what_its_models_are_made_from(tmp_path: Path) -> None:
    made = """
        models:
          unread: org/unread
          seed: org/seed
          middle: {train: fit, model: seed, data: {use: numbers}}
          base: {train: fit, model: middle, data: {use: numbers}}
        problems: {reasoning: {use: numbers, limit: 5}}
        rewards: {accuracy: toy}
        engines: {policy: net, sampler: draw}
        """
    stages = resolve(write(tmp_path, made=made), "made").recipe.stages
    assert set(stages) == {"seed", "middle", "base", "zero", "kept", "final", "table"}


def test_a_profiles_evaluation_sets_of_other_recipes_are_dropped(tmp_path: Path) -> None:
    """Those that are whole by themselves are added: a profile may measure more than its recipes."""
    sets = """
          table:
            evaluate:
              sets:
                score: {limit: 2}
                longer: {limit: 7} # of another recipe
                wide: {problems: reasoning, limit: 9, models: [base]}
                others: {problems: reasoning, limit: 9, models: [far]}
          zero: {evaluate: {sets: {longer: {limit: 7}}}}
        """
    path = write(tmp_path, tiny=TINY.replace("  zero: {train: {steps: 3}}\n", "") + indent(dedent(sets), "  "))
    other = (HEAD + STAGES).replace("score: {", "longer: {").replace("final", "far")
    (tmp_path / "another.yaml").write_text(other, encoding="utf-8")
    stages = resolve(path).recipe.stages
    evaluate = stages["table"].evaluate
    assert evaluate is not None
    assert {name: own.limit for name, own in evaluate.sets.items()} == {"score": 2, "wide": 9}
    assert stages["zero"].evaluate is None, "what nothing is left of is not there"


MADE = """
    models:
      seed: org/seed
      middle: {train: fit, model: seed, data: {use: numbers}}
      base: {train: fit, model: middle, data: {use: numbers}}
    problems: {reasoning: {use: numbers, limit: 5}}
    rewards: {accuracy: toy}
    engines: {policy: net, sampler: draw}
    """


def made(tmp_path: Path, *sets: str, recipe: str = HEAD + STAGES) -> set[str]:
    """The models of the recipe under a profile that makes its base of two others."""
    stages = resolve(write(tmp_path, recipe, made=MADE), "made", sets).recipe.stages
    return set(stages) - {"zero", "kept", "final", "table"}


def test_a_profiles_models_go_when_a_setting_takes_their_only_user_away(tmp_path: Path) -> None:
    assert made(tmp_path) == {"seed", "middle", "base"}
    assert made(tmp_path, "models.base=org/mine") == {"base"}
    assert made(tmp_path, "models.base.model=seed") == {"seed", "base"}


def test_a_slot_of_the_recipe_that_only_the_profile_fills_goes_with_its_last_user(tmp_path: Path) -> None:
    others = ("stages.zero.model=org", "stages.final.model=org", "stages.table.models=[zero]")
    recipe = (HEAD + STAGES).replace("models: {base: null}", "models: {base: null, org: org/own}")
    assert made(tmp_path, *others, recipe=recipe) == {"org"}
    assert made(tmp_path, *others[:2], recipe=recipe) == {"org", "base", "middle", "seed"}, "the table still asks it"


def test_what_the_recipe_binds_or_a_setting_names_stays_though_nobody_uses_it(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("models: {base: null}", "models: {base: null, spare: org/spare}")
    assert made(tmp_path, "models.base=org/mine", recipe=recipe) == {"base", "spare"}
    assert made(tmp_path, "models.base=org/mine", "models.middle=org/half") == {"base", "middle"}
    assert made(tmp_path, "models.base=org/mine", "stages.middle.seed=3") == {"base", "middle", "seed"}


def test_a_model_that_one_variant_needs_stays(tmp_path: Path) -> None:
    matrix = "matrix: {start: {own: {}, brought: {models.base: org/mine}}}\n"
    recipe = HEAD + matrix + STAGES
    found = resolve(write(tmp_path, recipe, made=MADE), "made").variants
    assert "middle" in found[0][1].recipe.stages
    both = resolve(write(tmp_path, recipe, made=MADE), "made", ["models.base=org/other"]).variants
    assert [set(each.recipe.stages) & {"middle", "seed"} for _, each in both] == [set(), set()]


def test_the_stages_that_are_left_keep_their_fingerprints(tmp_path: Path) -> None:
    path = write(tmp_path, made=MADE)
    alone = MADE.replace("      base: {train: fit, model: middle, data: {use: numbers}}", "      base: org/mine")
    whole = make_plan(resolve(path, "made", ["models.base=org/mine"]), toy_host())
    write(tmp_path, alone=alone)
    assert whole.fingerprints == make_plan(resolve(path, "alone"), toy_host()).fingerprints


def test_a_url_is_no_model(tmp_path: Path) -> None:
    said = refused(tmp_path, sets=["models.base=http://gpu1:8000/v1"])
    assert "'http://gpu1:8000/v1' is a URL, and a model is imported from files" in said
    assert "sampler: {use: .., endpoint: {url: ..}}" in said


def test_problem_and_reward_slots_are_put_where_they_are_named(tmp_path: Path) -> None:
    stages = resolved(tmp_path).data["stages"]
    assert stages["zero"]["problems"] == {"use": "numbers", "limit": 5}
    assert stages["table"]["evaluate"]["sets"]["score"]["problems"] == {"use": "numbers", "limit": 5}
    assert stages["zero"]["rewards"][0] == {"use": "toy", "strictness": 0.25, "as": "accuracy"}


def test_a_reward_from_a_slot_goes_by_the_slots_name_unless_the_recipe_names_it(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("rewards: [accuracy, ", "rewards: [{use: accuracy, as: right}, ")
    assert resolved(tmp_path, recipe).data["stages"]["zero"]["rewards"][0]["as"] == "right"


def test_options_are_laid_over_a_slot(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("rewards: [accuracy, ", "rewards: [{use: accuracy, weight: 2, mode: hard}, ")
    assert resolved(tmp_path, recipe).data["stages"]["zero"]["rewards"][0] == {
        "use": "toy",
        "strictness": 0.25,
        "weight": 2,
        "mode": "hard",
        "as": "accuracy",
    }


def test_each_step_of_a_schedule_of_problems_may_name_a_slot(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace(
        "model: base\n    problems: reasoning", "model: base\n    problems: {0: reasoning, 50%: numbers}"
    )
    assert resolved(tmp_path, recipe).data["stages"]["zero"]["problems"] == {
        "0": {"use": "numbers", "limit": 5},
        "50%": {"use": "numbers"},
    }


def test_data_may_name_a_stage_or_a_problem_slot(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("data: kept", "data: [kept, reasoning]")
    assert resolved(tmp_path, recipe).data["stages"]["final"]["data"] == ["kept", {"use": "numbers", "limit": 5}]


def test_a_filled_value_is_placed_where_the_profile_wrote_it(tmp_path: Path) -> None:
    file, line, _ = resolved(tmp_path).document.position(("stages", "zero", "problems", "limit"))
    assert (Path(file).name, line) == ("tiny.yaml", 4)


def test_an_unbound_slot_that_is_used_says_how_to_bind_it(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY.replace("rewards: {accuracy: {use: toy, strictness: 0.25}}\n", ""))
    with pytest.raises(RecipeError) as caught:
        resolve(tmp_path / "recipe.yaml")
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert said.startswith(
        "recipe.yaml:11:15: stages.zero.rewards.0: nothing is bound to slot 'accuracy' of rewards: "
        "profile 'tiny' does not bind it\n"
        "  name a reward under `rewards:` in the profile, or with --set rewards.accuracy=<name>\n"
    )
    assert said.endswith("3 errors")


def test_an_unbound_slot_that_nobody_uses_is_fine(tmp_path: Path) -> None:
    recipe = HEAD.replace("{reasoning: null}", "{reasoning: null, spare: null}") + STAGES
    assert resolved(tmp_path, recipe.replace("{base: null}", "{base: null, spare: null}")).unbound == {"spare"}


def test_an_unbound_model_says_how_to_bind_it(tmp_path: Path) -> None:
    said = refused(
        tmp_path, HEAD.replace("{base: null}", "{base: null, big: null}") + STAGES.replace("[base,", "[big,")
    )
    assert said == (
        "recipe.yaml:24:14: stages.table.models.0: nothing is bound to model slot 'big': "
        "profile 'tiny' does not bind it\n"
        "  give it a folder or a hub id: --set models.big=<folder or hub id>\n"
        "1 error"
    )


def test_a_name_is_a_slot_or_a_stage(tmp_path: Path) -> None:
    said = refused(tmp_path, HEAD.replace("{base: null}", "{base: null, zero: some/model}") + STAGES)
    assert "recipe.yaml:3:22: models.zero: 'zero' is both a model slot and a stage" in said


def test_defaults_go_only_to_stages_that_use_them(tmp_path: Path) -> None:
    stages = resolved(tmp_path).data["stages"]
    assert {name for name, stage in stages.items() if "policy" in stage} == set(stages)
    assert {name for name, stage in stages.items() if "sampler" in stage} == {"zero", "kept", "table"}
    assert {name for name, stage in stages.items() if "sampling" in stage} == {"zero", "kept", "table"}


def test_a_stages_own_engine_replaces_the_default_and_its_options_merge(tmp_path: Path) -> None:
    recipe = HEAD + STAGES.replace("    data: kept", "    data: kept\n    policy: {width: 9}")
    assert resolved(tmp_path, recipe).data["stages"]["final"]["policy"] == {"use": "net", "width": 9}
    recipe = HEAD + STAGES.replace("    data: kept", "    data: kept\n    policy: other")
    assert resolved(tmp_path, recipe).data["stages"]["final"]["policy"] == "other"
