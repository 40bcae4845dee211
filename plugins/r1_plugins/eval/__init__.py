r"""Measure models, endpoints or recorded answers on any problems.

    r1 eval runs/distill/stages/teacher runs/distill/stages/student_distilled --problems jsonl:held_out.jsonl
    r1 eval http://127.0.0.1:8000/v1#r1 --problems '{use: playground, split: held_out}' --samples 8 --k 4
    r1 eval Qwen/Qwen2.5-1.5B-Instruct --preset math_500
    r1 eval --answers recorded.jsonl --reward math --gate 'pass@1>=0.7'

A small recipe is written and run, so an evaluation is an ordinary run: the same command goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from r1core.errors import RecipeError
from r1core.hookspecs import hookimpl
from r1core.untrusted import untrusted


@click.command("eval")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--problems", metavar="SOURCE", help="jsonl:PATH, a source's name, or {use: ...}.")
@click.option("--preset", "name", metavar="NAME", help="A published test set as the paper measures it.")
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="The preset's rows, JSONL, not the hub.")
@click.option(
    "--answers", type=click.Path(path_type=Path), metavar="FILE", help="Score recorded answers: JSONL, or rows."
)
@click.option(
    "--reward", default="accuracy", show_default=True, metavar="NAME", help="Says what is right; or {use: ...}."
)
@click.option(
    "--thinking",
    default="required",
    show_default=True,
    type=click.Choice(["required", "optional"]),
    help="optional: a text without think tags is an answer.",
)
@click.option("--samples", default=1, show_default=True, type=click.IntRange(min=1), help="Answers to each problem.")
@click.option("--k", default=1, show_default=True, type=click.IntRange(min=1), help="pass@k beside pass@1.")
@click.option("--temperature", default=0.6, show_default=True, type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--top-p", default=0.95, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="Nucleus.")
@click.option(
    "--max-new-tokens",
    default=1024,
    show_default=True,
    type=click.IntRange(min=1),
    help="Longest answer; unsaid, at most half of what a model reads.",
)
@click.option("--limit", default=500, show_default=True, type=click.IntRange(min=1), help="Problems at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of all that is random.")
@click.option("--greedy", is_flag=True, help="Measure greedy answers of folders and hub ids, too.")
@click.option("--key", metavar="ENV", help="The variable with the endpoints' key.")
@click.option("--gate", "gates", metavar="METRIC>=X", multiple=True, help="Exit 4 below it. Repeatable.")
@click.option(
    "--gate-against", type=click.Path(path_type=Path), metavar="RUN", help="Exit 4 if significantly below it."
)
@click.option("--against", type=click.Path(path_type=Path), metavar="RUN", help="An earlier evaluation beside it.")
@click.option("--set", "sets", metavar="PATH=VALUE", multiple=True, help="Override a key of the recipe. Repeatable.")
@click.option(
    "--run-dir", type=click.Path(path_type=Path), metavar="D", help="Where the run lives: runs/eval-<of what is asked>."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and leave.")
@click.pass_context
def evaluate(
    context: click.Context,
    models: tuple[str, ...],
    problems: str | None,
    name: str | None,
    data: Path | None,
    answers: Path | None,
    reward: str,
    thinking: str,
    samples: int,
    k: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    limit: int,
    seed: int,
    greedy: bool,
    key: str | None,
    gates: tuple[str, ...],
    gate_against: Path | None,
    against: Path | None,
    sets: tuple[str, ...],
    run_dir: Path | None,
    dry_run: bool,
) -> None:
    """Measure models, endpoints or recorded answers on any problems.

    MODEL is a Hugging Face folder, a stage's folder, a hub id, or URL#NAME of an OpenAI-compatible endpoint;
    URL alone where it has one model.
    """
    from r1_plugins.eval.against import beside
    from r1_plugins.eval.endpoints import named, reading
    from r1_plugins.eval.losing import losing
    from r1_plugins.eval.recorded import as_jsonl
    from r1_plugins.eval.reflecting import reflecting
    from r1_plugins.eval.written import Asked, fitting, folder_of, set_name, write

    if data is not None and name is None:
        fix = "give --preset NAME, or the rows by --problems"
        raise RecipeError("these rows belong to a preset, and none is named", where="--data", fix=fix)
    asked = Asked(
        models=named(models, key),
        problems=problems,
        answers=as_jsonl(answers, (run_dir or Path("runs/eval")).parent) if answers is not None else None,
        reward=reward,
        samples=samples,
        k=k,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        limit=limit,
        seed=seed,
        greedy=greedy,
        key=key,
        gates=gates,
        thinking=thinking,
        sets=sets,
        gate_against=gate_against,
        against=against,
        fetch=not dry_run,
    )
    asked = asked if name is None else replace(asked, **_unsaid(context, name, data))
    if not _said(context, "max_new_tokens"):
        most = fitting(asked.models, asked.max_new_tokens, reading(asked.models, key))
        if name is not None and most < asked.max_new_tokens:
            click.echo(f"answers have at most {most} tokens, not {asked.max_new_tokens}: a model reads no more")
        asked = replace(asked, max_new_tokens=most)
    folder = run_dir or folder_of(asked, sets)
    recipe = write(asked, folder)
    arguments = [str(recipe), "--run-dir", str(folder), *(part for each in sets for part in ("--set", each))]
    _recipe([*arguments, "--dry-run"] if dry_run else arguments)
    if dry_run:
        return
    for line in losing(folder, set_name(), asked.thinking):
        click.echo(untrusted(line))
    for model, found in reflecting(folder, set_name()).items():
        click.echo(untrusted(f"{model}: {found['words_per_1000']:.2f} reflection words in 1,000"))
    if against is not None:
        click.echo("\n".join(beside(folder, against, [set_name(), *(["greedy"] if greedy else [])])))


def _unsaid(context: click.Context, name: str, data: Path | None) -> dict[str, Any]:
    """What the preset says and the command line does not."""
    from r1_plugins.eval.presets import preset

    return {key: value for key, value in preset(name, data).items() if not _said(context, key)}


def _said(context: click.Context, key: str) -> bool:
    return context.get_parameter_source(key) == click.core.ParameterSource.COMMANDLINE


def _recipe(arguments: list[str]) -> None:
    """The same as `r1 recipe`: its display, its plan, its exit codes."""
    context = click.get_current_context().find_root()
    assert isinstance(context.command, click.Group), "eval is a command of r1"
    command = context.command.get_command(context, "recipe")
    assert command is not None, "the core has it"
    with command.make_context("recipe", arguments, parent=context) as own:
        command.invoke(own)


@hookimpl
def r1_commands() -> Iterable[click.Command]:
    """The command `eval`."""
    return [evaluate]
