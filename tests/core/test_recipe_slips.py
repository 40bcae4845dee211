"""Slips that laying files over each other would hide, or blame on another file; and what is no slip and passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from third_party import toy_host
from toy_recipes import HEAD, STAGES, TINY, planned, refused, write

from r1core.errors import RecipeError
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve

ZERO_TRAINS = "train: {use: reinforce, preset: plain}"
ZERO_ASKS = "problems: reasoning"

# --- one file by itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("problems: {reasoning: null}", "problems: 7", "recipe.yaml:4:1: problems: a mapping is wanted, got 7"),
        (ZERO_TRAINS, "train: [7]", "a name or a mapping with `use` is wanted, got the list [7]"),
        (
            "{score: {problems: reasoning, limit: 3}}",
            "{score: 7}",
            "23:23: stages.table.evaluate.sets.score: a mapping",
        ),
        (ZERO_ASKS, "problems: {0: reasoning, q: x}", "10:30: stages.zero.problems.q: 'q' is no step, and the keys"),
        (ZERO_ASKS, "problems: {mix: 7}", "problems.mix: a mapping from names to weights is wanted, got 7"),
        ("models: [base, zero, final]", "models: base", "24:5: stages.table.models: a list is wanted, got 'base'"),
    ],
)
def test_a_wrong_shape_is_told_of_the_file_that_has_it(tmp_path: Path, old: str, new: str, said: str) -> None:
    recipe = HEAD + STAGES
    assert old in recipe
    assert said in refused(tmp_path, recipe.replace(old, new, 1))


def test_a_default_that_no_stage_uses_is_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path, tiny=TINY.replace("engines: {policy", "rollouts: {kepe: text}\nengines: {plicy"))
    with pytest.raises(RecipeError) as caught:
        resolve(path)
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert "profiles/tiny.yaml:6:12: rollouts.kepe: unknown key 'kepe'\n  did you mean 'keep'?" in said
    assert "profiles/tiny.yaml:7:11: engines.plicy: unknown key 'plicy'\n  did you mean 'policy'?" in said
    assert said.endswith("2 errors")


COVERED = TINY.replace("stages:\n", "stages:\n  kept: {sample: {prompts: 8}}\n")


def test_a_word_that_a_profile_would_cover_with_a_number_is_found(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("sample: {prompts: 4}", "sample: {prompts: many}")
    path = write(tmp_path, recipe, tiny=COVERED)
    with pytest.raises(RecipeError) as caught:
        resolve(path)
    assert "recipe.yaml:13:14: stages.kept.sample.prompts: a whole number is wanted, got 'many'" in str(caught.value)
    fine = write(tmp_path, recipe.replace("many", "4"), tiny=COVERED)
    assert resolve(fine).recipe.stages["kept"].sample.prompts == 8  # type: ignore[union-attr]


def test_slips_of_recipe_and_profile_come_together(tmp_path: Path) -> None:
    write(
        tmp_path, (HEAD + STAGES).replace("models: {base: null}", "models: 7"), tiny=TINY.replace("sampling", "samplng")
    )
    with pytest.raises(RecipeError) as caught:
        resolve(tmp_path / "recipe.yaml")
    assert str(caught.value).endswith("2 errors")


# --- names in a profile ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "place", "meant"),
    [
        ("  zero: {", "  zreo: {", "9:3: stages.zreo", "zero"),
        ("  base: {", "  bsae: {", "3:3: models.bsae", "base"),
        ("{reasoning:", "{resoning:", "4:12: problems.resoning", "reasoning"),
        ("{accuracy:", "{acuracy:", "5:11: rewards.acuracy", "accuracy"),
    ],
)
def test_a_name_that_is_almost_one_of_the_recipes_is_a_slip(
    tmp_path: Path, old: str, new: str, place: str, meant: str
) -> None:
    path = write(tmp_path, tiny=TINY.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        resolve(path)
    assert f"profiles/tiny.yaml:{place}: no recipe that this profile completes has a " in str(caught.value)
    assert f"did you mean {meant!r}?" in str(caught.value)


def test_a_name_of_another_recipe_beside_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, tiny=TINY.replace("  zero: {", "  zero2: {train: {steps: 3}}\n  zero: {"))
    with pytest.raises(RecipeError, match="zero2"):
        resolve(path)
    (tmp_path / "other.yaml").write_text("r1: 1\n# zero2 in a comment does not count\n")
    with pytest.raises(RecipeError, match="zero2"):
        resolve(path)
    (tmp_path / "other.yaml").write_text("r1: 1\nstages: {zero2: {import: some/model}}\n")
    assert "zero2" not in resolve(path).recipe.stages


# --- one finding for one fault -------------------------------------------------------------------------


def test_a_misspelled_key_is_not_missing_as_well(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("{prompts: 4}", "{promtps: 4}")
    assert refused(tmp_path, recipe) == (
        "recipe.yaml:13:14: stages.kept.sample.promtps: unknown key 'promtps'\n  did you mean 'prompts'?\n1 error"
    )


def test_a_misspelled_use_is_found_among_the_options(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("{use: toy, weight", "{sue: toy, weight")
    assert "11:26: stages.zero.rewards.1.sue: unknown key 'sue'\n  did you mean 'use'?\n1 error" in refused(
        tmp_path, recipe
    )


def test_of_a_choice_the_one_that_was_meant_speaks(tmp_path: Path) -> None:
    """`problems` may be a mix, a source or a name: three ways to be wrong, and one of them counts."""
    options = (HEAD + STAGES).replace("    problems: reasoning\n", "    problems: {us: numbers, limit: 3}\n", 1)
    assert "stages.zero.problems.us: unknown key 'us'\n  did you mean 'use'?\n1 error" in refused(tmp_path, options)
    mix = (HEAD + STAGES).replace("    problems: reasoning\n", "    problems: {mxi: {reasoning: 3}}\n", 1)
    assert "stages.zero.problems.mxi: unknown key 'mxi'\n  did you mean 'mix'?\n1 error" in refused(tmp_path, mix)


def test_a_block_that_is_incomplete_may_be_anothers_name(tmp_path: Path) -> None:
    path = write(tmp_path, tiny=TINY + "  table: {evaluate: {sets: {scroe: {limit: 2}}}}\n")
    with pytest.raises(RecipeError, match=r"sets.scroe: missing key 'problems'\n  did you mean 'score'\?"):
        make_plan(resolve(path), toy_host())


# --- fields of problems, keys of an architecture -------------------------------------------------------

KINDS = """
from r1core.components import Policy, ProblemSource
from r1core.choices import Options
import toy_components

