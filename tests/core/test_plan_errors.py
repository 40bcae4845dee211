"""What is wrong with a recipe: all of a phase at once, each with its line, what was meant, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from third_party import toy_host
from toy_recipes import HEAD, STAGES, TINY, planned, refused, write

from r1core.errors import RecipeError, SetupError
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve


def change(old: str, new: str) -> str:
    assert old in STAGES
    return HEAD + STAGES.replace(old, new, 1)


def test_all_errors_of_the_structure_come_at_once(tmp_path: Path) -> None:
    recipe = HEAD + STAGES.replace("filters:", "filetrs:").replace("prompts: 4", "promts: 4").replace("0.5", "heavy")
    assert refused(tmp_path, recipe) == (
        "recipe.yaml:11:36: stages.zero.rewards.1.weight: a number is wanted, got 'heavy'\n"
        "recipe.yaml:13:14: stages.kept.sample.promts: unknown key 'promts'\n"
        "  did you mean 'prompts'?\n"
        "recipe.yaml:17:5: stages.kept.filetrs: unknown key 'filetrs'\n"
        "  did you mean 'filters'?\n"
        "3 errors"
    )


def test_all_errors_of_names_and_options_come_at_once(tmp_path: Path) -> None:
    recipe = HEAD + (
        STAGES.replace("mode: hard", "moed: hard")
        .replace("filters: [keep]", "filters: [kep]")
        .replace("train: fit", "train: {use: fit, lr: -1}")
        .replace(
            "preset: plain}", "preset: plain, stpes: 3, penalty: {coeficient: 1, filters: [{use: keep, at_mots: 1}]}}"
        )
    )
    assert refused(tmp_path, recipe) == (
        "recipe.yaml:8:44: stages.zero.train.stpes: unknown option 'stpes' of reinforce (r1core 0)\n"
        "  did you mean 'steps'?\n"
        "recipe.yaml:8:64: stages.zero.train.penalty.coeficient: unknown option 'coeficient' of reinforce (r1core 0)\n"
        "  did you mean 'coefficient'?\n"
        "recipe.yaml:11:49: stages.zero.rewards.1.moed: unknown option 'moed' of toy (r1core 0)\n"
        "  did you mean 'mode'?\n"
        "recipe.yaml:17:15: stages.kept.filters.0: no filter 'kep'\n"
        "  did you mean 'keep'?\n"
        "recipe.yaml:19:23: stages.final.train.lr: should be greater than 0, got -1 (option of fit (r1core 0))\n"
        "5 errors"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("train: {use: reinforce", "train: {use: keep", "no trainer 'keep': there is a filter 'keep', not a trainer"),
        (
            "preset: plain",
            "preset: plian",
            "8:29: stages.zero.train.preset: reinforce has no preset 'plian'\n  did",
        ),
        ("preset: plain", "prompts: 3", "8:5: stages.zero.train: prompts must be even, got 3 (option of reinforce"),
        ("preset: plain", "advantage: pg", "no advantage 'pg': there is an objective 'pg', not an advantage"),
        (
            "preset: plain",
            "penalty: {filters: [keep, {use: keep, at_mots: 1}]}",
            "8:67: stages.zero.train.penalty.filters.1.at_mots: unknown option 'at_mots' of keep",
        ),
        ("model: base", "model: bse", "9:5: stages.zero.model: no stage 'bse'\n  did you mean 'base'?"),
        (
            "data: kept",
            "data: kpet",
            "21:5: stages.final.data.0: no stage and no source 'kpet'\n  did you mean 'kept'",
        ),
        ("data: kept", "data: [keep]", "no stage and no source 'keep'"),
        ("data: kept", "data: [{use: nmubers}]", "no source 'nmubers'\n  did you mean 'numbers'?"),
        ("data: kept", "data: zero", "'zero' is not data: a train stage makes a model\n  data: kept"),
        (
            "[base, zero, final]",
            "[base, table]",
            "24:20: stages.table.models.1: 'table' is not a model: an evaluate stage",
        ),
        ("preset: plain", "teacher: bsae", "8:29: stages.zero.train.teacher: no stage 'bsae'\n  did you mean 'base'?"),
        ("preset: plain", "extra: [base]", "stages.zero.train.extra.0: 'base' is not data"),
        (
            "preset: plain",
            "advantage: batchy",
            "batchy (r1core 0) needs 'componets', not provided\n  did you mean",
        ),
        ("    data: kept\n", "", "18:3: stages.final: missing key 'data': trainer fit reads it"),
        ("    model: zero\n", "", "12:3: stages.kept: missing key 'model': a sample stage asks a model for answers"),
        (
            "    models: [base, zero, final]\n",
            "",
            "missing key 'models': an evaluate stage measures models",
        ),
        ("limit: 3", "limit: 3, k: 4, samples: 2", "pass@4 needs at least 4 samples, got 2"),
        ("limit: 3", "limit: 3, models: [zer]", "'zer' is not among the stage's models\n  did you mean 'zero'?"),
        ("{score:", "{every: 3, score:", "every"),
        ("    data: kept", "    data: kept\n    rewards: [toy]", "trainer fit does not read 'rewards'\n  remove it"),
        ("    data: kept", "    data: kept\n    sampling: {top_p: 1}", "trainer fit does not read 'sampling'"),
        (
            "    data: kept",
            "    data: kept\n    sample: {prompts: 1}",
            "exactly one of import, sample, train, evaluate",
        ),
        ("    train: fit\n", "", "18:3: stages.final: a stage has exactly one of import, sample, train, evaluate"),
        ("    data: kept", "    data: kept\n    modle: base", "unknown key 'modle'\n  did you mean 'model'?"),
        ("  final:", "  ../final:", "18:3: stages.../final: stage id '../final'"),
        ("model: base", "model: {scratch: {a: 1}}", "takes its tokenizer from a source"),
        (
            "prompts: 4",
            "prompts: 0",
            "13:14: stages.kept.sample.prompts: should be greater than or equal to 1, got 0",
        ),
        (
            "preset: plain}",
            "preset: plain}\n    sampling: {temperature: 1, max_new_tokens: 0}",
            "9:32: stages.zero.sampling.max_new_tokens: should be greater than or equal to 1, got 0",
        ),
        (
            "preset: plain}",
            "preset: plain}\n    sampling: {max_new_tokens: {0: 8, 5: -1}}",
            "9:39: stages.zero.sampling.max_new_tokens.5: should be greater than or equal to 1, got -1",
        ),
        (
            "preset: plain}",
            "preset: plain}\n    sampling: {temperature: {0: 1, 50%: -0.1}}",
            "9:36: stages.zero.sampling.temperature.50%: should be greater than or equal to 0, got -0.1",
        ),
        (
            "preset: plain}",
            "preset: plain}\n    sampling: {temperature: {0: 1, 60%: 2, 50%: 1}}",
            "9:16: stages.zero.sampling.temperature: the shares of a schedule ascend, got 50% after 60%",
        ),
        (
            "preset: plain}",
            "preset: plain}\n    gate: [{metric: loss, max: 1}, {metric: reward}]",
            "9:36: stages.zero.gate.1: nothing limits 'reward': give `min`, `max` or `results`",
        ),
        (
            "model: zero\n    problems: reasoning",
            "model: zero\n    problems: {0: reasoning, 50%: numbers}",
            "15:5: stages.kept.problems: a sample stage has no steps that a schedule could follow\n  give stage",
        ),
        (
            "sample: {prompts: 4}",
            "sample: {prompts: 4}\n    sampling: {temperature: {0: 1, 5: 2}}",
            "14:16: stages.kept.sampling.temperature: a sample stage has no steps",
        ),
        (
            "    models: [base, zero, final]",
            "    models: [base, zero, final]\n    sampling: {max_new_tokens: {0: 8, 5: 9}}",
            "25:16: stages.table.sampling.max_new_tokens: an evaluate stage has no steps",
        ),
        (
            "    rewards: [accuracy]\n    filters: [keep]",
            "    filters: [keep, strict]",
            "16:21: stages.kept.filters.1: strict (r1core 0) needs 'scores', not provided\n  give the stage `rewards`",
        ),
        (
            "model: base",
            "model: {scrach: {a: 1}}",
            "9:13: stages.zero.model.scrach: unknown key 'scrach'\n  did",
        ),
    ],
)
def test_one_fault_is_one_clear_error(tmp_path: Path, old: str, new: str, said: str) -> None:
    message = refused(tmp_path, change(old, new))
    assert said in message
    assert re.match(r"(recipe|profiles/tiny)\.yaml:\d+:\d+: ", message)


def test_a_cycle_is_printed(tmp_path: Path) -> None:
    said = refused(tmp_path, change("model: base", "model: final"))
    assert re.search(r"stages wait for each other: (\w+ -> ){3}\w+\n", said)
    assert all(name in said for name in ("zero", "kept", "final"))


def test_an_error_in_an_override_says_so(tmp_path: Path) -> None:
    said = refused(tmp_path, HEAD + STAGES, sets=["stages.zero.train.stpes=3"])
    assert said.startswith("--set: stages.zero.train.stpes: unknown option 'stpes' of reinforce (r1core 0)")


def test_an_error_in_a_profile_names_the_profile(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY.replace("limit: 5", "limti: 5"))
    with pytest.raises(RecipeError) as caught:
        make_plan(resolve(tmp_path / "recipe.yaml"), toy_host())
    assert "profiles/tiny.yaml:4:38: stages.zero.problems.limti: unknown option 'limti' of numbers" in str(caught.value)


def test_a_missing_engine_says_where_to_name_it(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY.replace("engines: {policy: {use: net, width: 4}, sampler: draw}\n", ""))
    with pytest.raises(RecipeError) as caught:
        make_plan(resolve(tmp_path / "recipe.yaml"), toy_host())
    assert "stages.kept: missing key 'sampler': a sample stage asks" in str(caught.value)
    assert "set `engines: {sampler: ...}`, or `sampler:` in the stage" in str(caught.value)


def test_a_model_from_scratch_needs_a_source(tmp_path: Path) -> None:
    said = refused(tmp_path, change("model: base\n    data: kept", "model: {scratch: {a: 1}}\n    data: kept"))
    assert "stages.final: missing key 'data': a model made from scratch takes its tokenizer from a source" in said


BARE = """\
from r1core.components import DataFilter, ProblemSource

