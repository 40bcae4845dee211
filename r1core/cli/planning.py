"""What `r1 recipe` and `r1 ablate` begin with: the plan of a recipe, and what has to be said before it runs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import find_recipe, resolve
from r1core.untrusted import untrusted


def plan_of(file: str, profile: str | None, sets: Sequence[str], deny: Sequence[str] = ()) -> tuple[Plan, PluginHost]:
    """The plan of a recipe and its plugins; warnings go to stderr."""
    host = PluginHost.discover(deny=deny)
    for warning in host.warnings:
        click.echo(untrusted(warning), err=True)
    return make_plan(resolve(find_recipe(file), profile, sets), host), host


def say_deprecations(host: PluginHost) -> None:
    """Deprecated hooks of the plugins that the recipe uses."""
    for line in host.deprecations():
        click.echo(untrusted(line), err=True)


def say_local_code(plan: Plan) -> None:
    """What runs here beside r1core and its plugins: code that no distribution brought, other interpreters."""
    for component in plan.components:
        if component.local:
            click.echo(untrusted(f"runs local code: {component.name} (sha256 {component.source_hash[:12]})"), err=True)
    places = [(each.loaded.name, each.environment.interpreter) for stage in plan.stages for each in stage.elsewhere]
    for name, interpreter in dict.fromkeys(places):
        click.echo(untrusted(f"runs {name} with {interpreter}"), err=True)
