"""The reward that `r1 verify` asks: name, options (`-o`) and interpreter (`--python`), checked as in a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from r1core.cases import spec_of
from r1core.choices import Ref, Use
from r1core.errors import Diagnostic, RecipeError, SetupError
from r1core.plugins import Loaded, PluginHost
from r1core.recipe.annotations import Path as KeyPath
from r1core.recipe.annotations import Rewriter
from r1core.recipe.elsewhere import Elsewhere
from r1core.recipe.environment import Environment
from r1core.recipe.findings import findings, refused
from r1core.recipe.loader import Document, parse_value
from r1core.recipe.nodes import Mark, Node
from r1core.scoring import RewardSpec
from r1core.scoring.python import Interpreter, look
from r1core.untrusted import untrusted

ORIGIN = "-o"


@dataclass(frozen=True, kw_only=True)
class AskedReward:
    """A reward that is there and lacks nothing, with all its options."""

    loaded: Loaded
    options: dict[str, Any]
    interpreter: Interpreter | None

    @property
    def spec(self) -> RewardSpec:
        """As the only reward of an imaginary stage."""
        return spec_of(self.loaded, self.options, self.interpreter)


def asked_reward(name: str, options: Sequence[str], python: str | None) -> AskedReward:
    """Find it, check its options and what it lacks. Raises RecipeError or SetupError."""
    host = PluginHost.discover()
    for warning in host.warnings:
        click.echo(untrusted(warning), err=True)
    reward = host.load("reward", name, Path.cwd())
    chosen = _options(reward, options)
    interpreter = None if python is None else _interpreter(reward, python)
    lacking = reward.lacks() if interpreter is None else []
    if lacking:
        raise SetupError("; ".join(lacking), where=f"reward {name}", fix="see: r1 doctor")
    return AskedReward(loaded=reward, options=chosen, interpreter=interpreter)


def _interpreter(reward: Loaded, python: str) -> Interpreter:
    """That of an environment, which has all that the reward needs."""
    elsewhere = Elsewhere(loaded=reward, environment=Environment(Path(python).absolute()))
    message, hint = elsewhere.refusal()
    if message:
        raise RecipeError(message, where="--python", fix=hint.replace("remove `python:`", "leave --python out"))
    lacking = elsewhere.lacks() or look([elsewhere]).get(reward.name, [])
    if lacking:
        raise SetupError("\n".join(lacking), where=f"reward {reward.name}")
    return Interpreter.of(elsewhere)


def _options(reward: Loaded, given: Sequence[str]) -> dict[str, Any]:
    """The reward's options with its defaults, checked as in a recipe. Raises RecipeError with all findings."""
    document = Document(Node(dict(_given(given)), Mark(ORIGIN)))
    cls, owner = reward.cls, f"{reward.name} ({reward.distribution} {reward.version})"
    try:
        config = cls.Config.model_validate(document.data)
    except ValidationError as error:
        raise refused(findings(error, cls.Config, document, owner=owner)) from error
    return Rewriter(use=_chosen, ref=_artifact).model(config)


def _given(options: Sequence[str]) -> Iterator[tuple[str, Node]]:
    seen = set()
    for text in options:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"{ORIGIN} {text!r} is not key=value", fix=f"such as {ORIGIN} tolerance=1e-6")
        if key in seen:
            raise RecipeError(f"option {key!r} is given twice", where=ORIGIN, fix="keep one of them")
        seen.add(key)
        yield key, parse_value(value, ORIGIN)


def _chosen(use: Use, kind: str, path: KeyPath) -> Any:
    return use.model_dump(mode="json")


def _artifact(folder: str, ref: Ref, path: KeyPath) -> str:
    """In a recipe it is a stage's id; here there are no stages, so it is the folder of what one made."""
    if Path(folder).is_dir():
        return str(Path(folder).resolve())
    key = ".".join(map(str, path))
    finding = Diagnostic(
        message=f"there is no folder {folder!r}: without a recipe, {key} is the folder of a stage's {ref.artifact}",
        path=key,
        file=ORIGIN,
        hint=f"such as {ORIGIN} {key}=runs/<run>/stages/<stage>/{ref.artifact}",
    )
    raise RecipeError.of([finding])
