"""vLLM's routes on loopback for tests: takes weights as a server does, answers from the seed, misbehaves as told.

    with toy_vllm() as server: ...            # server.url, server.asked("/inference/v1/generate")
    server.fault = lambda path, number: (503, {"Retry-After": "1"})       # None: behave; the number counts the path's

Every request is kept with the time at which it came, and every fault that was hit is counted.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import safe_open

from r1core.types import Message, Problem, SampleRequest
from r1core.world import Alone, World

GENERATE = "/inference/v1/generate"
END = 1
HANG, RESET = "hang", "reset"
Fault: TypeAlias = "tuple[int, Mapping[str, str]] | str | None"


class ToyVllm:
    """One server: its weights, what it was asked, what it does wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.fault: Callable[[str, int], Fault] = lambda path, number: None
        self.faults = 0
        self.raw_logprobs = False
        self.longest = 10_000
        self.slow_s = 0.0
        self.requests: list[tuple[float, str, Any]] = []
        self.hurry = threading.Event()
        self.dead = False
        self.lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """As it is when its process begins."""
        self.version = "default"
        self.updating = False
        self.weights: dict[str, torch.Tensor] = {}
        self.coming: dict[str, torch.Tensor] = {}
        self.files: list[str] = []
        self.paused = False

    def asked(self, path: str) -> list[Any]:
        """The bodies of the requests to a path."""
        with self.lock:
            return [body for _, found, body in self.requests if found == path]

    def when(self, path: str) -> list[float]:
        """When they came."""
        with self.lock:
            return [at for at, found, _ in self.requests if found == path]

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        """What vLLM would say."""
        if path == GENERATE:
            return 200, self._generated(body)
        if path == "/weight_info":
            return 200, {"weight_version": self.version}
        with self.lock:
            return self._controlled(path.partition("?")[0], body)

    def _controlled(self, path: str, body: Any) -> tuple[int, Any]:
        wrong = {"/start_weight_update": self.updating, "/update_weights": not self.updating}
        if wrong.get(path, path == "/finish_weight_update" and not self.updating):
            return 500, {"error": "out of order"}
        if path in ("/pause", "/resume"):
            self.paused = path == "/pause"
        elif path == "/update_weight_version":
            self.version = body["new_version"]
        elif path == "/start_weight_update":
            self.updating, self.coming, self.files = True, {}, []
        elif path == "/update_weights":
            self._take(body["update_info"])
        elif path == "/finish_weight_update":
            self.updating, self.weights = False, self.coming
            self.version = body.get("weight_version", self.version)
        return 200, {"success": True}

    def _take(self, info: Any) -> None:
        with safe_open(info["path"], framework="pt") as file:
            assert file.metadata()["version"] == info["version"]
            self.coming |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.files.append(info["path"])

    def _generated(self, body: Any) -> Any:
        params = body["sampling_params"]
        draw = np.random.default_rng(params["seed"])
        count = min(int(draw.integers(1, 12)), params["max_tokens"], self.longest)
        ids = [*draw.integers(2, 50, size=count - 1).tolist(), END] if count else []
        if count == params["max_tokens"] or count == self.longest:
            ids[-1] = 7
        logprob = -0.5 if self.weights else -9.0  # those that it was started on are others
        logprob = 0.0 if params["top_p"] < 0.01 and not self.raw_logprobs else logprob
        span = {"version": self.version, "start": 0, "end": count}
        choice = {"token_ids": ids, "finish_reason": "stop" if ids[-1:] == [END] else "length"}
        choice |= {"weight_versions": [span], "logprobs": {"content": [{"logprob": logprob} for _ in ids]}}
        return {"choices": [choice]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    toy: ToyVllm

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        toy = self.toy
        with toy.lock:
            number = sum(path == self.path for _, path, _ in toy.requests)
            toy.requests.append((time.monotonic(), self.path, body))
        fault = toy.fault(self.path, number)
        with toy.lock:
            toy.faults += fault is not None
        toy.hurry.wait(20 if fault == HANG else toy.slow_s if self.path == GENERATE else 0)
        if isinstance(fault, str) or toy.dead:
            self.close_connection = True
            self.connection.close()
            return
        status, headers = fault if fault is not None else (0, {})
        said_status, said = toy.reply(self.path, body) if fault is None else (status, {"error": "as told"})
        content = json.dumps(said).encode()
        with contextlib.suppress(OSError):
            self.send_response(said_status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@contextlib.contextmanager
def toy_vllm(*, port: int = 0) -> Iterator[ToyVllm]:
    """A server at work until the block ends."""
    toy = ToyVllm()
    handler = type("Handler", (_Handler,), {"toy": toy})
    listening = _Listening(("127.0.0.1", port), handler)
    toy.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield toy
    finally:
        toy.dead = True  # for connections that are kept open
        toy.hurry.set()
        listening.shutdown()
        listening.server_close()
        thread.join()


class ToyPolicy:
    """What the sampler asks of a policy: weights, and a tokenizer whose tokens are letters."""

    def __init__(self, world: World | None = None) -> None:
        self.world: World = world or Alone()
        self.parameters = {f"layer.{place}": torch.full((300, 500), float(place)) for place in range(4)}
        self.gone_through = 0

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """In one buffer, which the next overwrites."""
        buffer = torch.empty(300, 500)
        for name, weight in self.parameters.items():
            self.gone_through += 1
            yield name, buffer.copy_(weight)

    def module(self) -> Any:
        """As far as it is read."""
        return SimpleNamespace(config=SimpleNamespace(eos_token_id=END), generation_config=None)

    def completion_ids(self, text: str) -> Any:
        return np.array([*map(ord, text), END])

    def prefilled(self, messages: Any) -> str:
        return "<think>"

    def decode(self, ids: Any) -> str:
        return "".join(chr(65 + int(token)) for token in ids if token != END)


QUESTION: tuple[Message, ...] = ({"role": "user", "content": "Why?"},)


def requests(problems: int, samples: int = 2, *, most: int = 40, temperature: float = 1.0) -> list[SampleRequest]:
    """One for each problem; the keys are large, as the core's are."""
    return [
        SampleRequest(
            problem=Problem(id=str(place), messages=QUESTION),
            prompt_ids=np.array([5, 6, 7 + place]),
            keys=tuple(2**64 - 1 - 2 * (place * samples + sample) for sample in range(samples)),
            samples=tuple(place * samples + sample for sample in range(samples)),
            max_new_tokens=most,
            temperature=temperature,
        )
        for place in range(problems)
    ]
