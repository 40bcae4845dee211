"""`matrix:` as a graph: what is shared, what is copied, how edges and randomness follow, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from third_party import toy_host
from toy_recipes import HEAD, STAGES, TINY, planned, refused, write

from r1core.recipe.matrix import MOST
from r1core.recipe.plan import Plan, make_plan, write_resolved
from r1core.recipe.resolve import resolve

TWO_BY_TWO = """\
matrix:
  estimator:
    plain:
    square: {stages.zero.train.advantage.normalize_std: true}
  stages.final.train.lr: {slow: 0.001, fast: 0.1}
"""


def with_matrix(text: str, stages: str = STAGES) -> str:
    return HEAD + text + stages


def ids(plan: Plan) -> set[str]:
    return set(plan.fingerprints)


# --- what is shared, what is copied ----------------------------------------------------------------


def test_a_stage_is_copied_along_the_axes_that_change_it_and_no_others(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix(TWO_BY_TWO))
    assert ids(plan) == {
        "base",
        *(f"{stage}@{estimator}" for stage in ("zero", "kept") for estimator in ("plain", "square")),
        *(f"{s}@{e},{lr}" for s in ("final", "table") for e in ("plain", "square") for lr in ("slow", "fast")),
    }
    assert [variant.label for variant in plan.variants] == ["plain,slow", "plain,fast", "square,slow", "square,fast"]
    assert plan.variants[3].where == {"estimator": "square", "lr": "fast"}
    assert plan.variants[3].stages == {
        "base": "base",
        "zero": "zero@square",
        "kept": "kept@square",
        "final": "final@square,fast",
        "table": "table@square,fast",
    }


def test_a_variant_reads_what_its_own_variant_made(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix(TWO_BY_TWO))
    assert plan.stage("zero@square").inputs == ("base",)
    assert plan.stage("kept@square").inputs == ("zero@square",)
    assert plan.stage("final@square,fast").inputs == ("base", "kept@square")
    assert plan.stage("final@square,fast").stage.data == ["kept@square"]


def test_every_model_is_measured_once_in_the_first_evaluation_that_has_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix(TWO_BY_TWO))
    measured = {name: plan.stage(name).stage.models for name in ids(plan) if name.startswith("table")}
    assert measured == {
        "table@plain,slow": ["base", "zero@plain", "final@plain,slow"],
        "table@plain,fast": ["final@plain,fast"],
        "table@square,slow": ["zero@square", "final@square,slow"],
        "table@square,fast": ["final@square,fast"],
    }


def test_an_evaluation_with_nothing_left_to_measure_is_not_there(tmp_path: Path) -> None:
    stages = STAGES.replace("models: [base, zero, final]", "models: [base, zero]")
    plan = planned(tmp_path, with_matrix(TWO_BY_TWO, stages))
    assert {name for name in ids(plan) if name.startswith("table")} == {"table@plain", "table@square"}
    stages = STAGES.replace("models: [base, zero, final]", "models: [base]")
    assert {name for name in ids(planned(tmp_path, with_matrix(TWO_BY_TWO, stages))) if "table" in name} == {"table"}


def test_a_model_is_measured_again_where_it_is_measured_otherwise(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix("matrix: {stages.table.sampling.top_p: [1.0, 0.5]}\n"))
    assert ids(plan) == {"base", "zero", "kept", "final", "table@top_p=1.0", "table@top_p=0.5"}
    assert all(plan.stage(f"table@top_p={p}").stage.models == ["base", "zero", "final"] for p in ("1.0", "0.5"))


def test_variants_of_equal_content_are_one_stage_under_the_first_ones_name(tmp_path: Path) -> None:
    text = "matrix: {a: {x: {stages.zero.train.steps: 3}, y: , z: {stages.zero.train.steps: 4}}}\n"
    plan = planned(tmp_path, with_matrix(text))
    assert {name for name in ids(plan) if name.startswith("zero")} == {"zero@x", "zero@z"}
    assert plan.variants[1].stages["zero"] == "zero@x"


def test_a_matrix_that_changes_nothing_copies_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix("matrix: {a: {x: , y: {}}}\n"))
    assert plan.fingerprints == planned(tmp_path).fingerprints


# --- randomness ------------------------------------------------------------------------------------


def test_variants_draw_as_the_recipes_stage_does_and_a_copy_is_what_it_would_be_alone(tmp_path: Path) -> None:
    plan, alone = planned(tmp_path, with_matrix(TWO_BY_TWO)), planned(tmp_path)
    names = {plan.stage(f"zero@{estimator}").name for estimator in ("plain", "square")}
    assert names == {"zero"}
    assert plan.stage("zero@plain").fingerprint == alone.stage("zero").fingerprint
    assert plan.stage("zero@square").fingerprint != alone.stage("zero").fingerprint
    assert plan.stage("zero@square").made_from["id"] == "zero"


def test_a_seed_of_a_stage_leaves_what_is_above_it_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix("matrix: {stages.zero.seed: [0, 7]}\n"))
    assert {"base", "zero@seed=0", "zero@seed=7", "kept@seed=7"} <= ids(plan)
    assert (plan.stage("zero@seed=7").seed, plan.stage("kept@seed=7").seed, plan.stage("base").seed) == (7, 0, 0)
    assert plan.stage("table@seed=0").seed == plan.stage("table@seed=7").seed
    assert plan.stage("zero@seed=0").fingerprint == planned(tmp_path).stage("zero").fingerprint


def test_a_seed_of_the_recipe_makes_everything_anew(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix("matrix: {seed: [0, 7]}\n"))
    assert ids(plan) == {f"{s}@seed={n}" for s in ("base", "zero", "kept", "final", "table") for n in (0, 7)}
    alone = planned(tmp_path, HEAD + "seed: 7\n" + STAGES)
    own = {stage.name: stage.fingerprint for stage in plan.stages if stage.id.endswith("=7")}
    assert own["base"] == alone.stage("base").fingerprint
    assert plan.stage("base@seed=7").seed == 7


def test_the_plan_written_out_plans_to_the_same_fingerprints(tmp_path: Path) -> None:
    for text in (TWO_BY_TWO, "matrix: {seed: [0, 7]}\n", "matrix: {stages.table.seed: [1, 2]}\n"):
        plan = planned(tmp_path, with_matrix(text))
        (tmp_path / "again.yaml").write_text(write_resolved(plan))
        again = make_plan(resolve(tmp_path / "again.yaml"), toy_host())
        assert again.fingerprints == plan.fingerprints
        assert [(s.id, s.name, s.seed) for s in again.stages] == [(s.id, s.name, s.seed) for s in plan.stages]


# --- edges that stand elsewhere --------------------------------------------------------------------

GRADED = """\
stages:
  rm: {train: grade, model: base, data: kept}
  zero:
    train: {use: reinforce, teacher: rm, extra: [kept]}
    model: base
    problems: reasoning
    rewards: [{use: graded, model: rm}]
  kept: {sample: {prompts: 4}, model: base, problems: reasoning, rewards: [accuracy]}
  more: {sample: {prompts: 4}, model: zero, problems: reasoning, rewards: [accuracy]}
  final: {train: fit, model: base, data: [kept, more], balance: {kept: 1, more: 2}}
  table:
    evaluate:
      sets:
        score: {problems: reasoning, limit: 3}
        best: {problems: reasoning, limit: 3, models: [zero]}
        first: {problems: reasoning, limit: 3, models: [base]}
    models: [base, zero]
    rewards: [accuracy]
    gate: [{metric: zero/score, min: 0.1}, {metric: base/score, min: 0}]
