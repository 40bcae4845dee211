"""Every built-in is what pyproject.toml says it is, opens without torch, and has no option that nobody reads."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from r1core import hookspecs
from r1core.choices import Options, Use
from r1core.components import CONTRACTS, Component, Trainer
from r1core.plugin_host.discovery import COMMAND, Provider, classify
from r1core.plugins import PluginHost
from r1core.recipe.annotations import Rewriter
from r1core.recipe.schema import Recipe

ROOT = Path(__file__).parents[2]
ENTRY_POINTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["r1core"]
HOST = PluginHost(
    classify(
        [Provider(name=n, target=t, distribution="r1core", version="0") for n, t in ENTRY_POINTS.items()],
        deny=(),
        allow=None,
    )
)
LOADED = HOST.components()
CLASSES: list[type[Component]] = [loaded.cls for loaded in LOADED]
NAMES = [f"{loaded.kind} {loaded.name}" for loaded in LOADED]
REGISTRATION_HOOKS = {
    n for n, f in vars(hookspecs).items() if n.startswith("r1_") and not inspect.signature(f).parameters
}
REGISTRATION_HOOKS -= {"r1_commands", "r1_observer_options", "r1_observer_lacks"}

# --- what there is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_entry_point_loads_and_brings_what_it_is_named_for(name: str) -> None:
    (row,) = [row for row in HOST.report() if row.name == name]
    assert row.status == "ok", row.detail
    if name.startswith(COMMAND):
        assert HOST.command(name.removeprefix(COMMAND)).name == name.removeprefix(COMMAND)
    elif not row.components:
        HOST.observers([Use(use=name)], report=pytest.fail)  # refuses what observes nothing


def test_every_folder_of_the_built_ins_has_an_entry_point() -> None:
    folders = {path.parent.name for path in (ROOT / "plugins" / "r1_plugins").glob("*/__init__.py")}
    assert folders == {target.split(".")[1] for target in ENTRY_POINTS.values()}


def test_every_registered_component_can_be_named() -> None:
    modules = [importlib.import_module(target) for target in set(ENTRY_POINTS.values())]
    hooks = [hook for m in modules for name, hook in vars(m).items() if name in REGISTRATION_HOOKS]
    assert {cls for hook in hooks for cls in hook()} == set(CLASSES)


def test_every_kind_has_a_built_in() -> None:
    assert {cls.kind for cls in CLASSES} == set(CONTRACTS)


@pytest.mark.parametrize("cls", CLASSES, ids=NAMES)
def test_a_built_in_says_what_it_is(cls: type[Component]) -> None:
    assert cls.__doc__
    assert cls.__doc__ != cls.__mro__[1].__doc__
    assert issubclass(cls, CONTRACTS[cls.kind])
    assert isinstance(cls.check(), list)


def test_built_ins_open_without_torch() -> None:
    modules = sorted({target.partition(":")[0] for target in ENTRY_POINTS.values()})
    code = (
        f"import importlib, sys\nfor name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'transformers', 'vllm', 'deepspeed', 'pyarrow', 'tensorboard'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- options -----------------------------------------------------------------------------------------


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


SCHEMA = list(dict.fromkeys(models_in(Recipe)))
CONFIGS = list(dict.fromkeys(model for cls in CLASSES for model in models_in(cls.Config)))
FIELDS = [(model, name) for model in dict.fromkeys([*SCHEMA, *CONFIGS]) for name in model.model_fields]
FIELD_NAMES = [f"{model.__qualname__}.{name}" for model, name in FIELDS]


def test_there_are_options_to_look_at() -> None:
    assert len(FIELDS) > 80
    assert {"points", "peak", "use", "clip_low", "max_rows"} <= {name for _, name in FIELDS}


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=FIELD_NAMES)
def test_an_option_is_described(model: type[BaseModel], name: str) -> None:
    description = model.model_fields[name].description
    assert description
    assert not description.endswith(".")


@pytest.mark.parametrize("model", dict.fromkeys([*SCHEMA, *CONFIGS]), ids=lambda model: model.__qualname__)
def test_options_are_strict_and_frozen(model: type[BaseModel]) -> None:
    assert model.model_config.get("frozen")
    assert issubclass(model, Use) or model.model_config.get("extra") == "forbid"


@functools.cache
def attributes_read(path: Path) -> frozenset[str]:
    """The names that a file takes from objects, `something.name`; declaring or setting one does not count."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load))


