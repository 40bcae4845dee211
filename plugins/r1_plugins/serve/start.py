"""Chooses the engine, binds the port before anything heavy is loaded, and serves until it is told to stop."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

import click

from r1_plugins.serve.settings import KEY, LOOPBACK_ONLY, Settings
from r1core.errors import RecipeError, SetupError

GRACE_S = 2
"""Seconds for answers under way when it is told to stop; then their clients are told, and have as long again."""
GUARD = "r1_plugins.serve.guard.Keyed"
PACKAGES = ("fastapi", "uvicorn", "torch", "transformers")


def start(settings: Settings, *, engine: str) -> None:
    """Serve. Raises RecipeError (exit 2) for an open address without a key, SetupError (3) for a port in use."""
    if not settings.is_loopback and not settings.key:
        fix = f"set {KEY} in the environment, or stay on 127.0.0.1"
        raise RecipeError(f"{settings.host} is open to others, and there is no key", where="--host", fix=fix)
    if engine == "vllm" or (engine == "auto" and _vllm_is_best()):
        _serve_with_vllm(settings)
    else:
        _serve_natively(settings)


def _vllm_is_best() -> bool:
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _serve_with_vllm(settings: Settings) -> None:
    if importlib.util.find_spec("vllm") is None:
        raise SetupError("vllm is not installed", where="--engine vllm", fix="pip install 'r1core[vllm]'")
    _bind(settings).close()
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(settings.folder)]
    command += ["--host", settings.host, "--port", str(settings.port), "--served-model-name", settings.name]
    command += ["--reasoning-parser", "deepseek_r1", "--max-num-seqs", str(settings.rows)]
    # vLLM's own key leaves /tokenize, /metrics, /invocations and others open: ours stands before them all
    command += ["--middleware", GUARD]
    click.echo(f"engine vllm: {settings.name} by its own server; of the limits here only --rows applies to it")
    environment = {**os.environ, KEY: settings.key, LOOPBACK_ONLY: str(int(settings.is_loopback))}
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    stopped: list[int] = []

    def stop(signum: int, frame: object) -> None:
        stopped.append(signum)
        child.send_signal(signal.SIGTERM)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    code = child.wait()
    if code and not stopped:
        raise SetupError(
            f"vllm's server ended with exit code {code}", where="--engine vllm", fix="read what it printed"
        )


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
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    click.echo(f"engine native: {settings.name} at http://{host}:{listening.getsockname()[1]}/v1")
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
