"""The house's rule, read from the source: who may import whom, and that the core knows no component by name."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = (
    {"types", "errors", "suggest", "untrusted", "keys", "events", "usage", "orphans"}
    | {"world", "ngrams", "reflection", "model_names", "reasoning_stream", "boxes"},
    {"choices", "schedules", "estimates", "components", "contexts", "hookspecs", "batching", "losses", "endpoints"}
    | {"architectures", "policies"},
    {"plugins", "plugin_host", "recipe"},
    {"scoring", "store", "stages"}
    | {"cases", "stress", "processes", "interrupts", "preflight", "scheduling", "pipeline", "api", "comparison"}
    | {"ranks"},
    {"cli", "testing"},
)
NN_NEEDS = {"types", "errors", "nn"}
NN_USERS = {"testing", "policies"}
"""An objective is tested on tensors; the base of policies opens its folders when it is asked to."""
PUBLIC = {
    "types",
    "world",
    "estimates",
    "choices",
    "endpoints",
    "components",
    "contexts",
    "hookspecs",
    "errors",
    "schedules",
    "batching",
    "losses",
    "policies",
    "keys",
    "ngrams",
    "reflection",
    "nn",
    "untrusted",
    "suggest",
    "model_names",
    "reasoning_stream",
    "boxes",
}
"""What built-in plugins may import of r1core."""
PUBLIC_MODULES = ("r1core.store.rows.", "r1core.store.ledger.", "r1core.recipe.loader.")
"""And of its other rooms: what reads the rows of a dataset, what keeps a record, and what reads YAML safely."""
PUBLIC_TO_COMMANDS = {"api", "comparison", "events", "store", "stages"}
"""What plugins that add commands and no component may import, too: they start runs, and read what runs left."""
WORDS = {"format", "language", "accuracy", "correct", "native", "transformers", "pairs", "echo", "pass_at_k", "math"}
WORDS |= {"wandb", "length", "code", "choice", "judge", "parquet", "jsonl", "datasets"}
"""Names of built-ins that are words of the trade, too."""


def modules(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """(dotted name, syntax tree) of every module below a package's folder."""
    for file in sorted(folder.rglob("*.py")):
        dotted = ".".join(file.relative_to(folder.parent).with_suffix("").parts)
        yield dotted.removesuffix(".__init__"), ast.parse(file.read_text(), str(file))


def imports(name: str, tree: ast.Module, *, package: bool) -> Iterator[tuple[str, int]]:
    """(module, line) of everything imported at run time; blocks for type checkers are left out."""
    skipped = {id(n) for block in ast.walk(tree) if _for_types(block) for n in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")[: len(name.split(".")) - node.level + package]
                base = ".".join([*parents, *filter(None, [base])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def all_imports(folder: Path) -> list[tuple[str, str, int]]:
    found = []
    for name, tree in modules(folder):
        package = (folder.parent / Path(*name.split(".")) / "__init__.py").exists()
        found += [(name, target, line) for target, line in imports(name, tree, package=package)]
    return found


CORE = all_imports(ROOT / "r1core")
PLUGINS = all_imports(ROOT / "plugins" / "r1_plugins")


def room(module: str) -> str:
    """The room of a module of r1core: the name after the package's."""
    return module.split(".")[1] if "." in module else ""


def layer(name: str) -> int:
    return next((i for i, rooms in enumerate(LAYERS) if name in rooms), -1)


def test_every_module_of_the_core_has_its_place() -> None:
    rooms = {room(name) for name, _ in modules(ROOT / "r1core")} - {"", "nn"}
    assert {name for name in rooms if layer(name) < 0} == set()
    assert len(rooms) > 10


def test_rooms_import_only_from_their_own_layer_and_below() -> None:
    wrong = [
        f"{name}:{line} imports {target}"
        for name, target, line in CORE
        if target.startswith("r1core.") and room(name) not in ("", "nn")
        if (room(target) == "nn" and room(name) not in NN_USERS) or layer(room(target)) > layer(room(name))
    ]
    assert wrong == []


def test_nn_needs_only_types_and_errors() -> None:
    wrong = [
        f"{name}:{line} imports {target}"
        for name, target, line in CORE
        if room(name) == "nn" and target.startswith("r1core.") and room(target) not in NN_NEEDS
    ]
    assert wrong == []
    assert any(room(name) == "nn" for name, _, _ in CORE)


def test_the_core_never_imports_a_plugin() -> None:
    assert [f"{name}:{line}" for name, target, line in CORE if target.split(".")[0] == "r1_plugins"] == []


def test_pluggy_stays_in_one_place() -> None:
    users = {room(name) for name, target, _ in CORE if target.split(".")[0] == "pluggy"}
    assert users == {"hookspecs", "plugins", "plugin_host"}


def test_torch_stays_in_nn() -> None:
    heavy = {"torch", "transformers", "vllm", "deepspeed", "wandb", "datasets"}
    tops = {
        (name, alias.name.split(".")[0])
        for name, tree in modules(ROOT / "r1core")
        if room(name) != "nn"
        for node in tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert {(name, top) for name, top in tops if top in heavy} == set()


def of_commands() -> set[str]:
    """The built-in plugins that only add commands."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["r1core"]
    commands = {target for name, target in points.items() if name.startswith("command-")}
    return commands - {target for name, target in points.items() if not name.startswith("command-")}


COMMANDS = of_commands()


def test_plugins_import_only_public_rooms_and_never_each_other() -> None:
    wrong = []
    for name, target, line in PLUGINS:
        top, own = target.split(".")[0], ".".join(name.split(".")[:2])
        foreign = top == "r1_plugins" and not f"{target}.".startswith(f"{own}.")
        rooms = PUBLIC | PUBLIC_TO_COMMANDS if own in COMMANDS else PUBLIC
        private = top == "r1core" and room(target) not in rooms and not target.startswith(PUBLIC_MODULES)
        if foreign or private:
            wrong.append(f"{name}:{line} imports {target}")
    assert wrong == []
    assert len(PLUGINS) > 10


# --- no component name in the core -------------------------------------------------------------------


def built_in_names() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {name for name in project["entry-points"]["r1core"] if not name.startswith(("command-", "observer-"))}
    return names | {"vllm", "deepspeed"}


def words_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every identifier and every string that is one word; docstrings may give examples."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value, getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def test_the_core_knows_no_component_by_name() -> None:
    names = built_in_names() - WORDS
    wrong = [
        f"{name}:{line} says {word!r}"
        for name, tree in modules(ROOT / "r1core")
        for word, line in words_of(tree)
        if word in names
    ]
    assert wrong == []


def test_the_rule_can_fail() -> None:
    assert ("grpo", 1) in list(words_of(ast.parse("x = 'grpo'")))
    found = list(imports("r1core.types", ast.parse("from .recipe import plan"), package=False))
    assert found == [("r1core.recipe.plan", 1)]
    with pytest.raises(SyntaxError):
        ast.parse("def")
