"""`r1 explain NAME`: every component, preset, plugin and key of a recipe of that name, with all that may be set.

It prints what the code declares (docstring, Config, class variables), so it cannot go stale.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

from r1core.cli.explain_keys import key_pages, recipe_keys
from r1core.cli.explain_options import STEP, WIDTH, option_lines
from r1core.cli.wording import value_text
from r1core.components import CONTRACTS, Component, Reward, Trainer
from r1core.errors import RecipeError
from r1core.plugins import Loaded, PluginHost, PluginRow
from r1core.suggest import did_you_mean
from r1core.untrusted import untrusted


@click.command("explain")
@click.argument("name")
def command(name: str) -> None:
    """Everything that goes by a name: options, defaults, where it comes from.

    A name is a component's, a preset's, a plugin's, or a key of recipes and stages.
    """
    host = PluginHost.discover()
    everything = host.components()
    found = ["\n".join(_component(loaded)) for loaded in host.matches(name)]
    found += ["\n".join(_preset(loaded, name)) for loaded in everything if name in _presets(loaded.cls)]
    found += key_pages(name)
    if not found:
        found = [_plugin(row) for row in host.report() if row.name.removeprefix("command-") == name]
    if not found:
        known = {n for loaded in everything for n in (loaded.name, *_presets(loaded.cls))} | recipe_keys()
        raise RecipeError(f"nothing is called {name!r}", where="r1 explain", fix=did_you_mean(name, known))
    click.echo(untrusted("\n\n".join(found)))


def _component(loaded: Loaded) -> Iterator[str]:
    yield f"{loaded.kind} {loaded.name}  ({loaded.distribution} {loaded.version})"
    yield textwrap.indent(inspect.getdoc(loaded.cls) or "no docstring", "  ")
    if issubclass(loaded.cls, Reward) and loaded.cls.gold_form:
        text = f"a problem's reference (its gold): {loaded.cls.gold_form}"
        yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    for attribute, value in _declared(loaded):
        yield f"  {attribute}: {value_text(value)}"
    if _presets(loaded.cls):
        yield f"  presets: {', '.join(_presets(loaded.cls))}"
    missing = _missing(loaded.cls)
    if missing:
        yield f"  missing here: {'; '.join(missing)}"
    yield f"  file: {loaded.file}"
    yield "  options:" if loaded.cls.Config.model_fields else "  options: none"
    yield from option_lines(loaded.cls.Config, STEP)


def _preset(loaded: Loaded, name: str) -> Iterator[str]:
    yield f"preset {name} of {loaded.kind} {loaded.name}  ({loaded.distribution} {loaded.version})"
    if source := _source(loaded.cls, name):
        yield from textwrap.wrap(f"after {source}", WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield f"  {{use: {loaded.name}, preset: {name}}} sets"
    for key, value in _presets(loaded.cls)[name].items():
        yield f"    {key}: {value_text(value)}"


def _plugin(row: PluginRow) -> str:
    brings = ", ".join(row.components) or "no components (an observer)"
    detail = f"\n  {row.detail}" if row.detail else ""
    return f"plugin {row.name}  ({row.distribution} {row.version})\n  {row.status}; brings {brings}{detail}"


def _presets(cls: type[Component]) -> dict[str, Any]:
    return dict(cls.presets) if issubclass(cls, Trainer) else {}


def _source(cls: type[Component], preset: str) -> str:
    return cls.preset_sources.get(preset, "") if issubclass(cls, Trainer) else ""


def _declared(loaded: Loaded) -> Iterator[tuple[str, Any]]:
    """The class variables that the contract asks for, and the extra that it needs."""
    for attribute in CONTRACTS[loaded.kind].__annotations__:
        if attribute not in ("presets", "preset_sources", "gold_form"):
            yield attribute, getattr(loaded.cls, attribute)
    if loaded.cls.extra:
        yield "needs", f"r1core[{loaded.cls.extra}]"


def _missing(cls: type[Component]) -> Sequence[str]:
    try:
        return cls.check()
    except Exception as error:  # a plugin's own code: its failure is a finding, not ours
        return [f"its check() fails: {type(error).__name__}: {error}"]
