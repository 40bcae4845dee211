"""What a plan holds: every name looked up, every default written out, an order that works, fingerprints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from third_party import toy_host
from toy_recipes import HEAD, STAGES, TINY, planned, write

from r1core.choices import Use
from r1core.errors import RecipeError
from r1core.plugins import PluginHost
from r1core.recipe.fingerprint import digest
from r1core.recipe.loader import parse
from r1core.recipe.plan import Plan, make_plan, resolved_data, write_resolved
from r1core.recipe.resolve import resolve, resolved_again
from r1core.recipe.writing import to_yaml

WITH_REFS = (
    STAGES.replace("preset: plain}", "preset: plain, teacher: base, extra: [kept0]}")
    + """\
  kept0:
    sample: {prompts: 4}
    model: base
    problems: reasoning
    rewards: [{use: graded, model: base}]
"""
)


def test_stages_come_after_their_inputs_else_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    plan = planned(tmp_path, HEAD + WITH_REFS)
    assert [stage.id for stage in plan.stages] == ["base", "kept0", "zero", "kept", "final", "table"]
    assert [(s.kind, s.model, s.inputs) for s in plan.stages][2] == ("train", "base", ("base", "kept0"))


def test_refs_within_options_are_edges(tmp_path: Path) -> None:
    plan = planned(tmp_path, HEAD + WITH_REFS)
    assert plan.stage("kept0").inputs == ("base",)
    assert plan.stage("table").inputs == ("base", "zero", "final")


def test_presets_lie_under_what_the_recipe_says(tmp_path: Path) -> None:
    train = planned(tmp_path).stage("zero").resolved()["train"]
    assert train["advantage"] == {"use": "other", "normalize_std": False}
    assert (train["samples"], train["steps"], train["prompts"]) == (4, 3, 8)
    assert "preset" not in train
    own = "stages.zero.train.advantage={normalize_std: true}"
    assert planned(tmp_path, HEAD + STAGES, own).stage("zero").resolved()["train"]["advantage"]["normalize_std"] is True


def test_defaults_are_written_out_and_the_result_is_plain_json(tmp_path: Path) -> None:
    stage = planned(tmp_path).stage("zero")
    assert json.loads(json.dumps(stage.resolved())) == stage.resolved()
    assert stage.resolved()["rewards"] == [
        {"use": "toy", "as": "accuracy", "weight": 1.0, "strictness": 0.25, "mode": "soft"},
        {"use": "toy", "weight": 0.5, "strictness": 0.5, "mode": "hard"},
    ]
    assert stage.resolved()["sampling"] == {"max_new_tokens": 16, "temperature": 1.0, "top_p": 1.0, "ahead": False}


def test_components_are_built_from_name_and_options(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    reward = plan.component("reward", plan.stage("zero").stage.rewards[1])
    assert (type(reward).__name__, reward.config.mode) == ("Toy", "hard")
    trainer = plan.component("trainer", plan.stage("zero").stage.train)
    estimator = plan.component("advantage", trainer.config.advantage)
    assert estimator.config.normalize_std is False


def test_a_running_component_gets_folders_for_refs(tmp_path: Path) -> None:
    plan = planned(tmp_path, HEAD + WITH_REFS)
    folders = {"base": tmp_path / "base" / "model", "kept0": tmp_path / "kept0" / "data"}
    trainer = plan.component("trainer", plan.stage("zero").stage.train, folders)
    assert (trainer.config.teacher, trainer.config.extra) == (str(folders["base"]), [str(folders["kept0"])])
    assert plan.component("trainer", plan.stage("zero").stage.train).config.teacher == "base"


def test_dependents_and_ancestors_are_transitive_and_hold_their_start(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert plan.dependents(["kept"]) == {"kept", "final", "table"}
    assert plan.ancestors(["kept"]) == {"kept", "zero", "base"}
    with pytest.raises(RecipeError, match="did you mean 'final'"):
        plan.dependents(["finall"])


def test_the_lock_holds_every_component_of_every_stage(tmp_path: Path) -> None:
    assert list(planned(tmp_path).lock["components"]) == [
        "advantage other",
        "filter keep",
        "policy net",
        "reward toy",
        "sampler draw",
        "source numbers",
        "trainer fit",
        "trainer reinforce",
    ]


# --- fingerprints ----------------------------------------------------------------------------------


def changed(before: Plan, after: Plan) -> set[str]:
    return {stage for stage, value in after.fingerprints.items() if before.fingerprints.get(stage) != value}


@pytest.mark.parametrize(
    ("override", "stale"),
    [
        ("stages.final.train.lr=0.5", {"final", "table"}),
        ("stages.kept.filters=[{use: keep, at_most: 2}]", {"kept", "final", "table"}),
        ("stages.zero.train.penalty.coefficient={0: 0.1, 50%: 0}", {"zero", "kept", "final", "table"}),
        ("stages.table.evaluate.sets.score.limit=2", {"table"}),
        ("stages.final.threads=2", {"final", "table"}),
        ("sampling.temperature=0.5", {"zero", "kept", "final", "table"}),
        ("seed=1", {"base", "zero", "kept", "final", "table"}),
        ("stages.zero.gate=[{metric: reward, min: 0}]", set()),
        ("scoring.workers=4", set()),
        ("description=x", set()),
        ("stages.zero.train.advantage.normalize_std=false", set()),
        ("stages.zero.rewards.1.mode=hard", set()),
    ],
)
def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(
    tmp_path: Path, override: str, stale: set[str]
) -> None:
    assert changed(planned(tmp_path), planned(tmp_path, HEAD + STAGES, override)) == stale


def test_the_order_of_keys_and_the_spelling_of_numbers_do_not_matter(tmp_path: Path) -> None:
    other = STAGES.replace("{use: toy, weight: 0.5, mode: hard}", "{mode: hard, weight: 5e-1, use: toy}")
    assert changed(planned(tmp_path), planned(tmp_path, HEAD + other)) == set()


def test_what_a_local_file_holds_counts_and_where_it_lies_does_not(tmp_path: Path) -> None:
    recipe = HEAD + STAGES.replace(
        "    problems: reasoning\n    rewards: [accuracy]\n    filters",
        "    problems: {use: numbers, path: ./data.jsonl}\n    rewards: [./mine.py:Mine]\n    filters",
    )
    code = "from toy_components import Toy\nclass Mine(Toy):\n    name = 'mine'\n"
    plans = []
    for folder, data, source in [("a", "1", code), ("b", "1", code), ("c", "2", code), ("d", "1", code + "# x\n")]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.jsonl").write_text(data)
        (tmp_path / folder / "mine.py").write_text(source)
        plans.append(planned(tmp_path / folder, recipe))
    assert changed(plans[0], plans[1]) == set()
    assert changed(plans[0], plans[2]) == {"kept", "final", "table"}
    assert changed(plans[0], plans[3]) == {"kept", "final", "table"}
    assert [c.cls.__name__ for c in plans[0].stage("kept").components if c.local] == ["Mine"]


def test_which_of_two_files_of_one_name_is_meant_counts(tmp_path: Path) -> None:
    for folder, more in (("a", ""), ("b", "# x\n")):
        (tmp_path / folder).mkdir()
        code = "from toy_components import Toy\nclass Mine(Toy):\n    name = 'mine'\n"
        (tmp_path / folder / "mine.py").write_text(code + more)

    def of(*rewards: str) -> Plan:
        return planned(
            tmp_path, (HEAD + STAGES).replace("[accuracy]\n    filters", f"[{', '.join(rewards)}]\n    filters")
        )

    both = of("./a/mine.py:Mine", "./b/mine.py:Mine")
    assert changed(both, of("./b/mine.py:Mine", "./a/mine.py:Mine")) == {"kept", "final", "table"}
    (tmp_path / "a" / "mine.py").write_text((tmp_path / "a" / "mine.py").read_text() + "# y\n")
    assert changed(both, of("./a/mine.py:Mine", "./b/mine.py:Mine")) == {"kept", "final", "table"}


def test_the_source_of_a_component_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(tmp_path)
    load = PluginHost.load

    def edited(self: PluginHost, kind: str, name: str, folder: Path | None = None) -> Any:
        loaded = load(self, kind, name, folder)
        if name == "fit":
            object.__setattr__(loaded, "source_hash", "another")
        return loaded

    monkeypatch.setattr(PluginHost, "load", edited)
    assert changed(before, planned(tmp_path)) == {"base", "zero", "kept", "final", "table"}


def test_equal_stages_have_different_fingerprints_since_their_randomness_differs(tmp_path: Path) -> None:
    twin = STAGES.replace("  final:\n", "  twin:\n    train: fit\n    model: base\n    data: kept\n  final:\n")
    fingerprints = planned(tmp_path, HEAD + twin).fingerprints
    assert fingerprints["twin"] != fingerprints["final"]


def test_a_set_has_one_order(tmp_path: Path) -> None:
    plan = planned(tmp_path, HEAD + STAGES, "stages.kept.filters=[strict]")
    assert plan.stage("kept").resolved()["filters"] == [{"use": "strict", "words": list("abcdefgh")}]


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_keys(data: dict[str, Any]) -> None:
    assert digest(data) == digest(dict(reversed(data.items())))


# --- the resolved recipe ---------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [STAGES, WITH_REFS])
def test_the_resolved_recipe_plans_to_the_same_fingerprints(tmp_path: Path, stages: str) -> None:
    more = "stages.zero.rewards.1={use: toy, for: {domain: 'on'}, active: last 4, strictness: 1e-6}"
    plan = planned(tmp_path, "seed: 7\n" + HEAD + stages, more, "stages.kept.filters=[strict, keep]")
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "recipe.resolved.yaml"
    again.write_text(write_resolved(plan))
    data = json.loads(json.dumps(resolved_data(plan)))
    assert resolved_again(data, again).data == resolve(again).data, "what a stage's process is given is what it says"
    second = make_plan(resolve(again), toy_host())
    assert second.profile == "none"
    assert second.fingerprints == plan.fingerprints
    assert write_resolved(second).splitlines()[1:] == write_resolved(plan).splitlines()[1:]


@settings(deadline=None)
@given(st.text(max_size=12), st.floats(0, 1))
def test_any_text_and_number_survive_the_resolved_recipe(mode: str, share: float) -> None:
    use = {"use": "toy", "mode": mode, "strictness": share}
    assert parse(to_yaml({"rewards": [use]}), "x").plain() == {"rewards": [use]}


def test_a_stage_has_no_keys_that_its_kind_does_not_read(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    keys = {"train", "model", "data", "policy", "threads", "stall_s", "checkpoint"}
    assert set(plan.stage("final").resolved()) == keys
    assert plan.stage("final").stage.train == Use(use="fit", lr=1e-3)  # type: ignore[call-arg]


def test_an_import_stage_follows_the_content_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")

    def prints() -> Plan:
        return make_plan(resolve(tmp_path / "recipe.yaml", None, [f"models.base={tmp_path / 'model'}"]), toy_host())

    before = prints()
    (tmp_path / "model" / "config.json").write_text("{ }")
    assert changed(before, prints()) == {"base", "zero", "kept", "final", "table"}
