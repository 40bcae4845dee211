"""Chooses the engine, binds the port before anything heavy is loaded, and serves until it is told to stop."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType

import click

from r1_plugins.serve.settings import KEY, Settings
from r1core.errors import RecipeError, SetupError

GRACE_S = 2
"""Seconds for answers under way when it is told to stop; then their clients are told, and have as long again."""
PACKAGES = ("fastapi", "uvicorn", "torch", "transformers")


def start(settings: Settings, *, engine: str, vllm_options: Sequence[str] = ()) -> None:
    """Serve. Raises RecipeError (exit 2) for an open address without a key, SetupError (3) for a port in use."""
    if not settings.is_loopback and not settings.key:
        fix = f"set {KEY} in the environment, or stay on 127.0.0.1"
        raise RecipeError(f"{settings.host} is open to others, and there is no key", where="--host", fix=fix)
    if engine == "vllm" or (engine == "auto" and _vllm_is_best()):
        from r1_plugins.serve.with_vllm import serve_with_vllm

        with contextlib.closing(_bind(settings)) as bound:
            port = bound.getsockname()[1]
        serve_with_vllm(replace(settings, port=port), vllm_options)
    elif vllm_options:
        fix = "say --engine vllm, or leave them out"
        raise RecipeError(f"{' '.join(vllm_options)}: options of vllm, which does not serve here", where="--", fix=fix)
    else:
        _serve_natively(settings)


def _vllm_is_best() -> bool:
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _serve_natively(settings: Settings) -> None:
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise SetupError(f"{', '.join(absent)} not installed", where="r1 serve", fix="pip install 'r1core[serve]'")
    listening = _bind(settings)
    import uvicorn

    from r1_plugins.serve.app import build
    from r1_plugins.serve.engine import Engine
    from r1_plugins.serve.guard import Connection, Guard

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """As the library does it, but a signal that was obeyed is not raised again: the exit code is 0."""
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, self.handle_exit)
            yield

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Called on a signal; the second one does not wait."""
            engine.end_within(GRACE_S)
            super().handle_exit(sig, frame)

        async def on_tick(self, counter: int) -> bool:
            """Called ten times a second; True ends the server."""
            return not engine.healthy or await super().on_tick(counter)

    try:
        engine = Engine(settings)
    except BaseException:
        listening.close()
        raise
    guarded = Guard(build(engine), key=settings.key, is_loopback=settings.is_loopback)
    config = uvicorn.Config(
        guarded, http=Connection, ws="none", log_level="critical", access_log=False,
        server_header=False, timeout_graceful_shutdown=2 * GRACE_S, timeout_keep_alive=10, lifespan="off", backlog=1024,
    )  # fmt: skip
    at = replace(settings, port=listening.getsockname()[1]).authority
    click.echo(f"engine native: {settings.name} at http://{at}/v1")
    try:
        Server(config).run(sockets=[listening])
    finally:
        engine.close()
    if engine.failed:
        fix = "start it again; with less memory to spare, fewer --rows"
        raise SetupError(f"the engine has stopped: {engine.failed}", where="r1 serve", fix=fix)


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
        bound.listen(1024)
    except OSError as error:
        bound.close()
        what = f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}"
        raise SetupError(what, where="--port", fix="end who listens there, or give another --port") from error
    return bound
