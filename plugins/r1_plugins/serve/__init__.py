"""Serve a model behind the API that users of R1 know: /v1/chat/completions, reasoning and answer apart.

    r1 serve runs/deepseek-r1/stages/dev3
    R1_API_KEY=... r1 serve MODEL --host 0.0.0.0
    r1 serve MODEL --engine vllm -- --tensor-parallel-size 2     # what follows `--` is vLLM's

Loopback alone by default; another address needs a key from the environment, which every route but /health asks for.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

from r1core.hookspecs import hookimpl
from r1core.model_names import find_model


@click.command("serve")
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Other than loopback needs R1_API_KEY.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--name", help="What the API calls the model; by default the folder's name.")
@click.option("--max-tokens", default=4096, show_default=True, type=click.IntRange(min=1), help="Longest answer.")
@click.option("--rows", default=32, show_default=True, type=click.IntRange(min=1), help="Answers written at once.")
@click.option("--queue", default=128, show_default=True, type=click.IntRange(min=0), help="Answers that may wait.")
@click.option(
    "--timeout", "timeout_s", default=300.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
    help="Seconds that a request may take.",
)  # fmt: skip
@click.option("--engine", default="auto", show_default=True, type=click.Choice(["auto", "native", "vllm"]))
@click.argument("vllm_options", nargs=-1, type=click.UNPROCESSED)
def serve(
    model: str,
    host: str,
    port: int,
    name: str | None,
    max_tokens: int,
    rows: int,
    queue: int,
    timeout_s: float,
    engine: str,
    vllm_options: tuple[str, ...],
) -> None:
    """Serve MODEL (a folder, a stage's folder, or a model of the hub) as an OpenAI-compatible API.

    What follows `--` goes to vLLM's own server, where that is the engine.
    """
    from r1_plugins.serve.settings import Settings
    from r1_plugins.serve.start import start

    folder = find_model(model, command="serve")
    called = name or (folder.parent.name if folder.name == "model" else folder.name)
    start(
        Settings(
            folder=folder,
            host=host,
            port=port,
            name=called,
            max_tokens=max_tokens,
            rows=rows,
            queue=queue,
            timeout_s=timeout_s,
        ),
        engine=engine,
        vllm_options=vllm_options,
    )


@hookimpl
def r1_commands() -> Iterable[click.Command]:
    """The command `serve`."""
    return [serve]
