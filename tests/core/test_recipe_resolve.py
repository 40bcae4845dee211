"""extends < recipe < profile < --set, with positions kept and paths made absolute."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_recipes import HEAD, STAGES, TINY, resolved, write

from r1core.errors import RecipeError
from r1core.recipe.resolve import resolve
from r1core.recipe.shipped import find_recipe, shipped_folder


def refusal(path: Path, profile: str | None = None, sets: tuple[str, ...] = ()) -> str:
    with pytest.raises(RecipeError) as caught:
        resolve(path, profile, sets)
    return str(caught.value).replace(f"{path.parent}/", "")


# --- profiles ----------------------------------------------------------------------------------


def test_the_profile_is_laid_over_the_recipe(tmp_path: Path) -> None:
    found = resolved(tmp_path)
    assert found.profile == "tiny"
    assert found.data["stages"]["zero"]["train"] == {"use": "reinforce", "preset": "plain", "steps": 3}
    assert found.recipe.description == ""


def test_profile_entries_for_stages_of_other_recipes_are_dropped(tmp_path: Path) -> None:
    assert "not_in_this_recipe" not in resolved(tmp_path).recipe.stages


def test_the_recipe_may_name_its_default_profile(tmp_path: Path) -> None:
    write(tmp_path, "profile: big\n" + HEAD + STAGES, big=TINY.replace("steps: 3", "steps: 9"))
    assert resolve(tmp_path / "recipe.yaml").data["stages"]["zero"]["train"]["steps"] == 9
    assert resolve(tmp_path / "recipe.yaml", "tiny").data["stages"]["zero"]["train"]["steps"] == 3


def test_a_profile_may_be_none(tmp_path: Path) -> None:
    text = "r1: 1\nname: x\nprofile: none\nstages: {base: {import: some/model}}\n"
    assert resolved(tmp_path, text).profile == "none"
    assert resolved(tmp_path, text.replace("none", "missing"), profile="none").profile == "none"


def test_an_unknown_profile_lists_those_there_are(tmp_path: Path) -> None:
    said = refusal(write(tmp_path, big=TINY), "bgi")
    assert "recipe.yaml: no profile 'bgi'\n  profiles: big, " in said
    assert "none" in said


@pytest.mark.parametrize("name", ["../recipe", "a/b", ""])
def test_a_profile_is_a_name_and_no_path(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    assert (resolve(path, name).profile == "tiny") if not name else "no profile" in refusal(path, name)


def test_a_profile_may_not_rename_the_run(tmp_path: Path) -> None:
    path = write(tmp_path, tiny=TINY + "nmae: x\nstges: {}\n")
    assert refusal(path) == (
        "profiles/tiny.yaml:11:1: nmae: a profile has no key 'nmae'\n"
        "  keys: checkpoint, description, engines, extends, models, observers, problems, r1, requires, rewards, "
        "rollouts, sampling, scoring, seed, stages, stall_s, threads\n"
        "profiles/tiny.yaml:12:1: stges: a profile has no key 'stges'\n"
        "  did you mean 'stages'?\n"
        "2 errors"
    )


def test_a_profile_may_be_laid_over_another(tmp_path: Path) -> None:
    big = "r1: 1\nextends: tiny\nstages: {zero: {train: {steps: 9}}}\n"
    write(tmp_path, big=big)
    found = resolve(tmp_path / "recipe.yaml", "big")
    assert found.profile == "big"
    assert found.data["stages"]["zero"]["train"] == {"use": "reinforce", "preset": "plain", "steps": 9}
    assert found.data["stages"]["zero"]["policy"] == resolved(tmp_path).data["stages"]["zero"]["policy"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinny", "big.yaml:2:1: extends: no profile 'tinny'\n  profiles: big, "),
        ("middle", "big.yaml:2:1: extends: 'middle' extends another profile itself; one level is allowed"),
        ("[tiny]", "big.yaml:2:1: extends: a name is wanted, got the list [tiny]"),
    ],
)
def test_a_profile_extends_one_that_is_there_and_whole(tmp_path: Path, name: str, words: str) -> None:
    path = write(tmp_path, big=f"r1: 1\nextends: {name}\n", middle="r1: 1\nextends: tiny\n")
    assert words in refusal(path, "big")


# --- extends ---------------------------------------------------------------------------------------


def test_a_recipe_extends_another_beside_it(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "child.yaml").write_text("extends: recipe.yaml\nname: child\nstages: {zero: {train: {samples: 6}}}\n")
    child = resolve(tmp_path / "child.yaml")
    assert child.recipe.name == "child"
    assert child.data["stages"]["zero"]["train"] == {"use": "reinforce", "preset": "plain", "samples": 6, "steps": 3}
    assert child.document.position(("stages", "zero", "train", "samples"))[0].endswith("child.yaml")
    assert child.document.position(("stages", "zero", "train", "preset"))[0].endswith("recipe.yaml")
    assert child.document.position(("stages", "zero", "train", "steps"))[0].endswith("tiny.yaml")


def test_extending_goes_one_level_deep(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "child.yaml").write_text("extends: recipe.yaml\n")
    (tmp_path / "grandchild.yaml").write_text("extends: child.yaml\n")
    assert "grandchild.yaml:1:1: extends: 'child.yaml' extends another recipe itself" in refusal(
        tmp_path / "grandchild.yaml"
    )


def test_extending_takes_one_name(tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text("extends: [recipe.yaml]\n")
    assert "child.yaml:1:1: extends: a name is wanted, got the list [recipe.yaml]" in refusal(tmp_path / "child.yaml")


def test_extending_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text("extends: nowhere_to_be_found.yaml\n")
    assert "no recipe 'nowhere_to_be_found.yaml'" in refusal(tmp_path / "child.yaml")


# --- overrides -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("stages.zero.train.steps=20", ("stages", "zero", "train", "steps"), 20),
        ("stages.final.train.lr=1e-6", ("stages", "final", "train"), {"use": "fit", "lr": 1e-6}),
        ("stages.zero.rewards.1.weight=0.2", ("stages", "zero", "rewards", 1, "weight"), 0.2),
        ("stages.zero.rewards.0.weight=2", ("stages", "zero", "rewards", 0, "weight"), 2),
        ("stages.zero.rewards=[toy]", ("stages", "zero", "rewards"), ["toy"]),
        ("stages.zero.train={use: fit}", ("stages", "zero", "train"), {"use": "fit"}),
        ("stages.zero.policy.width=2", ("stages", "zero", "policy"), {"use": "net", "width": 2}),
        ("stages.zero.sampling.temperature=0.5", ("stages", "zero", "sampling"), None),
        ("stages.base.train.lr=1", ("stages", "base", "train"), {"use": "fit", "lr": 1}),
        ("models.base=some/model", ("stages", "base"), {"import": "some/model"}),
        ("problems.reasoning.limit=2", ("stages", "zero", "problems", "limit"), 2),
        ("engines.policy.width=2", ("stages", "zero", "policy", "width"), 2),
        ("stages.zero.gate=[{metric: a=b, min: 1}]", ("stages", "zero", "gate", 0, "metric"), "a=b"),
    ],
)
def test_an_override_has_the_last_word(tmp_path: Path, text: str, place: tuple[str | int, ...], value: object) -> None:
    found = resolved(tmp_path, HEAD + STAGES, text).document.root.at(place).plain()
    assert found == ({"max_new_tokens": 16, "temperature": 0.5} if value is None else value)


def test_an_override_is_the_origin_of_its_value(tmp_path: Path) -> None:
    found = resolved(tmp_path, HEAD + STAGES, "stages.zero.train.steps=20").document
    assert found.position(("stages", "zero", "train", "steps")) == ("--set", 0, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages.zreo.train.steps=20", "--set stages.zreo.train.steps: no 'zreo' in stages\n  did you mean 'zero'?"),
        ("problems.resoning=x", "no 'resoning' in problems\n  did you mean 'reasoning'?"),
        ("stage.zero.train.steps=20", "--set stage.zero.train.steps: no 'stage'\n  did you mean 'stages'?"),
        ("stages.zero.rewards.7.weight=1", "no item '7' in stages.zero.rewards\n  stages.zero.rewards has the indices"),
        ("stages.zero.rewards.first=1", "no item 'first'"),
        ("seed.x=1", "no 'x'"),
        ("stages.zero.train.steps.x=1", "stages.zero.train.steps is 3, so it has no 'x'"),
        ("stages.zero", "--set 'stages.zero' is not path=value"),
        ("=1", "is not path=value"),
        ("stages..zero=1", "is not path=value"),
        ("seed={a", "--set:"),
    ],
)
def test_an_override_that_goes_nowhere_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    if text == "seed.x=1":
        assert said in refusal(write(tmp_path, "seed: 1\n" + HEAD + STAGES), sets=(text,))
    else:
        assert said in refusal(write(tmp_path), sets=(text,))


# --- paths -----------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_that_says_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = TINY.replace("{use: numbers, limit: 5}", "{use: numbers, path: ../data.jsonl}")
    recipe = (
        (HEAD + STAGES).replace("mode: hard", "mode: ./not_a_path").replace("filters: [keep]", "filters: [./k.py:K]")
    )
    path = write(tmp_path, recipe, tiny=profile)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    stages = resolve(path, None, ["models.base=./model"]).data["stages"]
    assert stages["zero"]["problems"]["path"] == str(tmp_path / "data.jsonl")
    assert stages["kept"]["filters"] == [f"{tmp_path / 'k.py'}:K"]
    assert stages["base"]["import"] == str(elsewhere / "model")
    assert stages["zero"]["rewards"][1]["mode"] == "./not_a_path"


def test_a_shipped_recipe_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    (shipped / "ablations").mkdir(parents=True)
    for name in ("one.yaml", "ablations/two.yaml"):
        (shipped / name).write_text("r1: 1")
    monkeypatch.setattr("r1core.recipe.shipped.shipped_folder", lambda: shipped)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "one.yaml", "recipes/one.yaml"):
        assert find_recipe(name) == shipped / "one.yaml"
    assert find_recipe("recipes/ablations/two.yaml") == shipped / "ablations" / "two.yaml"
    (tmp_path / "one.yaml").write_text("mine")
    assert find_recipe("one.yaml").read_text() == "mine"
    with pytest.raises(RecipeError, match=r"did you mean 'one\.yaml'"):
        find_recipe("recipes/oen.yaml")
    with pytest.raises(RecipeError, match="no recipe"):
        find_recipe("../shipped/../../etc/passwd")


def test_the_shipped_folder_is_the_repositorys_or_the_packages() -> None:
    assert shipped_folder().name == "recipes"
    assert shipped_folder().is_dir()


def test_a_recipe_from_the_network_is_refused() -> None:
    with pytest.raises(RecipeError, match="is not a local file"):
        resolve(find_recipe("https://example.org/recipe.yaml"))
