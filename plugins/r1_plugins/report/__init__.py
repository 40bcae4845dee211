"""A run as one page: its pipeline, curves, models, data, samples and costs.

    r1 report runs/deepseek-r1          # writes runs/deepseek-r1/report.html and report.png

The page is one file that loads nothing: it can be mailed, archived and opened offline. Every run writes one when it
ends (observer.py); the command makes it anew, of a run that is still going, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from r1core.hookspecs import hookimpl
from r1core.untrusted import untrusted


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write a run's report: one HTML page and the main figure.

    RUN is the folder of a run, such as runs/deepseek-r1; it may be at work, stopped or finished.
    """
    from r1_plugins.report.write import write

    written = write(run)
    if written.facts.outcome != "finished":
        click.echo(f"the run is {written.facts.outcome}: the report says what is there")
    for line in (*written.facts.said, *written.lacking):
        click.echo(untrusted(line))
    for file in written.files:
        click.echo(f"wrote {untrusted(str(file))} ({file.stat().st_size / 1e6:.2f} MB)")


@hookimpl
def r1_commands() -> Iterable[click.Command]:
    """The command `report`."""
    return [report]
