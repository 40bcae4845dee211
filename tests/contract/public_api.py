"""What plugins may rely on, as text: every public name with its signature, one a line, for public_api.txt.

    python tests/contract/public_api.py        # writes public_api.txt, after a change that CONTRIBUTING allows

Public are `r1core.__all__`, the hook specs, the contracts, and the suites of `r1core.testing`.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import r1core
import r1core.testing
from r1core import components, hookspecs
from r1core.choices import Options

SNAPSHOT = Path(__file__).parent / "public_api.txt"
CONTRACT = "r1core.components."


def lines() -> Iterator[str]:
    """Every public name, sorted by the module that a plugin imports it from."""
    for name in r1core.__all__:
        yield from described(f"r1core.{name}", getattr(r1core, name))
    for contract in components.CONTRACTS.values():
        yield from described(CONTRACT + contract.__name__, contract)
    for name, hook in sorted(vars(hookspecs).items()):
        if name.startswith("r1_"):
            yield f"r1core.hookspecs.{name}{signature(hook)}"
    for name in r1core.testing.__all__:
        yield from described(f"r1core.testing.{name}", getattr(r1core.testing, name))


def described(name: str, found: Any) -> Iterator[str]:
    """A function with its signature, or a class with what it has of its own."""
    if not isinstance(found, type):
        yield f"{name}{signature(found)}" if inspect.isfunction(found) else f"{name}"
        return
    bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
    yield f"class {name}({bases})"
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            yield f"{name}.{field.name}: {field.type}{' = ...' if default else ''}"
    for attribute, annotation in inspect.get_annotations(found).items():
        if not attribute.startswith("_") and not dataclasses.is_dataclass(found):
            value = f" = {getattr(found, attribute)!r}" if hasattr(found, attribute) else ""
            yield f"{name}.{attribute}: {annotation}{value}"
    for attribute, member in sorted(vars(found).items()):
        if not attribute.startswith("_") or attribute == "__call__":
            yield from _member(f"{name}.{attribute}", member)


def _member(name: str, member: Any) -> Iterator[str]:
    if isinstance(member, property):
        yield f"{name} -> {inspect.get_annotations(member.fget or (lambda: None)).get('return', '?')}"
    elif isinstance(member, classmethod | staticmethod):
        yield f"{name}{signature(member.__func__)}"
    elif inspect.isfunction(member):
        yield f"{name}{signature(member)}"
    elif isinstance(member, type) and issubclass(member, Options):
        for option, field in member.model_fields.items():
            yield f"{name}.{option}{' (required)' if field.is_required() else ''}"


def signature(function: Any) -> str:
    """Parameters with their types as written, and what is returned."""
    return re.sub(r"<function (\w+) at \w+>", r"\1", str(inspect.signature(function)).replace("'", ""))


def main() -> None:
    """Write the snapshot."""
    importlib.invalidate_caches()
    SNAPSHOT.write_text("\n".join(lines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
