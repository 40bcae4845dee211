"""The classes and recipes in the READMEs are what they say: each is taken out of the text; a class passes the suite of
its kind, a recipe that is whole (`profile: none`) plans."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r1core.plugins import PluginHost
from r1core.recipe.loader import load_yaml
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve

ROOT = Path(__file__).parents[2]
CLOSE = """\
{"prompt": "pi?", "gold": "3.14", "response": "<think>hm</think><answer>3.1416</answer>", "expect": 1, "why": "near"}
{"prompt": "pi?", "gold": "3.14", "response": "<think>hm</think><answer>3</answer>", "expect": 0, "why": "far"}
"""
TESTS = {
    "Close": ("README.md", 'RewardSuite): cases = "cases.jsonl"'),
    "BestOfGroup": ("plugins/README.md", "AdvantageSuite): pass"),
    "FirstOfItsKind": ("plugins/README.md", "FilterSuite): pass"),
    "Vanilla": ("plugins/README.md", "ObjectiveSuite): pass"),
}


def block_with(name: str, readme: str) -> str:
    """The code block that defines a class."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), flags=re.DOTALL)
    (found,) = [block for block in blocks if f"class {name}(" in block]
    return found


@pytest.mark.parametrize("name", TESTS)
def test_an_example_passes_the_suite_of_its_kind(name: str, tmp_path: Path) -> None:
    readme, suite = TESTS[name]
    (tmp_path / "mine.py").write_text(block_with(name, readme), encoding="utf-8")
    (tmp_path / "cases.jsonl").write_text(CLOSE, encoding="utf-8")
    base, _, body = suite.partition(")")
    code = f"from r1core.testing import {base}\nclass TestIt({base}):\n    component = './mine.py:{name}'\n"
    (tmp_path / "test_it.py").write_text(f"{code}    {body.removeprefix(': ')}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)


def whole_recipes() -> dict[str, str]:
    """The recipes in recipes/README.md that bind everything, by name."""
    text = (ROOT / "recipes/README.md").read_text(encoding="utf-8")
    blocks = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL) if "\nprofile: none\n" in block
    ]
    return {block.partition("\nname: ")[2].partition("\n")[0]: block for block in blocks}


@pytest.mark.parametrize("name", ["four-signals", "curated"])
def test_a_recipe_of_the_readme_plans(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(whole_recipes()[name], encoding="utf-8")
    plan = make_plan(resolve(path), PluginHost.discover())
    assert plan.name == name


def test_every_whole_recipe_of_the_readme_is_tested() -> None:
    assert set(whole_recipes()) == {"four-signals", "curated"}


def test_the_readmes_recipes_say_how_each_signal_and_each_filter_of_curation_is_written(tmp_path: Path) -> None:
    signals, curated = (load(whole_recipes()[name], tmp_path) for name in ("four-signals", "curated"))
    trained = [stage["train"] for stage in signals["stages"].values() if "train" in stage]
    assert {key for train in trained for key in train} >= {"traces", "cached", "live", "on_policy", "mix", "lr"}
    names = {use if isinstance(use, str) else use["use"] for use in curated["stages"]["curated"]["filters"]}
    assert names >= {"difficulty_band", "length_band", "no_duplicates", "think_tags"}


def load(text: str, folder: Path) -> Any:
    (folder / "block.yaml").write_text(text, encoding="utf-8")
    return load_yaml(folder / "block.yaml").data
