"""`r1 schema`: an editor that reads it accepts every shipped file, completes every option and underlines slips."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from r1core.cli.schema import schema_text
from r1core.plugins import Loaded, PluginHost
from r1core.recipe.loader import load_yaml
from r1core.recipe.shipped import shipped_folder

FILES = sorted(shipped_folder().rglob("*.yaml"))
REFRESH = "R1_PLUGINS= r1 schema --output recipes/schema.json"
EDITOR = "# yaml-language-server: $schema="


@functools.cache
def schema() -> dict[str, Any]:
    """The schema of the built-in components."""
    found: dict[str, Any] = json.loads(schema_text(PluginHost.discover(allow=())))
    return found


def faults(data: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(data)]


def shown(path: Path) -> str:
    return path.relative_to(shipped_folder()).as_posix()


# --- what ships --------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_shipped_schema_is_fresh() -> None:
    shipped = json.loads((shipped_folder() / "schema.json").read_text(encoding="utf-8"))
    assert shipped == schema(), f"recipes/schema.json is not what the types say now; run: {REFRESH}"


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_every_shipped_file_is_valid(path: Path) -> None:
    assert faults(load_yaml(path).data) == []


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_every_shipped_file_tells_the_editor_where_the_schema_is(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(EDITOR)
    assert (path.parent / first.removeprefix(EDITOR)).resolve() == shipped_folder() / "schema.json"


# --- what is underlined ------------------------------------------------------------------------------

GOOD = """\
r1: 1
name: mine
engines: {policy: {use: transformers, device: cpu}, sampler: native}
sampling: {max_new_tokens: {0: 64, 60%: 128}}
models: {base: org/model, student: }
problems: {train: {use: jsonl, path: a.jsonl}, mixed: {0: {use: playground}, 50%: {mix: {train: 1}}}, held_out: }
rewards: {right: accuracy, own: {use: ./mine.py:Mine, anything: 1}, foreign: {use: chem/smiles, canonical: true}}
observers: [tensorboard]
stages:
  zero:
    train: {use: rl, preset: grpo, kl: {coefficient: 0.1}, advantage: {use: grpo}, filters: [zero_variance]}
    model: base
    problems: {mix: {train: 3, mixed: 1}}
    rewards: [right, {use: format, weight: 0.1, for: {domain: x}, active: last 25%}, {use: right, weight: 2}]
    gate: [{metric: eval/quick, min: 0.1}]
    evaluate: {every: 5, sets: {quick: {problems: held_out, limit: 3}}}
  kept:
    sample: {prompts: 4, answers: given}
    problems: train
    filters: [correct, {use: at_most, k: 1}]
  student:
    train: {steps: 3, lr: {peak: 1.0e-4, decay: cosine}}
    model: {scratch: {model_type: llama, hidden_size: 8}}
    data: {use: playground_corpus, documents: 3}
  later: {train: sft, model: base, data: [kept, {use: from_data, data: kept}]}
