"""Look at the answers of a review stage in the browser: accept, edit or reject them, with the keyboard.

    r1 review runs/deepseek-r1                       # a run, a stage's folder, or its review.jsonl
    r1 review answers/review.jsonl --output reviews/mine.jsonl

Every decision is on disk before the page says so, in the file that the recipe's review stage reads.
Stop with Ctrl-C, go on with the same command. An answer that nobody has decided about passes unedited.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from r1core.hookspecs import hookimpl
from r1core.untrusted import untrusted


@click.command("review")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file of decisions.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port on this machine; the next free one by default.")
@click.option("--no-browser", is_flag=True, help="Print the address, open nothing.")
def review(data: Path, output: Path | None, port: int | None, no_browser: bool) -> None:
    """Look at the answers of a review stage, and accept, edit or reject them.

    DATA is a run with one review stage, the stage's folder, or the review.jsonl that it laid out.
    """
    from r1_plugins.review.decisions import Decisions
    from r1_plugins.review.exported import Exported, find_export, recipe_path
    from r1_plugins.review.server import serve

    export = find_export(data)
    answers = Exported.read(export)
    target = output or recipe_path(export)
    with Decisions.open(answers, target) as decisions:
        serve(decisions, port=port, browser=not no_browser, say=lambda text: click.echo(untrusted(text)))
        counts = decisions.counts()
    click.echo(untrusted(f"{', '.join(f'{name} {count}' for name, count in counts.items())}: {target}"))
    if counts["undecided"]:
        click.echo("what is undecided passes unedited; the same command goes on")


@hookimpl
def r1_commands() -> Iterable[click.Command]:
    """The command `review`."""
    return [review]
