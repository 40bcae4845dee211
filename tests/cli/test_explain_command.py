"""`r1 explain NAME`: everything by that name, straight from the code."""

import importlib.metadata
from typing import Annotated, Literal

import pytest
from click.testing import CliRunner
from pydantic import Field

from r1_plugins.distill import Distill
from r1_plugins.math import r1_rewards as r1_math
from r1_plugins.rules import r1_rewards as r1_rules
from r1core.choices import DataRef, Options, Use, UseAdvantage, UseFilter
from r1core.cli.explain import command
from r1core.cli.options_table import options_table
from r1core.cli.wording import field_type, value_text
from r1core.components import Reward
from r1core.errors import RecipeError
from r1core.recipe.schema import Stage
from r1core.recipe.written import Written
from r1core.schedules import Number, Schedule

VERSION = importlib.metadata.version("r1core")


def explain(name: str) -> str:
    result = CliRunner().invoke(command, [name])
    assert result.exit_code == 0, result.exception
    return result.output


def test_a_component_shows_its_docstring_options_contract_and_file() -> None:
    said = explain("format")
    assert said.startswith(f"reward format  (r1core {VERSION})")
    for line in ("  timeout_s: 3.0", "  lowest: ", "  runs: worker", "  sees: response", "/rules/format.py"):
        assert line in said


def test_a_reward_shows_what_a_reference_looks_like() -> None:
    said = explain("numeric")
    assert "  a problem's reference (its gold): a number, or a text that is one; or {value, unit," in said
    assert "gold_form" not in said
    assert "its gold" not in explain("grpo")


@pytest.mark.parametrize("reward", [*r1_rules(), *r1_math()], ids=lambda reward: reward.name)
def test_every_rule_says_what_a_reference_looks_like(reward: type[Reward]) -> None:
    assert reward.gold_form
    assert max(map(len, explain(reward.name).splitlines()[:6])) <= 110


def test_a_name_with_several_meanings_shows_all_of_them() -> None:
    said = explain("grpo")
    assert f"advantage grpo  (r1core {VERSION})" in said
    assert "needs: rewards" in said
    assert "normalize_std: bool, default true" in said
    assert "preset grpo of trainer rl" in said
    assert "advantage: {use: grpo" in said


def test_options_within_options_are_shown() -> None:
    said = explain("rl")
    assert "    kl: options:" in said
    assert "        coefficient: float >= 0, default 0.0" in said
    assert "presets: grpo" in said
    assert "needs: r1core[train]" in explain("native")


def test_options_that_may_be_left_out_are_shown_with_all_that_is_within_them() -> None:
    said = explain("distill")
    for line in (
        "    live: options, default null",
        "        teachers: list of options, default []",
        "            for: dict of str, str, default {}",
        "        tokenizers: same | aligned | uld, default same",
        "            kind: forward | reverse | jsd",
        "        signal: logprob | full, default logprob",
    ):
        assert f"\n{line}" in said
    assert "\n        input: float" in explain("openai"), "prices"


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (
            "sample",
            ["sample, the kind of a stage: ", "    ledger: str, default null", "    jsonl: bool"],
        ),
        ("signals", ["    scheme: top_k | sampled, default top_k"]),
        ("evaluate", ["    sets: dict of str, options, required", "        at_least: float, default 0.5"]),
        ("train", ["train, the kind of a stage: trainer, by name"]),
        ("import", ["import, the kind of a stage: str"]),
        ("review", ["    path: str, required"]),
        ("rewards", ["rewards, a key of a stage: list of reward, by name", "    gate: dict of str, float, default {}"]),
        ("matrix", ["matrix, a key of a recipe: "]),
        ("sampling", ["sampling, a key of a recipe: ", "sampling, a key of a stage: ", "    top_p: float > 0 <= 1"]),
        ("stages", ["stages, a key of a recipe: ", "    the pipeline; `r1 explain` has each key of a stage: import, "]),
        ("problems", ["    mix: list of options, required"]),
    ],
)
def test_the_keys_of_a_recipe_are_explained(key: str, lines: list[str]) -> None:
    said = explain(key)
    for line in lines:
        assert f"\n{line}" in f"\n{said}"


def test_every_key_of_a_stage_and_of_a_recipe_has_a_page() -> None:
    for block in (Stage, Written):
        for name, field in block.model_fields.items():
            assert f"{field.alias or name}, " in explain(field.alias or name)
    assert "did you mean 'signals'?" in str(CliRunner().invoke(command, ["signls"]).exception)


def test_a_table_has_a_row_for_each_option_within_one_that_may_be_left_out() -> None:
    rows = options_table(Distill.Config).splitlines()
    assert "| `live` | options | `null` | learn the stage's `data` with the teacher in memory |" in rows
    for name in ("live.teachers", "live.teachers.for", "live.divergence.kind", "on_policy.signal"):
        assert sum(row.startswith(f"| `{name}` |") for row in rows) == 1
    assert not any(row.startswith("| `live.divergence` |") for row in rows), "it is always there"


def test_an_observer_or_a_command_is_explained_as_a_plugin() -> None:
    assert f"plugin tensorboard  (r1core {VERSION})" in explain("tensorboard")
    assert "brings command chat" in explain("chat")


def test_a_misspelled_name_gets_a_suggestion() -> None:
    result = CliRunner().invoke(command, ["grop"])
    assert isinstance(result.exception, RecipeError)
    assert "did you mean 'grpo'?" in str(result.exception)


class Example(Options):
    plain: int = Field(3, ge=1, lt=9)
    choice: Literal["a", "b"] = "a"
    maybe: float | None = None
    many: list[str] = Field(default_factory=list)
    schedule: Number = Field(Schedule[float].model_validate(0.5))
    by_name: UseAdvantage = Field(Use(use="x"))
    named: list[UseFilter] = Field(default_factory=list)
    stage: DataRef = ""
    deep: dict[str, Annotated[int, "note"]] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("plain", "int >= 1 < 9"),
        ("choice", "a | b"),
        ("maybe", "float"),
        ("many", "list of str"),
        ("schedule", "float, or a schedule"),
        ("by_name", "advantage, by name"),
        ("named", "list of filter, by name"),
        ("stage", "stage id (its data)"),
        ("deep", "dict of str, int"),
    ],
)
def test_types_are_said_in_a_recipes_words(field: str, words: str) -> None:
    assert field_type(Example.model_fields[field]) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (True, "true"), (0.0, "0.0"), (None, "null"), ("", '""'), ("a b", "a b"), ("\n", '"\\n"'),
        ([1, "x"], "[1, x]"), ({"a": [True]}, "{a: [true]}"), (frozenset({"b", "a"}), "a, b"), (frozenset(), "nothing"),
        (Use.model_validate({"use": "x", "k": 1}), "{use: x, k: 1}"),
    ],
)  # fmt: skip
def test_values_are_said_as_a_recipe_would(value: object, text: str) -> None:
    assert value_text(value) == text