"""
WRONG = [
    ("sampling:", "smapling:"),
    ("engines: {policy", "engines: {polcy"),
    ("max_new_tokens", "max_new_token"),
    ("60%: 128", "60%: many"),
    ("60%: 128", "sixty: 128"),
    ("device: cpu", "device: tpu"),
    ("device: cpu", "devise: cpu"),
    ("sampler: native", "sampler: navite"),
    ("path: a.jsonl", "paht: a.jsonl"),
    ("{mix: {train: 1}}", "{mixx: {train: 1}}"),
    ("    model: base\n", "    modle: base\n"),
    ("use: rl", "use: rll"),
    ("use: rl", "sue: rl"),
    ("preset: grpo", "preset: gpro"),
    ("coefficient: 0.1", "coeficient: 0.1"),
    ("coefficient: 0.1", "coefficient: often"),
    ("advantage: {use: grpo}", "advantage: {use: grpo, normalise_std: true}"),
    ("advantage: {use: grpo}", "advantage: ppo_clip"),
    ("[zero_variance]", "[zero_varianc]"),
    ("weight: 0.1", "weihgt: 0.1"),
    ("use: format, weight", "use: format, require_tags: true, weight"),
    ("last 25%", "lats 25%"),
    ("min: 0.1", "mni: 0.1"),
    ("every: 5", "evry: 5"),
    ("limit: 3", "limti: 3"),
    ("prompts: 4", "prompt: 4"),
    ("answers: given", "answers: givne"),
    ("{use: at_most, k: 1}", "{use: at_most, min: 1}"),
    ("{use: at_most, k: 1}", "{use: at_most, k: 0}"),
    ("steps: 3", "stpes: 3"),
    ("decay: cosine", "decay: cosin"),
    ("scratch:", "scrach:"),
    ("documents: 3", "documents: three"),
    ("{use: from_data, data: kept}", "{use: from_data, documents: 3}"),
    ("r1: 1", "r1: 2"),
    ("  later: {train", "  later: {tran"),
]


def data_of(text: str, folder: Path) -> Any:
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return load_yaml(folder / "recipe.yaml").data


def test_all_that_may_be_written_is_accepted(tmp_path: Path) -> None:
    assert faults(data_of(GOOD, tmp_path)) == []


@pytest.mark.parametrize(("right", "wrong"), WRONG)
def test_a_slip_is_underlined(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in GOOD
    assert faults(data_of(GOOD.replace(right, wrong, 1), tmp_path))


# --- what is completed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loaded", PluginHost.discover(allow=()).components(), ids=lambda each: f"{each.kind} {each.name}"
)
def test_every_option_of_every_built_in_is_described(loaded: Loaded) -> None:
    block = schema()["$defs"][f"{loaded.kind}:{loaded.name}"]
    options = {field.alias or name: field for name, field in loaded.cls.Config.model_fields.items()}
    assert block["additionalProperties"] is False
    assert block["properties"]["use"] == {"const": loaded.name}
    assert {name: block["properties"][name]["description"] for name in options} == {
        name: field.description for name, field in options.items()
    }
    defaulted = [name for name, field in options.items() if not field.is_required()]
    assert [name for name in defaulted if "default" not in block["properties"][name]] == []


def test_every_key_of_every_block_is_described() -> None:
    """Those of blocks within options, too."""
    silent = [
        f"{name}.{key}"
        for name, block in schema()["$defs"].items()
        for key, value in block.get("properties", {}).items()
        if key != "use" and not value.get("description")
    ]
    assert silent == []
    assert {"Kl", "Sampling", "LearningRate", "Traces"} <= set(schema()["$defs"])


def test_names_presets_and_words_are_listed() -> None:
    defs = schema()["$defs"]
    trainer = PluginHost.discover(allow=()).find("trainer", "rl")
    assert defs["trainer:rl"]["properties"]["preset"]["enum"] == list(trainer.presets)
    described = defs["advantage:grpo"]["description"]
    assert "grpo" in trainer.presets
    assert {"const": "grpo", "description": described} in defs["advantage"]["anyOf"]
    named, *chosen = defs["observer"]["anyOf"]
    assert named["anyOf"][0]["enum"] == ["tensorboard", "trackio", "wandb"]
    options = {each["properties"]["use"].get("const"): set(each["properties"]) for each in chosen}
    assert options["tensorboard"] == {"use"}
    assert {"use", "mode", "upload"} < options["wandb"]
    assert defs["SampleSpec"]["properties"]["answers"]["enum"] == ["model", "given", "given_with_thinking"]


LONG = 600
"""Characters of a block that is worth a definition."""


def blocks_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from blocks_of(part)


def test_nothing_is_written_twice() -> None:
    """Blocks that several places share are definitions, and every definition is used."""
    text = json.dumps(schema())
    used = set(re.findall(r'"#/\$defs/([^"]+)"', text))
    assert used == set(schema()["$defs"])
    blocks = Counter(json.dumps(block, sort_keys=True) for block in blocks_of(schema()))
    assert [block for block, times in blocks.items() if times > 1 and len(block) > LONG] == []


# --- the command -------------------------------------------------------------------------------------


def test_it_is_printed_or_written(r1, tmp_path: Path) -> None:
    printed = r1("schema", R1_PLUGINS="")
    assert printed.returncode == 0
    assert printed.stderr == ""
    assert json.loads(printed.stdout) == schema()
    written = r1("schema", "--output", "schema.json", R1_PLUGINS="")
    assert written.stdout == "wrote schema.json\n"
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == printed.stdout


def test_a_file_that_cannot_be_written_is_said(r1) -> None:
    done = r1("schema", "--output", "no/such/folder/schema.json")
    assert done.returncode == 3
    assert done.stderr.startswith("cannot write 'no/such/folder/schema.json': ")


MINE = """
from pydantic import Field
from r1core import Reward, Score, hookimpl

class Near(Reward):
    "1 when it is near."
    name = "near"
    class Config(Reward.Config):
        within: float = Field(0.5, ge=0, description="how near, metres")
        {more}
    def score(self, problem, response):
        return Score(value=1.0)

@hookimpl
def r1_rewards():
    return [Near]
"""


def test_a_strangers_options_are_there(r1, install) -> None:
    done = r1("schema", path=install("geo", MINE.format(more=""), {"geo": "geo"}))
    assert done.returncode == 0
    made = Draft202012Validator(json.loads(done.stdout))
    near = json.loads(done.stdout)["$defs"]["reward:geo.near"]
    assert near["description"] == "1 when it is near."
    assert near["properties"]["within"]["description"] == "how near, metres"
    recipe: dict[str, Any] = {"stages": {"a": {"rewards": [{"use": "geo/near", "within": 2, "weight": 0.5}]}}}
    assert made.is_valid(recipe)
    for key, value in (("wihtin", 2), ("within", -1)):
        wrong = copy.deepcopy(recipe)
        wrong["stages"]["a"]["rewards"][0] = {"use": "geo/near", key: value}
        assert not made.is_valid(wrong)
    assert not made.is_valid({"stages": {"a": {"rewards": ["geo/naer"]}}})
    assert made.is_valid({"stages": {"a": {"rewards": ["chem/smiles"]}}})  # a plugin that was not there


def test_a_broken_plugin_is_left_out_with_a_warning(r1, install) -> None:
    done = r1("schema", path=install("torn", "raise RuntimeError('no \\x1b[31mgood')", {"torn": "torn"}))
    assert done.returncode == 0
    assert "torn (torn 1.2) FAILED: left out: RuntimeError: no [31mgood" in done.stderr
    assert json.loads(done.stdout)["$defs"].keys() == schema()["$defs"].keys()


def test_options_that_cannot_be_told_are_free(r1, install) -> None:
    more = (
        "how: object = Field(len, description='a callable')\n        model_config = {'arbitrary_types_allowed': True}"
    )
    strange = MINE.format(more=more.replace("object", "type(len)"))
    done = r1("schema", path=install("geo", strange, {"geo": "geo"}))
    assert done.returncode == 0, done.stderr
    assert "reward geo/near (geo 1.2): its options are left free" in done.stderr
    free = Draft202012Validator(json.loads(done.stdout))
    assert free.is_valid({"stages": {"a": {"rewards": [{"use": "geo/near", "anything": 2}]}}})
