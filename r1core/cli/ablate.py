"""`r1 ablate FILE`: run every variant of a recipe with a `matrix`, as one graph, and compare them.

    r1 ablate recipes/ablations/advantages.yaml --dry-run
    r1 ablate recipes/ablations/advantages.yaml --jobs 2

What variants have in common is made once. Ctrl-C or SIGTERM saves and exits 75; the same command goes on.
It is the run of `r1 recipe FILE`, and ends with the table of `r1 compare`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from r1core.cli.arithmetic import load_of
from r1core.cli.columns import columns
from r1core.cli.plan_view import profile_line
from r1core.cli.planning import plan_of, say_deprecations, say_local_code
from r1core.errors import RecipeError
from r1core.events import Event, RunFinished
from r1core.recipe.difference import changes
from r1core.recipe.plan import Plan
from r1core.recipe.variants import PlannedVariant
from r1core.untrusted import untrusted


@click.command("ablate")
@click.argument("file")
@click.option(
    "--profile", metavar="P", help="What binds the recipe's slots; tiny when neither this nor the recipe says."
)
@click.option(
    "--set", "sets", metavar="PATH=VALUE", multiple=True, help="Override one key of all variants. Repeatable."
)
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="D", help="Where the run lives: runs/<name>.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Stages at work side by side: one a core.")
@click.option("--dry-run", is_flag=True, help="Print what each variant changes, and what is shared, and leave.")
def command(
    file: str, profile: str | None, sets: tuple[str, ...], run_dir: Path | None, jobs: int | None, dry_run: bool
) -> None:
    """Run the variants of a recipe with a `matrix`, and compare them."""
    plan, host = plan_of(file, profile, sets)
    if not plan.variants:
        raise RecipeError(
            "there is nothing to vary: the recipe has no `matrix`",
            where=str(plan.path),
            fix="add one, such as matrix: {stages.<stage>.seed: [0, 1, 2]}; without, r1 recipe runs it",
        )
    folder = run_dir or Path("runs") / plan.name
    say_deprecations(host)
    click.echo(untrusted(profile_line(plan)))
    if dry_run:
        click.echo(untrusted("\n".join(_plan_lines(plan, folder))))
        return
    say_local_code(plan)
    from r1core.cli.arms_view import arm_lines
    from r1core.cli.compare import comparison_lines
    from r1core.cli.screen import choose_display
    from r1core.comparison.arms import arms
    from r1core.comparison.finished import FinishedRun
    from r1core.comparison.tables import tables
    from r1core.pipeline import run_plan

    with choose_display() as display:

        def show(event: Event) -> None:
            display(replace(event, rows=()) if isinstance(event, RunFinished) else event)  # the table below says more

        run_plan(plan, host, folder, jobs=jobs, listener=show)
    run = FinishedRun(folder)
    made = tables([run])
    if len(made) > 1 and all(
        len(table.rows) == 1 for table in made
    ):  # nothing but seeds vary: what differs is the models
        click.echo("\n" + untrusted("\n".join(arm_lines(arms(run)))))
        return
    for table in made:
        click.echo("\n" + untrusted("\n".join(comparison_lines(table, None))))


def _plan_lines(plan: Plan, folder: Path) -> Iterator[str]:
    """The axes, what is shared, what each variant changes, and how much there is to do."""
    base = plan.variants[0]
    yield f"recipe {plan.name} ({plan.path}), seed {plan.seed}, run {folder}"
    yield ""
    yield f"{len(plan.variants)} variants, the base is {base.label}"
    choices = {axis: dict.fromkeys(each.where[axis] for each in plan.variants) for axis in base.where}
    yield from columns([(axis, ", ".join(names)) for axis, names in choices.items()], left=2)
    yield ""
    yield "what differs from the base"
    yield from columns(list(_changes(plan.variants)), left=2)
    yield ""
    yield from _shares(plan)


def _changes(variants: Sequence[PlannedVariant]) -> Iterator[tuple[str, str]]:
    """(choice, difference) of each choice beside the base's others, axis by axis; then of those variants that are more
    than the sum of their choices."""
    base, alone = variants[0], dict[tuple[str, str], list[str]]()
    rest: list[tuple[PlannedVariant, list[tuple[str, str]]]] = []
    for variant in variants[1:]:
        chosen = [(axis, name) for axis, name in variant.where.items() if name != base.where[axis]]
        if len(chosen) == 1:
            alone[chosen[0]] = list(_difference(base.plain, variant.plain))
        else:
            rest.append((variant, chosen))
    for axis in base.where:
        for (own, name), lines in alone.items():
            if own == axis:
                yield from _labelled(f"{axis} {name}", lines)
    for variant, chosen in rest:
        lines = list(_difference(base.plain, variant.plain))
        if sorted(lines) != sorted(line for one in chosen for line in alone[one]):
            yield from _labelled(variant.label, lines)


def _labelled(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield label, lines[0] if lines else "nothing"
    yield from (("", line) for line in lines[1:])


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        yield from changes(before.get(name, {}), after.get(name, {}), f"stages.{name}")


def _shares(plan: Plan) -> Iterator[str]:
    """What is made once, what is made for variants, and how much that is."""
    copies: dict[str, int] = {}
    for stage in plan.stages:
        copies[stage.name] = copies.get(stage.name, 0) + 1
    once = [name for name, count in copies.items() if count == 1 and name in plan.fingerprints]
    often = [f"{count} x {name}" for name, count in copies.items() if name not in once]
    trained = sum(stage.kind == "train" for stage in plan.stages)
    tokens = sum(load_of(plan, stage).tokens for stage in plan.stages)
    yield f"made once: {', '.join(once) or 'nothing'}"
    yield f"made for variants: {', '.join(often) or 'nothing'}"
    yield f"{len(plan.stages)} stages, {trained} of them training runs; answers of at most {tokens:,} tokens in all"
