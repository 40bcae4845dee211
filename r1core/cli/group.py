"""The group `r1`: every command by name, imported only when it is called.

Core commands stand in a table here with their one line of help. A plugin's command is an entry
point `command-<name>`; its line of help is the first line of its module's docstring, read from the
source file, so that listing commands imports nobody's code.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import click

from r1core.suggest import did_you_mean
from r1core.untrusted import untrusted

CORE = {
    "ablate": "Run the variants of a recipe with a `matrix`, and compare them.",
    "advantages": "Several advantage estimators on the same stored answers.",
    "compare": "Variants of a run, or several runs: scores with intervals, paired differences, costs.",
    "check": "Is a plugin's package ready to be published?",
    "doctor": "What this machine has, and what is missing.",
    "explain": "Everything that goes by a name: options, defaults, where it comes from.",
    "new-plugin": "Write the package of a new plugin.",
    "plugins": "The plugins that are installed, and whether they work.",
    "recipe": "Run a recipe, or print its plan.",
    "schema": "What a recipe may say, as JSON Schema for editors.",
    "verify": "Check a reward against answers whose worth is known.",
}
PREFIX = "command-"


class Commands(click.Group):
    """Finds a command when it is called, without importing the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Core commands and installed plugins' commands, by name."""
        return sorted({*CORE, *(_name(point) for point in _entry_points())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None when nobody provides it."""
        if cmd_name in CORE:
            command: click.Command = importlib.import_module(f"r1core.cli.{cmd_name.replace('-', '_')}").command
            return command
        if cmd_name not in self.list_commands(ctx):
            return None
        from r1core.plugins import PluginHost

        return PluginHost.discover().command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion for a misspelled name."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}; {did_you_mean(args[0], known, otherwise='commands: ')}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table and the sources alone."""
        lines = {**{_name(point): _summary(point) for point in _entry_points()}, **CORE}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="r1core", message="r1core %(version)s")
def r1() -> None:
    """Train a reasoner as DeepSeek-R1 was trained, and distil it.

    Start with: r1 recipe recipes/deepseek_r1.yaml
    """


def _entry_points() -> Iterator[importlib.metadata.EntryPoint]:
    points = importlib.metadata.entry_points(group="r1core")
    return (point for point in points if point.name.startswith(PREFIX))


def _name(point: importlib.metadata.EntryPoint) -> str:
    return untrusted(point.name.removeprefix(PREFIX))


def _summary(point: importlib.metadata.EntryPoint) -> str:
    """The first line of the module's docstring, else who provides the command."""
    source = _source(point.module)
    try:
        docstring = ast.get_docstring(ast.parse(source.read_bytes())) if source else None
    except (OSError, SyntaxError, ValueError):
        docstring = None
    if docstring:
        return untrusted(docstring.splitlines()[0])
    return untrusted(f"From {point.dist.name}.") if point.dist else ""


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it or its parents."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    bases = [Path(place, *rest) for place in spec.submodule_search_locations or ()]
    candidates = [file for base in bases for file in (base / "__init__.py", base.with_suffix(".py"))]
    return next((file for file in candidates if file.is_file()), None)
