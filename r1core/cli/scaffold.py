"""The files of a new plugin, from templates that lie beside this module as data.

A template is the file as it will be, with `<<words>>` where the names go. What every kind has in
common stands in `templates/common` once; what makes a kind has a folder of its own, with a small
component that works: an author changes something that runs.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from r1core.cli.core_range import range_of
from r1core.cli.options_table import begin, options_table
from r1core.cli.plugin_names import PluginNames
from r1core.components import CONTRACTS
from r1core.hookspecs import PROJECT
from r1core.plugin_host.discovery import core_version
from r1core.plugin_host.local import load_local

COMMON = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "test.yml.txt": ".github/workflows/test.yml",
    "publish.yml.txt": ".github/workflows/publish.yml",
}
OWN = {
    "plugin.py.txt": "<<module>>/__init__.py",
    "cases.jsonl.txt": "<<module>>/cases.jsonl",
    "test.py.txt": "tests/test_<<plugin_file>>.py",
    "smoke.yaml.txt": "recipes/<<plugin_file>>_smoke.yaml",
}
"""A template's name -> where it goes. A kind without cases has no such template."""
TYPED = "<<module>>/py.typed"
TRAINING = ("objective", "policy")
"""Kinds whose components are made of torch."""
_WORD = re.compile(r"<<(\w+)>>")


def scaffold(names: PluginNames, workplace: Path) -> dict[str, str]:
    """Path in the project -> content, of every file. `workplace` is an empty folder for what has to be tried out."""
    words = _words(names)
    files = {goes: _template("common", name, words) for name, goes in COMMON.items()}
    for name, goes in OWN.items():
        if _folder(names.kind).joinpath(name).is_file():
            files[goes] = _template(names.kind, name, words)
    files = {_filled(place, words): text for place, text in {**files, TYPED: ""}.items()}
    files["README.md"] = _filled(files["README.md"], {"options": _options(names, words, workplace)})
    return dict(sorted(files.items()))


def _words(names: PluginNames) -> dict[str, str]:
    """What the templates' words stand for; `options` is left for when the component exists."""
    core = f"{PROJECT}[train]" if names.kind in TRAINING else PROJECT
    return {
        "kind": names.kind,
        "contract": CONTRACTS[names.kind].__name__,
        "name": names.name,
        "plugin": names.plugin,
        "plugin_file": names.plugin.replace("-", "_"),
        "component": names.component,
        "class": names.class_name(_imported(names.kind)),
        "module": names.module,
        "distribution": names.distribution,
        "requirement": f"{core}{range_of(core_version())}",
        "requires_python": importlib.metadata.metadata(PROJECT)["Requires-Python"],
        "options": "<<options>>",
    }


def _imported(kind: str) -> set[str]:
    """The names that the kind's module imports: its class can have none of these."""
    tree = ast.parse(_WORD.sub("word", _folder(kind).joinpath("plugin.py.txt").read_text(encoding="utf-8")))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {(alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names}


def _options(names: PluginNames, words: Mapping[str, str], workplace: Path) -> str:
    """The README's block: the component is imported from a file of its own, and asked."""
    trial = workplace / f"{names.module}.py"
    trial.write_text(_template(names.kind, "plugin.py.txt", words), encoding="utf-8")
    cls, _, _, _ = load_local(names.kind, f"./{trial.name}:{words['class']}", workplace)
    table = options_table(cls.Config)  # type: ignore[attr-defined]
    return f"{begin(names.kind, names.name)}\n{table}"


def _folder(name: str) -> Traversable:
    return resources.files(__package__).joinpath("templates", name)


def _template(folder: str, name: str, words: Mapping[str, str]) -> str:
    return _filled(_folder(folder).joinpath(name).read_text(encoding="utf-8"), words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _WORD.sub(lambda found: words[found[1]], text)
