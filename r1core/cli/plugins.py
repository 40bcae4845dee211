"""`r1 plugins`: one line for each installed plugin, with what it brings and whether it works.

It imports all of them, one by one under guard, so it also says who is broken and how long each takes.
`--strict` exits 4 when one is broken, incompatible or in conflict: the check for a deployment.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import click

from r1core.plugin_host.discovery import without_entry_point
from r1core.plugins import PluginHost, PluginRow
from r1core.untrusted import untrusted

BROKEN_EXIT = 4
FINE = ("ok", "disabled")
HEADINGS = ("plugin", "distribution", "status", "import", "brings")


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--strict", is_flag=True, help="Exit 4 when a plugin does not work.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, strict: bool) -> None:
    """The plugins that are installed, and whether they work."""
    host = PluginHost.discover()
    rows = host.report()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        _table([HEADINGS, *(_cells(row) for row in rows)])
        for row in rows:
            if row.detail:
                click.echo(untrusted(f"{row.name} ({row.distribution} {row.version}) {row.status}: {row.detail}"))
    for warning in (*host.warnings, *without_entry_point()):
        click.echo(untrusted(warning), err=True)
    if strict and any(row.status not in FINE for row in rows):
        ctx.exit(BROKEN_EXIT)


def _cells(row: PluginRow) -> tuple[str, ...]:
    pinned = f"{row.distribution} {row.version}"
    return (row.name, pinned, row.status, f"{row.ms:.0f} ms" if row.ms else "", ", ".join(row.components))


def _table(rows: Sequence[Sequence[str]]) -> None:
    clean = [[untrusted(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    for row in clean:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