class Rows(ProblemSource):
    name = "rows"
    def problems(self, *, seed):
        return iter(())

class Grades(DataFilter):
    name = "grades"
    needs = frozenset({"scoers"})
    def judge(self, group):
        return []
"""


def test_a_model_from_scratch_needs_a_tokenizer_from_its_first_source(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    own = "model: base\n    data: kept"
    scratch = "model: {scratch: {a: 1}}\n    data: [kept, ./bare.py:Rows, numbers]"
    said = refused(tmp_path, change(own, scratch))
    assert said.startswith("recipe.yaml:21:18: stages.final.data.1: bare.py:Rows (local file ")
    assert "brings no tokenizer: a model made from scratch takes it from its first source\n  put a source" in said
    assert said.endswith("1 error")
    assert planned(tmp_path, change(own, scratch.replace("Rows, numbers", "Rows").replace("./", "numbers, ./"))).stages


def test_a_filter_that_needs_what_nobody_provides_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    said = refused(tmp_path, change("filters: [keep]", "filters: [./bare.py:Grades]"))
    assert "needs 'scoers', not provided\n  did you mean 'scores'?" in said


def test_a_filter_that_reads_no_scores_needs_no_rewards(tmp_path: Path) -> None:
    assert planned(tmp_path, change("    rewards: [accuracy]\n    filters: [keep]", "    filters: [keep]")).stages


def test_a_train_stage_may_follow_schedules(tmp_path: Path) -> None:
    recipe = change("    problems: reasoning", "    problems: {0: reasoning, 50%: numbers}")
    sampling = "stages.zero.sampling={max_new_tokens: {0: 8, 100%: 9}, temperature: {0: 1, 5: 0}}"
    assert planned(tmp_path, recipe, sampling).stage("zero").stage.sampling.max_new_tokens.at(9, 10) == 8


def test_an_unknown_observer_is_an_error(tmp_path: Path) -> None:
    said = refused(tmp_path, "observers: [tyo]\n" + HEAD + STAGES)
    assert "recipe.yaml:1:13: observers.0: no observer 'tyo'\n  did you mean 'toy'?" in said


# --- requires ----------------------------------------------------------------------------------------


def test_requirements_that_are_met_pass(tmp_path: Path) -> None:
    assert planned(tmp_path, "requires: ['pydantic>=2', 'nope; python_version < \"3\"']\n" + HEAD + STAGES).stages


def test_unmet_requirements_end_in_exit_3_with_the_command(tmp_path: Path) -> None:
    text = "requires: ['r1core-nope>=0.1,<0.2', 'pydantic>=99', click]\n" + HEAD + STAGES
    with pytest.raises(SetupError) as caught:
        planned(tmp_path, text)
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert "recipe.yaml:1:12: requires.0: r1core-nope>=0.1,<0.2 is required, and not installed" in said
    assert "recipe.yaml:1:37: requires.1: pydantic>=99 is required, and 2." in said
    assert said.endswith("run: pip install 'r1core-nope>=0.1,<0.2' 'pydantic>=99'")
    assert caught.value.exit_code == 3


def test_requirements_come_before_names(tmp_path: Path) -> None:
    recipe = "requires: [r1core-nope]\n" + change("filters: [keep]", "filters: [nope/x]")
    assert "r1core-nope is required" in refused(tmp_path, recipe)


def test_a_line_that_is_no_requirement_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'a b' is not a PEP 508 requirement"):
        planned(tmp_path, "requires: [a b]\n" + HEAD + STAGES)
