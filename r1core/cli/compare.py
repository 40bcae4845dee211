"""`r1 compare DIR [DIR ...]`: the variants of a run, or several runs, by score, gain, difference and cost.

    r1 compare runs/advantages
    r1 compare runs/advantages --metric greedy --reach 0.5 --base rloo
    r1 compare runs/zero runs/zero-rloo
    r1 compare runs/distill-vs-rl --across --base rl_mid

Intervals hold 95 %: Student's t over seeds and problems, which are crossed (comparison/statistics.py); with
one seed over problems alone. Differences and gains are paired: the same problems, the same seed. What
differs in more than the matrix, or in more than one thing between runs, is refused with its keys (exit 2).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from r1core.cli.arms_view import arm_lines
from r1core.cli.columns import columns
from r1core.comparison.arms import arms
from r1core.comparison.costs import LAST, WINDOW
from r1core.comparison.finished import FinishedRun
from r1core.comparison.statistics import Estimate
from r1core.comparison.tables import Row, Table, tables
from r1core.errors import RecipeError
from r1core.untrusted import untrusted

NAMED = 14
"""Characters of the base's name in a heading."""
USE = ".use"
MOST_SHOWN = 4
"""Differences to the base that are listed of one variant."""


@click.command("compare")
@click.argument("runs", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", metavar="SET", help="The set of the evaluation to compare by: the first, often pass@1.")
@click.option("--reach", type=float, metavar="SCORE", help="Also the tokens until training reached this score.")
@click.option("--base", metavar="VARIANT", help="What the others are compared with: the first.")
@click.option("--differing", "differ", metavar="PATH", multiple=True, help="What separate runs are meant to differ in.")
@click.option("--across", is_flag=True, help="The models of one run side by side, each over its seeds.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def command(
    runs: tuple[Path, ...],
    metric: str | None,
    reach: float | None,
    base: str | None,
    differ: tuple[str, ...],
    across: bool,
    as_json: bool,
) -> None:
    """Variants of a run, or several runs: scores with intervals, paired differences, costs."""
    found = [FinishedRun(path) for path in dict.fromkeys(runs)]
    if across:
        _across(
            found, metric=metric, base=base, as_json=as_json, unread=[*differ, *([] if reach is None else ["reach"])]
        )
        return
    made = tables(found, metric=metric, reach=reach, base=base, differ=differ)
    if as_json:
        click.echo(json.dumps([_plain(dataclasses.asdict(table)) for table in made], indent=2, ensure_ascii=False))
        return
    click.echo(untrusted("\n\n".join("\n".join(comparison_lines(table, reach)) for table in made)))
    for run in found:
        if run.unfinished:
            click.echo(untrusted(f"\nnot finished in {run.path}: {', '.join(run.unfinished)}"))


def _across(
    runs: Sequence[FinishedRun], *, metric: str | None, base: str | None, as_json: bool, unread: Sequence[str]
) -> None:
    if len(runs) > 1 or unread:
        what = "two runs" if len(runs) > 1 else "--reach or --differing"
        raise RecipeError(f"--across is about the models of one run, and got {what}", fix="leave the one or the other")
    table = arms(runs[0], metric=metric, base=base)
    if as_json:
        click.echo(json.dumps(_plain(dataclasses.asdict(table)), indent=2, ensure_ascii=False))
    else:
        click.echo(untrusted("\n".join(arm_lines(table))))


def _plain(value: object) -> object:
    """JSON has no NaN: what is unknown is null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def comparison_lines(table: Table, reach: float | None) -> Iterator[str]:
    """A table with its head and foot, at most 100 columns wide for names of usual length."""
    base = table.rows[0]
    seeds = f"{table.seeds} seeds" if table.seeds > 1 else "1 seed"
    over = f"on {table.problems} problems" if table.problems > 1 else "as reported, without answers to pair"
    yield f"{table.name}: {table.metric} {over}, {seeds}"
    yield ""
    axes = list(base.where)
    rows = [_head(table, axes, reach), *(_cells(row, table, reach) for row in table.rows)]
    yield from columns([[cell for cell in row if cell is not None] for row in _without_empty(rows)], left=len(axes))
    yield ""
    yield from _foot(table, reach)
    yield from _differences(table)
    yield from (f"  note: {note}" for note in table.notes)


def _head(table: Table, axes: Sequence[str], reach: float | None) -> list[str]:
    tokens = [] if reach is None else [f"to {reach:g}"]
    label = table.rows[0].label
    against = f"vs {label if len(label) <= NAMED else 'first'}"
    return [*axes, table.metric, "gain", against, *tokens, "tokens", "entropy", "silent", "wall s", "cpu s"]


def _cells(row: Row, table: Table, reach: float | None) -> list[str]:
    against = "" if row is table.rows[0] else _difference(row.against)
    tokens = [] if reach is None else [_reached(row)]
    costs = [_count(row.tokens), _number(row.entropy), _share(row.silent), _seconds(row.wall_s), _seconds(row.cpu_s)]
    return [*row.where.values(), _score(row.score), _difference(row.gain), against, *tokens, *costs]


def _without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The table less the columns that say nothing."""
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    return [[row[place] for place in kept] for row in rows]


def _foot(table: Table, reach: float | None) -> Iterator[str]:
    over = "over seeds and problems" if table.seeds > 1 else "over problems; another seed may differ by more"
    yield f"  ±: 95 %, Student's t {over}; differences are paired by problem and seed; * excludes 0"
    if any(each is not None and math.isnan(each.half) for row in table.rows for each in (row.gain, row.against)):
        yield "  without ±: there is no spread to tell it from"
    if table.start:
        yield f"  gain: over {table.start}, the model that training started from"
    yield f"  entropy: nats a token, last {LAST:.0%} of training; silent: groups whose answers are all worth the same"
    if reach is not None and table.watched:
        mean = "" if table.watched.startswith("eval/") else f", mean of {WINDOW} rollout batches"
        yield f"  to {reach:g}: tokens sampled until {table.watched} reached it{mean}"


def _differences(table: Table) -> Iterator[str]:
    """What each variant was made from otherwise than the base."""
    if not any(row.differences for row in table.rows):
        return
    yield ""
    for row in table.rows[1:]:
        told = list(_told(row.differences))
        shown = told[:MOST_SHOWN]
        more = [f"and {len(told) - MOST_SHOWN} more"] if len(told) > MOST_SHOWN else []
        for place, line in enumerate([*shown, *more]):
            yield f"  {row.label if not place else '':<{max(len(r.label) for r in table.rows)}}  {line}"


def _told(differences: Sequence[str]) -> Iterator[str]:
    """Where another component is chosen its options are others, too: the name says enough."""
    chosen = [line.partition(f"{USE}: ")[0] + "." for line in differences if f"{USE}: " in line]
    for line in differences:
        above = next((path for path in chosen if line.startswith(path)), None)
        if above is None or line.startswith(f"{above.removesuffix('.')}{USE}: "):
            yield line


# --- cells -----------------------------------------------------------------------------------------


def _score(found: Estimate) -> str:
    return _number(found.mean) if math.isnan(found.half) else f"{found.mean:.2f} ±{found.half:.2f}"


def _difference(found: Estimate | None) -> str:
    if found is None or math.isnan(found.mean):
        return ""
    interval = "" if math.isnan(found.half) else f" ±{found.half:.2f}{'*' if found.is_clear else ' '}"
    return f"{found.mean:+.2f}{interval}"


def _reached(row: Row) -> str:
    if row.tokens_to_reach is None:
        return "never"
    some = f" ({row.reached} of {len(row.models)})" if row.reached < len(row.models) else ""
    return f"{_count(row.tokens_to_reach)}{some}"


def _count(value: float) -> str:
    if not value or math.isnan(value):
        return ""
    return f"{value / 1e6:.1f}M" if value >= 1e6 else f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:.0f}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0%}"


def _seconds(value: float) -> str:
    return f"{value:.0f}"
