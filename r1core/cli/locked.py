"""`--locked`: the run's plugins must be those of its plugins.lock, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.recipe.difference import changes
from r1core.recipe.plan import Plan


def check_locked(plan: Plan, lock: Path) -> None:
    """Raise RecipeError (exit 2) with every difference between `lock` and the plan's plugins."""
    if not lock.is_file():
        raise RecipeError("there is no plugins.lock to hold to", where=str(lock), fix="run once without --locked")
    try:
        locked = json.loads(lock.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecipeError(f"not JSON: {error}", where=str(lock), fix="run once without --locked") from error
    differences = list(_differences(locked, plan.lock))
    if differences:
        fix = "install what the lock says, or run without --locked"
        raise RecipeError(
            "the plugins are not those of the lock:\n  " + "\n  ".join(differences), where=str(lock), fix=fix
        )


def _differences(locked: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if locked.get("r1core") != now["r1core"]:
        yield f"r1core: locked {locked.get('r1core')}, installed {now['r1core']}"
    before = {**locked.get("components", {}), **_observers(locked)}
    for name, entry in {**now["components"], **_observers(now)}.items():
        old = before.get(name)
        if old is None:
            yield f"{name}: not in the lock"
        elif old != entry:
            changed = ", ".join(f"{key} {old.get(key)} -> {entry[key]}" for key in entry if old.get(key) != entry[key])
            yield f"{name}: {changed}"
    environments = locked.get("environments", {})
    for name, found in now["environments"].items():
        yield from changes(environments.get(name, []), found, f"environment of {name}")


def _observers(lock: Mapping[str, Any]) -> dict[str, Any]:
    return {f"observer {name}": entry for name, entry in lock.get("observers", {}).items()}