"""


def test_names_of_stages_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, with_matrix("matrix: {a: {x: , y: {stages.rm.train.lr: 0.5}}}\n", GRADED).replace("grade,", "fit,")
    )
    zero = plan.stage("zero@y")
    assert zero.stage.rewards[0].options["model"] == "rm@y"
    assert zero.stage.train is not None
    assert (zero.stage.train.options["teacher"], zero.stage.train.options["extra"]) == ("rm@y", ["kept"])
    assert plan.stage("final@y").stage.balance == {"kept": 1, "more@y": 2}
    first, second = (plan.stage(f"table@{a}").stage for a in "xy")
    assert first.evaluate is not None
    assert second.evaluate is not None
    assert {name: each.models for name, each in first.evaluate.sets.items()} == {
        "score": None,
        "best": ["zero@x"],
        "first": ["base"],
    }
    assert {name: each.models for name, each in second.evaluate.sets.items()} == {"score": None, "best": ["zero@y"]}
    assert [gate.metric for gate in first.gate] == ["zero@x/score", "base/score"]
    assert [gate.metric for gate in second.gate] == ["zero@y/score"]


# --- precedence ------------------------------------------------------------------------------------


def test_profile_and_settings_come_before_the_variants(tmp_path: Path) -> None:
    text = with_matrix("matrix: {a: {x: , y: {stages.zero.train.steps: 9}}}\n")
    plan = planned(tmp_path, text)
    assert [plan.stage(f"zero@{a}").plain["train"]["steps"] for a in "xy"] == [3, 9]  # 3: the profile's
    plan = planned(tmp_path, text, "stages.zero.train.steps=5", "stages.zero.train.samples=7")
    assert [plan.stage(f"zero@{a}").plain["train"]["steps"] for a in "xy"] == [5, 9]
    assert [plan.stage(f"zero@{a}").plain["train"]["samples"] for a in "xy"] == [7, 7]


def test_variants_may_vary_slots_and_defaults(tmp_path: Path) -> None:
    text = "matrix: {a: {x: , y: {rewards.accuracy: {use: toy, strictness: 1}, sampling.top_p: 0.5}}}\n"
    plan = planned(tmp_path, with_matrix(text))
    assert plan.stage("kept@y").stage.rewards[0].options["strictness"] == 1
    assert plan.stage("kept@y").stage.sampling.top_p == 0.5
    assert "base" in ids(plan)


def test_the_matrix_may_be_set(tmp_path: Path) -> None:
    plan = planned(tmp_path, HEAD + STAGES, "matrix={stages.zero.seed: [1, 2]}")
    assert "zero@seed=2" in ids(plan)
    assert not planned(tmp_path, with_matrix(TWO_BY_TWO), "matrix={}").variants


def test_files_in_a_matrix_are_relative_to_the_recipe(tmp_path: Path) -> None:
    text = """\
