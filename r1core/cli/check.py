"""`r1 check [PATH]`: is a plugin's distribution ready to be published?

    r1 check                       # the project in this folder
    r1 check dist/*.whl            # what people will install

One line for each finding, with what to do, and exit 4; nothing is run beyond importing the plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from r1core.errors import RefusedError
from r1core.untrusted import untrusted

if TYPE_CHECKING:
    from r1core.cli.distribution import Distribution
    from r1core.cli.plugin_probe import Found, Probed


@click.command("check")
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--fix", is_flag=True, help="Write the options' tables of the README anew.")
@click.pass_context
def command(ctx: click.Context, path: Path, fix: bool) -> None:
    """Is a plugin's package ready to be published?

    PATH is the folder of the project, this one when it is not given, or a built wheel.
    """
    from r1core.cli.distribution import opened
    from r1core.cli.plugin_probe import probe

    with opened(path) as found:
        if fix and found.readme_file is None:
            raise click.UsageError("--fix writes a README: give the project's folder, which has to name one")
        probed = {name: probe(name, target, found.search) for name, target in found.entry_points.items()}
        components = [each for one in probed.values() for each in one.components]
        if fix:
            found = _fixed(found, components)
        findings = _findings(found, probed)
        fine = _fine(found, components)
    for finding in findings:
        click.echo(untrusted(finding))
    if findings:
        click.echo(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}")
        ctx.exit(RefusedError.exit_code)
    click.echo(untrusted(fine))


def _findings(found: Distribution, probed: dict[str, Probed]) -> list[str]:
    from r1core.cli import distribution_rules as rules
    from r1core.plugin_host.discovery import installed

    built_in = [provider for provider in installed() if provider.builtin]
    components = [each for one in probed.values() for each in one.components]
    code = [line for name, one in probed.items() for line in rules.code_findings(found, name, one)]
    return [
        *rules.metadata_findings(found),
        *rules.name_findings(found, built_in),
        *code,
        *rules.content_findings(found),
        *rules.readme_findings(found, components),
    ]


def _fixed(found: Distribution, components: Sequence[Found]) -> Distribution:
    """The distribution with its README's tables as they should be, which is written where that changes it."""
    from dataclasses import replace

    from r1core.cli.options_table import with_table

    readme = found.readme
    for each in components:
        readme = with_table(readme, each.kind, f"{each.plugin}/{each.name}", each.table)
    assert found.readme_file is not None, "asked before"
    if readme != found.readme:
        found.readme_file.write_text(readme, encoding="utf-8")
        click.echo(untrusted(f"wrote {found.readme_file}"))
    return replace(found, readme=readme)


def _fine(found: Distribution, components: Sequence[Found]) -> str:
    """What was looked at, when there is nothing to say."""
    from r1core.cli.distribution_rules import cases_file

    brings = ", ".join(each.called + (" with its cases" if cases_file(each) else "") for each in components)
    looked = "its name and metadata, the range of r1core, the import, docstrings and options, the README"
    inside = f", what it installs ({', '.join(sorted(found.top_level))})" if found.top_level else ""
    return f"{found.name} {found.version} is fine: {brings or 'no components'}\n  looked at {looked}{inside}"
