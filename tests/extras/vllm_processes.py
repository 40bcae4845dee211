"""Real vLLM servers on loopback: `with running(model, 2) as servers: servers[1].kill()`. They start side by side."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

START_S = 300
"""Longest start: ten seconds of work on a free core."""
OPTIONS = (
    *("--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--tokens-only"),
    *("--max-num-seqs", "16"),
    *("--distributed-executor-backend", "uni", "--logprobs-mode", "processed_logprobs"),
    *("--weight-transfer-config", '{"backend": "r1_files"}'),
    *("--worker-extension-cls", "r1_plugins.vllm_server.worker.Extension"),
)
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


class VllmProcess:
    """A server and the processes below it."""

    def __init__(self, model: Path, log: Path, *, longest: int, options: Sequence[str]) -> None:
        self._model = model
        self._options = options
        self._longest = str(longest)
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Again, where it was killed, on the model that it was started on first."""
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        what = ("--model", str(self._model), "--max-model-len", self._longest)
        command = (sys.executable, "-m", "vllm.entrypoints.openai.api_server", *where, *what, *self._options)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.url}/health", timeout=10).close()
                return
            time.sleep(0.1)
        how = f"has not answered for {START_S} s" if self.process.poll() is None else "ended"
        raise AssertionError(f"the server {how}:\n{self._log.read_text()[-3000:]}")

    def answered(self) -> int:
        """How many requests it has answered since it was started."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        counts = [float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:request_success_total{")]
        return int(sum(counts))

    def kill(self) -> None:
        """SIGKILL, to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@contextlib.contextmanager
def running(
    model: Path, count: int, logs: Path, *, longest: int = 512, options: Sequence[str] = OPTIONS
) -> Iterator[list[VllmProcess]]:
    """So many servers of the model, which answer; `longest` tokens of prompt and answer together."""
    places = [logs / f"server{number}.log" for number in range(count)]
    servers = [VllmProcess(model, place, longest=longest, options=options) for place in places]
    try:
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.kill()
