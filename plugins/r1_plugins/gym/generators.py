"""What is known of each generator of reasoning-gym, and how one is made.

The library is imported only to make one. generators.json holds for the one version that was examined, by name:

    unfit           why it is refused
    gold            the key of an entry's metadata with an answer, where its `answer` is empty
    several         several answers are right, so that another problem's answer may be, too
    as_many_words   its scorer reads on past a right answer: one among several would be paid
    tuples          its scorer wants the tuples back that JSON turned into lists
    evaluates       what its scorer makes Python, or sympy, of the answer (answers.py)
    evaluates_own   the same for keys of the entry's metadata
"""

from __future__ import annotations

import dataclasses
import functools
import json
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.suggest import closest

TABLE = Path(__file__).with_name("generators.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generator:
    """One row of the table."""

    category: str
    unfit: str = ""
    gold: str = ""
    several: bool = False
    as_many_words: bool = False
    tuples: bool = False
    evaluates: str = ""
    evaluates_own: Mapping[str, str] = dataclasses.field(default_factory=dict)


@functools.cache
def generators() -> Mapping[str, Generator]:
    """All of them, by name, sorted."""
    return {name: Generator(**row) for name, row in json.loads(TABLE.read_text())["generators"].items()}


@functools.cache
def examined() -> str:
    """The version of reasoning-gym that the table holds for."""
    found: str = json.loads(TABLE.read_text())["version"]
    return found


def lacking() -> list[str]:
    """What is missing to run any of them."""
    add = "pip install 'r1core[gym]'"
    try:
        installed = version("reasoning-gym")
    except PackageNotFoundError:
        return [f"reasoning-gym is not installed: {add}"]
    if installed != examined():
        return [f"reasoning-gym {installed} has not been examined, {examined()} has: {add}"]
    return []


def unknown(name: str) -> str:
    """The sentence for a name that is none of theirs."""
    near = closest(name, generators())
    hint = f"; did you mean {near!r}?" if near else "; `r1 explain reasoning_gym` says where they are listed"
    return f"there is no generator {name!r}{hint}"


def make(task: str, config: Mapping[str, Any], *, seed: int, size: int) -> Any:
    """The library's dataset. Raises RecipeError where it does not take the config."""
    from reasoning_gym.factory import DATASETS, create_dataset

    fields = {field.name for field in dataclasses.fields(DATASETS[task][1])} - {"seed", "size"}
    where = f"source reasoning_gym, config.{task}"
    for key in config:
        if key not in fields:
            near = closest(key, fields)
            hint = f"did you mean {near!r}?" if near else f"options: {', '.join(sorted(fields))}"
            raise RecipeError(f"the generator has no option {key!r}", where=where, fix=hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # some leave their data files open
            return create_dataset(task, seed=seed, size=size, **config)
    except (AssertionError, TypeError, ValueError) as error:
        raise RecipeError(
            f"the generator refuses its options: {error or type(error).__name__}", where=where, fix=f"change {config}"
        ) from error
