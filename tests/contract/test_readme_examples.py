"""The classes in the READMEs are what they say: each is taken out of the text and passes the suite of its kind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