matrix:
  stages.zero.problems.path: [./one, ./two]
  other: {x: , y: {stages.kept.problems: {use: numbers, path: ./three}}}
"""
    write(tmp_path, with_matrix(text.replace("[./one, ./two]", "{one: ./one, two: ./two}")))
    plan = make_plan(resolve(tmp_path / "recipe.yaml"), toy_host())
    paths = {name: [use.options["path"] for use in plan.stage(name).stage.sources()] for name in ids(plan)}
    assert paths["zero@two"] == [str(tmp_path / "two")]
    assert paths["kept@two,y"] == [str(tmp_path / "three")]


def test_an_extending_recipe_adds_its_axes(tmp_path: Path) -> None:
    write(tmp_path, with_matrix("matrix: {stages.zero.seed: [0, 1]}\n"))
    (tmp_path / "more.yaml").write_text(
        "r1: 1\nextends: recipe.yaml\nmatrix: {a: {x: , y: {stages.zero.train.steps: 1}}}\n"
    )
    plan = make_plan(resolve(tmp_path / "more.yaml"), toy_host())
    assert len(plan.variants) == 4
    assert "zero@seed=1,y" in ids(plan)


# --- names of all variants -------------------------------------------------------------------------


def test_a_recipes_name_stands_for_all_its_variants(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_matrix(TWO_BY_TWO))
    assert plan.named("zero") == ("zero@plain", "zero@square")
    assert plan.named("zero@square") == ("zero@square",)
    assert plan.dependents(["kept"]) == {name for name in ids(plan) if name.startswith(("kept", "final", "table"))}
    assert plan.ancestors(["kept"]) == {"base", "zero@plain", "zero@square", "kept@plain", "kept@square"}


# --- what is refused -------------------------------------------------------------------------------


SEEDS = "stages.zero.seed: [0, 1, 2, 3, 4, 5, 6, 7, 8]"
SLIPS = {
    "{stages.zreo.seed: [0]}": "6:10: matrix.stages.zreo.seed: no 'zreo' in stages to vary\n"
    "  did you mean 'stages.zero.seed'?",
    "{stages.zero.sede: [0]}": "no 'sede' in stages.zero to vary\n  did you mean 'stages.zero.seed'?",
    "{stgaes.zero.seed: [0]}": "no 'stgaes' to vary\n  did you mean 'stages.zero.seed'?",
    "{name: [a, b]}": "6:10: matrix.name: a mapping of variants is wanted, got the list [a, b]\n  a list of values be",
    "{x.y: [a, b]}": "6:10: matrix.x.y: no 'x' to vary\n  a variant sets paths below seed, stages,",
    "{a: {x: {problems.raesoning.limit: 2}}}": "6:18: matrix.a.x.problems.raesoning.limit: no 'raesoning' in problems",
    "{a: {x: {stages.zero.train.setps: 2}}}": "6:18: stages.zero.train.setps: unknown option 'setps' of reinf",
    "{stages.zero.train.setps: [1, 2]}": "unknown option 'setps' of reinforce",
    "{stages.zero.train.preset: [plain, papre]}": "6:44: stages.zero.train.preset: reinforce has no preset 'papre'",
    "{stages.zero.rewards.7: [toy]}": "6:34: matrix.stages.zero.rewards.7.0: no item '7' in stages.zero.rewards",
    "{a: {x: 3}}": "6:14: matrix.a.x: a mapping from paths to values is wanted, got 3",
    "{a: 3}": "6:10: matrix.a: ",
    "{stages.zero.seed: 3}": "matrix.stages.zero.seed: ",
    "{stages.zero.seed: []}": "6:10: matrix.stages.zero.seed: it has no variants",
    "{a: {}}": "6:10: matrix.a: it has no variants",
    "{stages.zero.train: [{use: fit}]}": "6:30: matrix.stages.zero.train.0: a value that can go by itself is "
    "wanted, got the mapping {use: fit}\n  write `stages.zero.train: {<name>: ",
    "{stages.zero.seed: [null]}": "a value that can go by itself is wanted, got nothing",
    "{stages.zero.seed: [1, 1]}": "6:10: matrix.stages.zero.seed: two variants are called '1'",
    "{a: {X: , x: {stages.zero.seed: 1}}}": "two variants are called 'x'",
    "{stages.zero.seed: [0], stages.kept.seed: [1]}": "6:33: matrix.stages.kept.seed: two axes are called 'seed'",
    "{a: {'b/c': , d: }}": "6:14: matrix.a.b/c: variant 'b/c': use letters, digits",
    "{'a/b': {c: , d: }}": "6:10: matrix.a/b: axis 'a/b': use letters, digits",
    "{SEEDS, stages.kept.sample.prompts: [1, 2, 3, 4, 5, 6, 7, 8]}": "6:1: matrix: 9 x 8 = 72 variants; a recipe has",
}


@pytest.mark.parametrize("matrix", SLIPS)
def test_a_slip_is_refused_at_its_place(tmp_path: Path, matrix: str) -> None:
    said = refused(tmp_path, with_matrix(f"matrix: {matrix.replace('SEEDS', SEEDS)}\n"))
    assert SLIPS[matrix] in said.replace("recipe.yaml:", "")


def test_all_slips_of_all_variants_are_told_at_once_and_a_common_one_once(tmp_path: Path) -> None:
    text = """\
