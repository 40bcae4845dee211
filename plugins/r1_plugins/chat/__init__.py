"""Talk to a model that a run has made, or to any Hugging Face folder.

    r1 chat runs/deepseek-r1/stages/dev3/model
    r1 chat runs/deepseek-r1/stages/dev3 --once "sort 3 1 2"

The thinking is dimmed and stands apart from the answer; as in the paper, it is dropped from the
history before the next turn. `/new` forgets the conversation, `/quit` or end of input leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from r1core.errors import R1Error
from r1core.hookspecs import hookimpl
from r1core.model_names import find_model
from r1core.untrusted import untrusted

if TYPE_CHECKING:
    from r1_plugins.chat.talk import Talk


@click.command("chat")
@click.argument("model")
@click.option("--temperature", default=0.6, show_default=True, type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--max-new-tokens", default=1024, show_default=True, type=click.IntRange(min=1), help="Longest answer.")
@click.option("--once", metavar="QUESTION", help="Answer one question and leave.")
def chat(model: str, temperature: float, max_new_tokens: int, once: str | None) -> None:
    """Talk to a model that a run has made.

    MODEL is a Hugging Face folder, or a stage's folder in a run.
    """
    folder = find_model(model, command="chat")
    from r1_plugins.chat.talk import Talk

    talk = Talk(folder, temperature=temperature, max_new_tokens=max_new_tokens)
    if once is not None:
        talk.ask(once)
        return
    click.secho("/new starts over, /quit leaves", dim=True)
    while (line := _next_line()) not in ("/quit", None):
        if line == "/new":
            talk.forget()
        elif line:
            _answer(talk, line)


def _answer(talk: Talk, question: str) -> None:
    """One turn; a question that cannot be asked does not end the conversation."""
    try:
        talk.ask(question)
    except R1Error as error:
        click.echo(untrusted(str(error)), err=True)


def _next_line() -> str | None:
    try:
        return input("> ").strip()
    except EOFError:
        click.echo()
        return None


@hookimpl
def r1_commands() -> Iterable[click.Command]:
    """The command `chat`."""
    return [chat]
