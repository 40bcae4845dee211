"""Runs vLLM's own server below this command: started with its limits, ended with it, however it ends."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import click

from r1_plugins.serve.before_vllm import LIMITS, BeforeVllm, Limits
from r1_plugins.serve.settings import KEY, Settings
from r1core.errors import SetupError

SERVER = "vllm.entrypoints.openai.api_server"
"""vLLM's command `vllm serve` asks for a distribution of this name, which its build for CPUs is not."""


def serve_with_vllm(settings: Settings, options: Sequence[str] = ()) -> None:
    """Serve until told to stop. Raises SetupError where vLLM is missing, or its server ends by itself."""
    if importlib.util.find_spec("vllm") is None:
        raise SetupError("vllm is not installed", where="--engine vllm", fix="pip install 'r1core[vllm]'")
    own = {KEY: settings.key, LIMITS: Limits.of(settings).said()}
    click.echo(f"engine vllm: {settings.name} at http://{settings.authority}/v1 once vllm has loaded it")
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, *_command(settings), *options],
        env={"VLLM_NO_USAGE_STATS": "1", **os.environ, **own},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    stopped: list[int] = []

    def stop(signum: int, frame: object) -> None:
        stopped.append(signum)
        child.send_signal(signal.SIGTERM)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    code = child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # an engine may outlive a server that was killed
    if code and not stopped:
        what = f"vllm's server ended with exit code {code}"
        raise SetupError(what, where="--engine vllm", fix="read what it printed")


def _command(settings: Settings) -> list[str]:
    """vLLM's own words for it; its cap on tokens is the one that also holds where a request names none."""
    options = {
        "--model": str(settings.folder),
        "--host": settings.host,
        "--port": str(settings.port),
        "--served-model-name": settings.name,
        "--reasoning-parser": "deepseek_r1",
        "--max-num-seqs": str(settings.rows),
        "--override-generation-config": json.dumps({"max_new_tokens": settings.max_tokens}),
        # vLLM's own key leaves /tokenize, /metrics, /invocations and others open: ours stands before them all
        "--middleware": f"{BeforeVllm.__module__}.{BeforeVllm.__qualname__}",
    }
    return [word for pair in options.items() for word in pair]


def _end_with_parent() -> None:
    """Wait for the end of a pipe that nobody writes to: its other side has gone, and all processes of vLLM go, too."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
