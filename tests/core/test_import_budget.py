"""What is imported when: help is answered at once, and a plan is made, without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "vllm", "deepspeed", "datasets", "wandb")
LIGHT_BUT_SLOW = ("pydantic", "ruamel", "numpy", "rich")

MAIN = """
from r1core.cli import main
try:
    main({arguments})
except SystemExit as end:
    assert not end.code, end.code
"""
FIRST_ROW = """
import importlib
import json
import math
import sys
from pathlib import Path
from r1core.store.rows import COLUMNS, PRELOAD, write_rows
for name in PRELOAD:
    importlib.import_module(name)
before = set(sys.modules)
write_rows(Path(sys.argv[1]), [{name: None for name in COLUMNS} | {"score": math.nan}])
print(json.dumps(sorted(set(sys.modules) - before)))
"""
PLUGINS = """
from r1core.plugins import PluginHost
rows = [row for row in PluginHost.discover().report() if row.distribution == "r1core"]
assert rows
assert [f"{row.name}: {row.detail}" for row in rows if row.status != "ok"] == []
assert [row.name for row in rows if not row.components and row.name not in ("tensorboard", "trackio", "wandb")] == []
"""


def imported(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after `code`."""
    tail = "\nimport json, sys\nprint('\\n' + json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", ["import r1core.cli", MAIN.format(arguments=["--help"])])
def test_help_imports_nothing_heavy_or_slow(code: str) -> None:
    assert imported(code) & {*HEAVY, *LIGHT_BUT_SLOW} == set()


def test_discovery_needs_neither_pydantic_nor_any_plugin() -> None:
    code = "from r1core.plugins import PluginHost; PluginHost.discover().commands()"
    assert imported(code) & {*HEAVY, *LIGHT_BUT_SLOW, "r1_plugins"} == set()


def test_all_built_in_plugins_load_without_torch() -> None:
    assert imported(PLUGINS) & set(HEAVY) == set()


def test_listing_plugins_imports_nothing_heavy() -> None:
    assert imported(MAIN.format(arguments=["plugins"])) & set(HEAVY) == set()


def test_the_contracts_and_the_plan_need_no_torch() -> None:
    assert imported("import r1core.components, r1core.recipe.plan") & set(HEAVY) == set()


def test_a_first_row_imports_nothing_that_is_not_preloaded(tmp_path: Path) -> None:
    """Each stage would pay for it anew: a third of a second."""
    done = subprocess.run([sys.executable, "-c", FIRST_ROW, tmp_path], capture_output=True, text=True, check=True)
    assert [name for name in json.loads(done.stdout) if "." not in name] == []
