"""`r1 new-plugin NAME --kind KIND`: a package ready for the index, around a small component that works.

    r1 new-plugin chem/smiles --kind reward       # r1core-chem/: one class, its cases, its tests, a recipe

It writes all of it or nothing, and never over what is there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from r1core.components import CONTRACTS
from r1core.errors import RecipeError, SetupError
from r1core.untrusted import untrusted

WHERE = "r1 new-plugin"


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(sorted(CONTRACTS)), required=True, help="What the component is.")
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where the package's folder is made: the current one.",
)
def command(name: str, kind: str, into: Path) -> None:
    """Write the package of a new plugin.

    NAME is chem, or chem/smiles: the plugin, and the component in it.
    """
    from r1core.cli.plugin_names import names_of
    from r1core.cli.scaffold import scaffold
    from r1core.plugins import PluginHost

    built_in = {provider.name for provider in PluginHost.discover().providers if provider.builtin}
    names = names_of(name, kind, built_in=built_in)
    folder = into / names.distribution
    with tempfile.TemporaryDirectory() as workplace:
        files = scaffold(names, Path(workplace))
    _write(folder, files)
    for place in files:
        click.echo(untrusted(f"wrote {folder / place}"))
    recipe = next(place for place in files if place.startswith("recipes/"))
    click.echo(untrusted(f"\n{kind} {names.name}: change the line below CHANGE THIS in {names.module}/__init__.py"))
    click.echo("its license is set to Apache-2.0 in pyproject.toml: choose yours, and put its text into LICENSE")
    click.echo("\nnext:")
    for line in _next(folder, recipe):
        click.echo(untrusted(f"  {line}"))


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """The whole folder at once: it is filled under another name, and gets its own when nothing can fail any more."""
    if os.path.lexists(folder):
        raise RecipeError(
            f"{str(folder)!r} is there already; nothing was written",
            where=WHERE,
            fix="choose another name, or another place with --into FOLDER",
        )
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _fill(unfinished, files)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise SetupError(
            f"nothing was written: {error.strerror or error}",
            where=f"{WHERE}, {folder}",
            fix="make room, or --into FOLDER",
        ) from error


def _fill(folder: Path, files: Mapping[str, str]) -> None:
    for place, text in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    folder.chmod(0o755)


def _next(folder: Path, recipe: str) -> list[str]:
    """Three commands that can be pasted as they stand, in the environment that this one runs in."""
    python, r1 = _command("python"), _command("r1")
    return [
        f"cd {shlex.quote(str(folder))} && {python} -m pip install -e '.[dev]'",
        f"{python} -m pytest",
        f"{r1} recipe {shlex.quote(recipe)}",
    ]


def _command(name: str) -> str:
    """`name` where the shell finds it in this environment, else its full path."""
    own = Path(sys.executable).parent / name
    found = shutil.which(name)
    is_ours = found is not None and Path(found).parent == own.parent
    return name if is_ours or not own.exists() else shlex.quote(str(own))
