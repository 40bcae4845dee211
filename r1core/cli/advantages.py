"""`r1 advantages ROLLOUTS --use A --use B`: several advantage estimators on the same stored answers.

    r1 advantages runs/zero/stages/r1_zero/rollouts --use grpo --use rloo
    r1 advantages groups.jsonl --use grpo --use '{use: grpo, normalize_std: false}' --use ./mine.py:Mine

Nothing is trained: it says how large advantages are, how often a group teaches nothing, how far two
estimators agree, and shows the groups where they differ most. `-o` writes every answer's advantages.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from pydantic import ValidationError

from r1core.choices import Use
from r1core.cli.columns import columns
from r1core.cli.wording import value_text
from r1core.comparison.estimators import (
    Difference,
    Estimated,
    agreement,
    check_needs,
    correlation,
    estimated,
    largest_differences,
)
from r1core.comparison.stored import StoredGroup, read_batches
from r1core.components import AdvantageEstimator
from r1core.errors import RecipeError
from r1core.plugins import PluginHost
from r1core.recipe.findings import findings, refused
from r1core.recipe.loader import Document, parse_value
from r1core.store import write_text
from r1core.untrusted import untrusted

ORIGIN = "--use"
SHOWN = 5
"""Groups on which estimators differ most."""
KINDS = 6
"""Different answers of such a group that are shown."""
WIDTH = 100


@click.command("advantages")
@click.argument("rollouts", type=click.Path(path_type=Path))
@click.option("--use", "uses", metavar="A", multiple=True, required=True, help="An estimator, as in a recipe. Repeat.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="All advantages, as JSONL.")
def command(rollouts: Path, uses: tuple[str, ...], output: Path | None) -> None:
    """Several advantage estimators on the same stored answers.

    ROLLOUTS is the rollouts/ folder of a train stage, the data/ folder of a sample stage, or a JSONL
    file of groups: {"rewards": [1, 0, 0.5], "lengths": [12, 9, 30]}.
    """
    host = PluginHost.discover()
    for warning in host.warnings:
        click.echo(untrusted(warning), err=True)
    named = [_estimator(host, text) for text in uses]
    if twice := [name for name, count in Counter(name for name, _ in named).items() if count > 1]:
        raise RecipeError(f"{twice[0]!r} is given twice", where=ORIGIN, fix="give each estimator once")
    batches = read_batches(rollouts)
    groups = [group for batch in batches for group in batch]
    found = [estimated(name, estimator, batches) for name, estimator in named]
    click.echo("\n".join(_lines(found, groups, len(batches))))
    if output is not None:
        write_text(output, "".join(json.dumps(row) + "\n" for row in _rows(found, groups)))
        click.echo(f"\nwrote {output}")


def _estimator(host: PluginHost, text: str) -> tuple[str, AdvantageEstimator]:
    """What `--use` names, and what to call it: its name with the options that are given."""
    document = Document(parse_value(text, f"{ORIGIN} {text}"))
    try:
        use = Use.model_validate(document.data)
    except ValidationError as error:
        fix = "write --use NAME, or --use '{use: NAME, option: value}'"
        raise RecipeError(f"{ORIGIN} {text!r} names no estimator", fix=fix) from error
    loaded = host.load("advantage", use.use, Path.cwd())
    try:
        config = loaded.cls.Config.model_validate(use.options)
    except ValidationError as error:
        owner = f"{loaded.name} ({loaded.distribution} {loaded.version})"
        raise refused(findings(error, loaded.cls.Config, document, owner=owner, also=["use"])) from error
    estimator = loaded.cls(config)
    assert isinstance(estimator, AdvantageEstimator), "the host gives what was asked for"
    name = " ".join([use.use, *(f"{key}={value_text(value)}" for key, value in use.options.items())])
    check_needs(name, estimator)
    return name, estimator


def _rows(found: Sequence[Estimated], groups: Sequence[StoredGroup]) -> Iterator[dict[str, object]]:
    for number, group in enumerate(groups):
        for answer, reward in enumerate(group.signals.rewards_G):
            advantages = {each.name: float(each.groups[number][answer]) for each in found}
            yield {"id": group.id, "answer": answer, "reward": float(reward), "advantages": advantages}


# --- lines -----------------------------------------------------------------------------------------


def _lines(found: Sequence[Estimated], groups: Sequence[StoredGroup], batches: int) -> Iterator[str]:
    answers = sum(len(group.signals.rewards_G) for group in groups)
    flat = sum(_is_flat(group) for group in groups)
    yield f"{answers} answers in {len(groups)} groups, {batches} {'batch' if batches == 1 else 'batches'}; " + (
        f"in {_share(flat / len(groups))} of the groups all answers are worth the same"
    )
    if not all(group.has_lengths for group in groups):
        yield "lengths are not given: every answer counts as one token"
    yield ""
    yield from columns([("advantage", "mean", "deviation", "largest", "groups without signal"), *map(_scale, found)])
    if len(found) > 1:
        yield from _matrix(
            "answers that both push the same way", [[agreement(a, b) for b in found] for a in found], found
        )
        yield from _matrix(
            "rank correlation over all answers", [[correlation(a, b) for b in found] for a in found], found
        )
        yield from _differences(largest_differences(found, groups, SHOWN), groups)


def _is_flat(group: StoredGroup) -> bool:
    return float(group.signals.rewards_G.max() - group.signals.rewards_G.min()) == 0


def _scale(each: Estimated) -> tuple[str, ...]:
    largest = float(abs(each.all).max())
    return (
        each.name,
        f"{round(each.all.mean(), 3) + 0.0:+.3f}",
        f"{each.all.std():.3f}",
        f"{largest:.3f}",
        _share(each.silent),
    )


def _matrix(title: str, values: Sequence[Sequence[float]], found: Sequence[Estimated]) -> Iterator[str]:
    """Rows by name, columns by number, so that any count of estimators fits."""
    numbers = [str(number) for number in range(1, len(found) + 1)]
    rows = [
        [f"{number} {each.name}", *("-" if math.isnan(value) else f"{value:.2f}" for value in row)]
        for number, each, row in zip(numbers, found, values, strict=True)
    ]
    yield f"\n{title}\n"
    yield from columns([["", *numbers], *rows])


def _differences(differences: Sequence[Difference], groups: Sequence[StoredGroup]) -> Iterator[str]:
    if not differences:
        yield "\nthey are the same up to scale on every group"
        return
    yield "\nwhere two differ most, in units of each one's own deviation"
    for each in differences:
        group = groups[each.group]
        yield f"\n  {_one_line(f'{group.id}  {group.question}')}"
        yield from columns(list(_answers(each, group)), left=0, indent="    ")
        if each.alike:
            yield f"    and {each.alike} more {'group' if each.alike == 1 else 'groups'} of these rewards"


def _answers(each: Difference, group: StoredGroup) -> Iterator[tuple[str, ...]]:
    """How many answers of each worth, and what they get; the best first."""
    yield ("answers", "reward", each.one.name, each.other.name)
    advantages = [estimate.groups[each.group] / estimate.deviation for estimate in (each.one, each.other)]
    answers = zip(group.signals.rewards_G, *advantages, strict=True)
    kinds = Counter((f"{reward:.2f}", f"{a:+.2f}", f"{b:+.2f}") for reward, a, b in answers)
    ordered = sorted(kinds.items(), key=lambda kind: [-float(cell) for cell in kind[0]])
    for cells, count in ordered[:KINDS]:
        yield (str(count), *cells)
    if rest := sum(count for _, count in ordered[KINDS:]):
        yield (str(rest), "others", "", "")


def _share(value: float) -> str:
    return f"{value:.0%}"


def _one_line(text: str) -> str:
    line = " ".join(untrusted(text).split())
    return line if len(line) <= WIDTH - 2 else f"{line[: WIDTH - 3]}…"
