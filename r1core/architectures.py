"""What an architecture of a Hugging Face model type is made of, read from the source of its configuration class.

Reading costs a few milliseconds, importing transformers seconds; a plan needs no engine. What cannot be read (another
layout of the library, a type that lies elsewhere) is not told, and nothing is refused then.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import create_model

from r1core.choices import Options
from r1core.errors import RecipeError
from r1core.suggest import did_you_mean, is_slip

BASE = "PreTrainedConfig"
SIMPLE: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "None": None}


@functools.cache
def options_of(model_type: str) -> type[Options] | None:
    """The keys of the configuration as options, with those types and defaults that are plain; None where they cannot be
    read."""
    library = _library()
    if library is None or not model_type:
        return None
    fields = _declared(library / "models", model_type)
    if fields is None:
        types = [path.parent.name for path in (library / "models").glob("*/configuration_*.py")]
        if any(is_slip(model_type, other) for other in types):
            raise RecipeError(f"no model type {model_type!r}", fix=did_you_mean(model_type, types))
        return None
    common = _fields(_class(library / "configuration_utils.py", lambda found: found.name == BASE))
    return create_model(f"{model_type} architecture", __base__=Options, **{**common, **fields})


def _library() -> Path | None:
    spec = importlib.util.find_spec("transformers")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _declared(models: Path, model_type: str) -> dict[str, Any] | None:
    """The keys that the type's own class declares; None when there is no class of this type, or it derives from
    another than the base alone."""
    for file in sorted((models / model_type.replace("-", "_")).glob("configuration_*.py")):
        found = _class(file, lambda each: _constant(each, "model_type") == model_type)
        if found is not None and BASE in [ast.unparse(base) for base in found.bases]:
            renamed = _constant(found, "attribute_map")
            others = renamed if isinstance(renamed, dict) else ()
            return {**dict.fromkeys(others, (Any, None)), **_fields(found)}
    return None


def _class(file: Path, wanted: Any) -> ast.ClassDef | None:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    return next((node for node in tree.body if isinstance(node, ast.ClassDef) and wanted(node)), None)


def _constant(found: ast.ClassDef, name: str) -> Any:
    """The value of a class variable that is written out, None when it is not."""
    for node in found.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(target or ast.Pass()) == name and node.value:
            return _constant_of(node.value)
    return None


def _constant_of(value: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(value) if value is not None else None
    except ValueError:
        return None


def _fields(found: ast.ClassDef | None) -> dict[str, Any]:
    """Its annotated attributes, each with its type and default; None for a default that is not written out."""
    declared = [node for node in found.body if isinstance(node, ast.AnnAssign)] if found is not None else []
    return {
        node.target.id: (_type(node.annotation), _constant_of(node.value))
        for node in declared
        if isinstance(node.target, ast.Name) and not node.target.id.startswith("_")
        if not ast.unparse(node.annotation).startswith("ClassVar")
    }


def _type(annotation: ast.expr) -> Any:
    """The plain types that it allows, and None; anything where one of them is not plain."""
    arms = list(_arms(annotation))
    if any(arm not in SIMPLE for arm in arms):
        return Any
    kinds: Any = None
    for arm in arms:
        kinds = SIMPLE[arm] | kinds if SIMPLE[arm] is not None else kinds
    return kinds


def _arms(annotation: ast.expr) -> Iterator[str]:
    if isinstance(annotation, ast.BinOp):
        yield from (*_arms(annotation.left), *_arms(annotation.right))
    else:
        yield ast.unparse(annotation)
