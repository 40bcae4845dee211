"""Talk to a model that a run has made, to any Hugging Face folder, or to a server.

    r1 chat runs/deepseek-r1/stages/dev3/model
    r1 chat runs/deepseek-r1/stages/dev3 --once "sort 3 1 2"
    r1 chat http://127.0.0.1:8000/v1 --key-env R1_API_KEY

The thinking is dimmed and stands apart from the answer; as in the paper, it is dropped from the history before the
next turn. `/new` forgets the conversation, `/quit` or end of input leaves, Ctrl-C ends an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from r1core.errors import R1Error, RecipeError
from r1core.hookspecs import hookimpl
from r1core.model_names import find_model, is_endpoint
from r1core.untrusted import untrusted

if TYPE_CHECKING:
    from r1_plugins.chat.remote import RemoteTalk
    from r1_plugins.chat.talk import Talk


@click.command("chat")
@click.argument("model")
@click.option("--temperature", default=0.6, show_default=True, type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest answer; 1024, or what a server allows.")
@click.option("--once", metavar="QUESTION", help="Answer one question and leave.")
@click.option("--model", "served", metavar="NAME", help="Of a server: which of its models, where it has several.")
@click.option("--key-env", metavar="NAME", help="Of a server: the environment variable that holds its key.")
def chat(
    model: str,
    temperature: float,
    max_new_tokens: int | None,
    once: str | None,
    served: str | None,
    key_env: str | None,
) -> None:
    """Talk to a model.

    MODEL is a Hugging Face folder, a stage's folder in a run, a model of the hub, or the address of a server
    (http://.../v1).
    """
    talk: Talk | RemoteTalk
    if is_endpoint(model):
        from r1_plugins.chat.remote import RemoteTalk

        talk = RemoteTalk(model, model=served, key_env=key_env, temperature=temperature, max_new_tokens=max_new_tokens)
    else:
        if served or key_env:
            option = "--model" if served else "--key-env"
            raise RecipeError(f"{model} is no server", where=option, fix=f"leave {option} out, or give http://.../v1")
        folder = find_model(model, command="chat")
        from r1_plugins.chat.talk import Talk

        talk = Talk(folder, temperature=temperature, max_new_tokens=max_new_tokens or 1024)
    if once is not None:
        talk.ask(once)
        return
    _converse(talk)


def _converse(talk: Talk | RemoteTalk) -> None:
    click.secho("/new starts over, /quit leaves", dim=True)
    while (line := _next_line()) not in ("/quit", None):
        if line == "/new":
            talk.forget()
        elif line:
            _answer(talk, line)


def _answer(talk: Talk | RemoteTalk, question: str) -> None:
    """One turn; a question that cannot be asked does not end the conversation."""
    try:
        talk.ask(question)
    except R1Error as error:
        click.echo(untrusted(str(error)), err=True)
    except KeyboardInterrupt:
        click.secho("stopped; what it said is forgotten", dim=True)


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
