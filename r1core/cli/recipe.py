"""`r1 recipe FILE`: run a recipe, or print its plan.

    r1 recipe recipes/deepseek_r1.yaml
    r1 recipe recipes/deepseek_r1.yaml --profile paper --dry-run
    r1 recipe recipes/deepseek_r1.yaml --set stages.r1_zero.train.steps=20 --from r1_zero

Ctrl-C or SIGTERM finishes the steps at work, saves and exits 75; a second one exits at once with 130.
The same command goes on. Everything that can be wrong with the recipe is said before any compute,
with file, line and column.
"""

from __future__ import annotations

from pathlib import Path

import click

from r1core.untrusted import untrusted

DENY = "no:"


def _denied(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not value.removeprefix(DENY) or not value.startswith(DENY):
            raise click.BadParameter(f"{value!r}: write no:NAME, the name of a plugin to leave out")
    return values


@click.command("recipe")
@click.argument("file")
@click.option(
    "--profile", metavar="P", help="What binds the recipe's slots; tiny when neither this nor the recipe says."
)
@click.option(
    "--set", "sets", metavar="PATH=VALUE", multiple=True, help="Override one key, such as seed=1. Repeatable."
)
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="D", help="Where the run lives: runs/<name>.")
@click.option(
    "--from", "from_stages", metavar="S", multiple=True, help="Run this stage and its dependents again. Repeatable."
)
@click.option("--until", "until_stage", metavar="S", help="Run this stage and what it depends on, no more.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Stages at work side by side: one a core.")
@click.option("--locked", is_flag=True, help="Refuse plugins other than those of the run's plugins.lock.")
@click.option("-p", "deny", metavar="no:NAME", multiple=True, callback=_denied, help="Leave a plugin out. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Print the plan and leave. Needs no accelerator and no engine.")
def command(
    file: str,
    profile: str | None,
    sets: tuple[str, ...],
    run_dir: Path | None,
    from_stages: tuple[str, ...],
    until_stage: str | None,
    jobs: int | None,
    locked: bool,
    deny: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Run a recipe, or print its plan."""
    from r1core.cli.locked import check_locked
    from r1core.cli.plan_view import plan_lines, profile_line
    from r1core.cli.planning import plan_of, say_deprecations, say_local_code

    plan, host = plan_of(file, profile, sets, deny)
    folder = run_dir or Path("runs") / plan.name
    for stage in (*from_stages, *([until_stage] if until_stage is not None else [])):
        plan.named(stage)  # one that does not exist is said before anything else
    if locked:
        check_locked(plan, folder / "plugins.lock")
    say_deprecations(host)
    click.echo(untrusted(profile_line(plan)))
    if dry_run:
        kept = plan.ancestors([until_stage]) if until_stage is not None else frozenset(plan.fingerprints)
        click.echo(untrusted("\n".join(plan_lines(plan, kept, folder))))
        return
    say_local_code(plan)
    from r1core.cli.screen import choose_display
    from r1core.pipeline import run_plan

    with choose_display() as display:
        run_plan(plan, host, folder, from_stage=from_stages, until_stage=until_stage, jobs=jobs, listener=display)