class Told(toy_components.Numbers):
    name = "told"
    @property
    def fields(self):
        return {"domain": frozenset({"algebra", "logic"}), "difficulty": frozenset()}

class Shaped(toy_components.Net):
    name = "shaped"
    @classmethod
    def architecture_options(cls, model_type):
        class Known(Options):
            width: int = 3
        return Known if model_type == "toy" else None
"""


NO = "no problem of the stage"


def told(folder: Path, *, reward: str = "domain: logic", by: str = "difficulty", scratch: str = "width: 4") -> Plan:
    """A plan whose source says which fields its problems have, and whose policy what it is made of."""
    (folder / "mine.py").write_text(KINDS)
    (folder / "profiles").mkdir()
    profile = TINY.replace("{use: numbers, limit: 5}", "{use: ../mine.py:Told, limit: 5}")
    profile = profile.replace("use: net, width: 4", "use: ../mine.py:Shaped").replace(
        "model_type: toy", f"model_type: toy, {scratch}"
    )
    recipe = (HEAD + STAGES).replace("mode: hard}", f"mode: hard, for: {{{reward}}}}}", 1)
    return planned_with(folder, recipe.replace("limit: 3}", f"limit: 3, by: [{by}]}}"), profile)


def planned_with(folder: Path, recipe: str, profile: str) -> Plan:
    return make_plan(resolve(write(folder, recipe, tiny=profile)), toy_host())


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        ({"reward": "domian: logic"}, f"rewards.1.for.domian: {NO} has a field 'domian'\n  did you mean 'domain'"),
        ({"reward": "domain: lgic"}, f"rewards.1.for.domain: {NO} has domain 'lgic'\n  did you mean 'logic'"),
        ({"by": "dificulty"}, "no problem of the set has a field 'dificulty'\n  did you mean 'difficulty'"),
        ({"scratch": "widht: 4"}, "model.scratch.widht: unknown key 'widht'\n  did you mean 'width'"),
        ({"scratch": "width: many"}, "model.scratch.width: a whole number is wanted, got 'many'"),
    ],
)
def test_a_slip_in_what_the_components_tell_is_found(tmp_path: Path, slip: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        told(tmp_path, **slip)
    assert said in str(caught.value)
    assert str(caught.value).endswith("1 error")


@pytest.mark.parametrize(
    "fine",
    [
        {},
        {"reward": "domain: chemistry"},
        {"reward": "topic: x"},
        {"by": "id"},
        {"reward": "difficulty: hrad"},
        {"scratch": "rope_theta: 3"},
    ],
)
def test_what_is_no_slip_passes(tmp_path: Path, fine: dict[str, str]) -> None:
    """Another profile's problems may have the field; another version of a library may have the key."""
    assert told(tmp_path, **fine).stages


def test_what_only_the_data_can_tell_passes(tmp_path: Path) -> None:
    recipe = (HEAD + STAGES).replace("mode: hard}", "mode: hard, for: {domian: logic}}", 1)
    assert planned(tmp_path, recipe).stages
