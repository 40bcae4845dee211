"""`r1 schema`: the JSON Schema of recipes and profiles, with the options of every installed plugin.

    r1 schema --output recipes/schema.json          # where the first line of each recipe points
    R1_PLUGINS= r1 schema --output schema.json      # built-in components alone

An editor with a YAML language server then completes names and options and underlines slips.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from r1core.choices import Use
from r1core.errors import RecipeError, SetupError
from r1core.plugins import PluginHost
from r1core.recipe.json_schema import recipe_schema
from r1core.untrusted import untrusted

FINE = ("ok", "disabled")
BY_THEMSELVES = ("command-", "observer-")
"""What no recipe lists: commands, and observers of every run."""


@click.command("schema")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there.")
def command(output: Path | None) -> None:
    """What a recipe may say, as JSON Schema for editors."""
    host = PluginHost.discover()
    for warning in host.warnings:
        _warn(warning)
    text = schema_text(host)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(
            f"cannot write {str(output)!r}: {error.strerror}", fix="give a file in a folder of yours"
        ) from error
    click.echo(f"wrote {output}")


def schema_text(host: PluginHost) -> str:
    """The schema with all that the host has; plugins that do not work are left out, with a warning on stderr."""
    rows = host.report()
    for row in rows:
        if row.status not in FINE:
            _warn(f"{row.name} ({row.distribution} {row.version}) {row.status}: left out: {row.detail}")
    plugins = [row.name for row in rows if row.status == "ok" and not row.name.startswith(BY_THEMSELVES)]
    observers = {name: host.observer_options(name) for name in plugins if _observes(host, name)}
    schema = recipe_schema(host.components(), observers, _warn)
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _observes(host: PluginHost, name: str) -> bool:
    try:
        host.observers([Use(use=name)], _warn)
    except RecipeError:
        return False
    return True


def _warn(line: str) -> None:
    click.echo(untrusted(line), err=True)
