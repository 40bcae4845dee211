"""Renders two tables into plugins/README.md: what is built in, and what others publish (catalogue.yaml).

    python plugins/catalogue.py            # writes README.md; a test holds it to what this would write

Built-ins are read from the entry points and their docstrings, so a new component needs no second
mention. Entries of others are checked first; every fault is said with its line.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from r1core.choices import Options
from r1core.components import Component, Trainer
from r1core.errors import R1Error, RecipeError
from r1core.plugin_host.discovery import COMMAND
from r1core.plugins import PluginHost
from r1core.recipe.findings import findings
from r1core.recipe.loader import load_yaml

HERE = Path(__file__).resolve().parent
KINDS = "policy|sampler|reward|advantage|objective|filter|trainer|source|command|observer"


class Entry(Options):
    """One plugin of somebody else's."""

    plugin: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="its name in recipes, before the slash")
    distribution: str = Field(pattern=r"^r1core-[a-z0-9-]+$", description="its name on PyPI")
    brings: list[str] = Field(min_length=1, description="kind and name of each component")
    what: str = Field(min_length=10, max_length=120, description="what it is for, one sentence")
    url: str = Field(pattern=r"^https://\S+$", description="its home page")

    @field_validator("brings")
    @classmethod
    def _kinds(cls, brings: list[str]) -> list[str]:
        wrong = [each for each in brings if not re.fullmatch(rf"({KINDS}) [a-z][a-z0-9_]*", each)]
        if wrong:
            raise ValueError(f"write a kind and a name, such as 'reward smiles', got {wrong[0]!r}")
        return brings


class Catalogue(Options):
    """The whole file."""

    plugins: list[Entry] = Field(description="sorted by plugin")

    @field_validator("plugins")
    @classmethod
    def _sorted(cls, plugins: list[Entry]) -> list[Entry]:
        names = [entry.plugin for entry in plugins]
        if names != sorted(set(names)):
            raise ValueError(f"sort them by plugin, each once, got {', '.join(names)}")
        return plugins


def published(path: Path) -> list[Entry]:
    """The entries of the catalogue. Raises RecipeError with every fault."""
    document = load_yaml(path)
    try:
        return Catalogue.model_validate(document.data).plugins
    except ValidationError as error:
        raise RecipeError.of(findings(error, Catalogue, document)) from None


def built_in() -> list[tuple[str, str, str]]:
    """(folder, its components, what it is) for each folder of plugins/r1_plugins."""
    host = PluginHost.discover(allow=())
    names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for loaded in host.components():
        names[_folder(loaded.cls.__module__)][loaded.kind].append(_named(loaded.cls))
    rows = {}
    observers: dict[str, list[str]] = defaultdict(list)
    for provider in (p for p in host.providers if p.builtin):
        folder = _folder(provider.target)
        module = HERE / "r1_plugins" / folder / "__init__.py"
        brings = [f"{kind} {', '.join(found)}" for kind, found in names[folder].items()]
        if provider.name.startswith(COMMAND):
            brings.append(f"command `r1 {provider.name.removeprefix(COMMAND)}`")
        if not brings:
            observers[folder].append(f"`{provider.name}`")
        what = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").splitlines()[0]
        rows[folder] = (folder, "; ".join(brings) or f"observer {', '.join(sorted(observers[folder]))}", what)
    return [rows[folder] for folder in sorted(rows)]


def _folder(module: str) -> str:
    return module.split(".")[1]


def _named(cls: type[Component]) -> str:
    presets = ", ".join(f"`{name}`" for name in cls.presets) if issubclass(cls, Trainer) else ""
    return f"`{cls.name}`" + f" (presets {presets})" * bool(presets)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the text of cells may not end them."""
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rendered(readme: str, entries: Sequence[Entry]) -> str:
    """README's text with both tables as they should be."""
    own = table(["folder", "components", "what it is"], [(f"`{f}`", names, what) for f, names, what in built_in()])
    others = table(
        ["plugin", "install", "brings", "what it is"],
        [(f"[{e.plugin}]({e.url})", f"`pip install {e.distribution}`", ", ".join(e.brings), e.what) for e in entries],
    )
    return _between(
        _between(readme, "built-in", own), "published", others if entries else "None yet: yours is welcome."
    )


def _between(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name}: written by plugins/catalogue.py -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise RecipeError(f"the marks {begin} and {end} must be there once", where="plugins/README.md")
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Write plugins/README.md."""
    readme = HERE / "README.md"
    try:
        readme.write_text(
            rendered(readme.read_text(encoding="utf-8"), published(HERE / "catalogue.yaml")), encoding="utf-8"
        )
    except R1Error as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