matrix:
  a:
    x: {stages.zero.train.setps: 2}
    y: {stages.zero.train.smaples: 2}
  stages.zero.seed: [0, 1, 2]
"""
    said = refused(tmp_path, with_matrix(text, STAGES.replace("sample: {prompts: 4}", "sample: {pormpts: 4}")))
    assert "did you mean 'prompts'?" in said
    assert said.endswith("1 error")
    said = refused(tmp_path, with_matrix(text, STAGES.replace("filters: [keep]", "filters: [kepe]")))
    assert [said.count(word) for word in ("unknown option 'setps'", "unknown option 'smaples'", "kepe")] == [1, 1, 1]
    assert said.endswith("3 errors")


def test_what_does_not_fit_together_in_one_variant_is_refused_there(tmp_path: Path) -> None:
    text = "matrix: {a: {x: , y: {stages.zero.train.advantage: batchy}}}\n"
    said = refused(tmp_path, with_matrix(text))
    assert "stages.zero@y.train: batchy" in said
    assert "zero@x" not in said


PRESET = """\
from toy_components import Reinforce

class Taught(Reinforce):
    name = "taught"
    presets = {"by_rm": {"teacher": "rm"}}
"""


def test_a_reference_that_no_file_says_is_refused_where_it_would_have_to_change(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PRESET)
    stages = GRADED.replace("{use: reinforce, teacher: rm, extra", "{use: ./mine.py:Taught, preset: by_rm, extra")
    text = "matrix: {a: {x: , y: {stages.rm.train.lr: 0.5}}}\n"
    assert planned(tmp_path, HEAD + stages.replace("train: grade", "train: fit")).stage("zero").inputs
    said = refused(tmp_path, with_matrix(text, stages.replace("train: grade", "train: fit")))
    assert "stages.zero: a variant has 'rm' under another name, and what names it is not in the recipe" in said
    assert "recipe.yaml:9:3: " in said


def test_a_model_that_nobody_makes_is_told_once(tmp_path: Path) -> None:
    said = refused(tmp_path, with_matrix(TWO_BY_TWO, STAGES.replace("[base, zero, final]", "[base, zreo, final]")))
    assert "no stage 'zreo'" in said
    assert said.endswith("1 error")


def test_only_variants_have_an_at_in_their_ids(tmp_path: Path) -> None:
    said = refused(tmp_path, HEAD + "stages: {x@y: {train: fit, model: base, data: {use: numbers}}}\n")
    assert "recipe.yaml:6:10: stages.x@y: stage id 'x@y': use letters" in said


def test_a_matrix_may_not_make_more_stages_than_can_be_run(tmp_path: Path) -> None:
    more = "".join(f"  s{n}: {{train: fit, model: zero, data: kept}}\n" for n in range(4))
    seeds = list(range(MOST))
    said = refused(tmp_path, with_matrix(f"matrix: {{stages.zero.seed: {seeds}}}\n", STAGES + more))
    assert f"its variants make {1 + 8 * MOST} stages, at most 256 are run" in said


def test_a_profile_has_no_matrix(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY + "matrix: {seed: [1]}\n")
    with pytest.raises(Exception, match="a profile has no key 'matrix'"):
        resolve(tmp_path / "recipe.yaml")