def read_within(*places: Path) -> set[str]:
    """What is read in these files and folders."""
    files = [file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])]
    return {name for file in files for name in attributes_read(file)}


def file_of(cls: type) -> Path:
    return Path(inspect.getfile(cls))


def test_an_option_of_a_recipe_is_read_by_the_core() -> None:
    read = read_within(ROOT / "r1core")
    declared = {(model.__qualname__, name) for model in SCHEMA for name in model.model_fields}
    assert Recipe.model_fields["r1"].annotation == typing.Literal[1], "the version is checked by its type"
    assert {(model, name) for model, name in declared if name not in read} <= {("Recipe", "r1")}


def home_of(model: type) -> Path:
    """The file of a model, or its folder where that is a room of its own: its reader may be next door."""
    file = file_of(model)
    return file if file.parent == ROOT / "r1core" else file.parent


@pytest.mark.parametrize("cls", CLASSES, ids=NAMES)
def test_an_option_of_a_built_in_is_read_by_it(cls: type[Component]) -> None:
    for model in models_in(cls.Config):
        if issubclass(model, Use):
            continue  # a component chosen by name is built by the core
        families = {home_of(base) for base in model.__mro__ if issubclass(base, BaseModel) and base is not BaseModel}
        read = read_within(file_of(cls).parent, *families)
        assert not [f"{model.__qualname__}.{name}" for name in model.model_fields if name not in read]


def test_an_option_that_is_only_declared_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class C:\n    idle: int = 1\n    used: int = 2\nprint(C().used)\nC().idle = 3\n")
    assert read_within(tmp_path) == {"used"}


@pytest.mark.parametrize("cls", CLASSES, ids=NAMES)
def test_a_config_of_a_built_in_is_its_own(cls: type[Component]) -> None:
    assert issubclass(cls.Config, Options)
    assert cls.Config.model_fields or cls.Config.__doc__


# --- presets -------------------------------------------------------------------------------------------

PRESETS = [(cls, name) for cls in CLASSES if issubclass(cls, Trainer) for name in cls.presets]


@pytest.mark.parametrize(("cls", "name"), PRESETS, ids=[f"{c.name}-{n}" for c, n in PRESETS])
def test_a_preset_is_a_valid_set_of_options(cls: type[Trainer], name: str) -> None:
    chosen: list[tuple[str, str]] = []

    def check(use: Use, kind: str, path: Any) -> Any:
        HOST.find(kind, use.use).Config.model_validate(use.options)
        chosen.append((kind, use.use))
        return use.use

    config = cls.Config.model_validate(cls.presets[name])
    plain = Rewriter(use=check, ref=lambda value, artifact, path: value).model(config)
    assert chosen
    assert set(cls.presets[name]) <= set(plain)


def test_the_presets_of_rl() -> None:
    assert {name for cls, name in PRESETS if cls.name == "rl"} >= {"grpo", "ppo_mc"}


# --- docstrings ------------------------------------------------------------------------------------------


def undocumented(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    """Public functions and classes, and public methods of these, that say nothing."""
    for node in getattr(tree, "body", ()):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        described = ast.get_docstring(node) is not None
        overload = any(ast.unparse(decorator).endswith(("overload", ".setter")) for decorator in node.decorator_list)
        if not (described or overload):
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", sorted((ROOT / "r1core").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_everything_public_in_the_core_has_a_docstring(path: Path) -> None:
    assert not list(undocumented(ast.parse(path.read_text(encoding="utf-8"))))
