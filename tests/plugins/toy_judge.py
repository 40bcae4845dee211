"""A judge on loopback for tests: judges by the rules of recipes/judge_server.py, and misbehaves as it is told.

    with judge(Script()) as server: ...            # server.url, server.asked
    Script(fault=lambda server, number, body: (503, {}, b""))     # None: behave

Every request is kept with the time at which it came, so that a test can count them and see that a fault was hit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from r1_plugins.judge import Judge
from r1_plugins.judge.record import Record
from r1core.types import Problem, Response, Score

ROOT = Path(__file__).parents[2]
Body: TypeAlias = dict[str, Any]
Raw: TypeAlias = tuple[int, Mapping[str, str], bytes]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("judge_server", ROOT / "recipes" / "judge_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RULES = _load()
QUICK = {"open_after_s": 0.3, "look_every_s": 0.4, "max_s": 60}
"""An outage that is noticed at once."""


def parts(body: Body) -> dict[str, str]:
    """What the judge was shown, by name."""
    return {name: text for name, _, text in RULES.PART.findall(body["messages"][-1]["content"])}


def chat(text: str, *, finish: str = "stop", tokens: tuple[int, int] | None = (100, 10)) -> Raw:
    """A chat completion that says `text`."""
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    message = {"role": "assistant", "content": text}
    return 200, {}, json.dumps({"choices": [{"finish_reason": finish, "message": message}], **usage}).encode()


def by_rules(body: Body) -> str:
    """The verdict of the rules."""
    verdict: str = RULES.verdict(body, credulous=False)
    return verdict


@dataclass
class Script:
    """How the server behaves. `fault` gets the number of the request (from 0); what it gives is sent instead."""

    says: Callable[[Body], str] = by_rules
    fault: Callable[[Server, int, Body], Raw | None] = lambda server, number, body: None
    wait_s: float = 0.0
    drip: Callable[[int], bool] = lambda number: False
    """Whether a reply is sent a byte at a time, and never to its end."""


@dataclass
class Server:
    """A running judge."""

    url: str
    script: Script
    asked: list[tuple[float, Body]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    faults: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def bodies(self) -> list[str]:
        """Every request as one text."""
        return [json.dumps(body, sort_keys=True) for _, body in self.asked]


@contextlib.contextmanager
def judge(script: Script | None = None, *, port: int = 0) -> Iterator[Server]:
    """A judge at work until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                number = len(server.asked)
                server.asked.append((time.monotonic(), body))
                server.keys.append(self.headers.get("Authorization", ""))
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self._answer(number, body)
            except OSError:
                self.close_connection = True
            finally:
                with server.lock:
                    server.at_once -= 1

        def _answer(self, number: int, body: Body) -> None:
            time.sleep(server.script.wait_s)
            raw = server.script.fault(server, number, body)
            with server.lock:
                server.faults += raw is not None
            status, headers, content = raw if raw is not None else chat(server.script.says(body))
            if status == 0:  # reset
                self.connection.close()
                raise OSError
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if server.script.drip(number):
                for byte in content[:20]:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.1)
                raise OSError
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    class Listening(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with Listening(("127.0.0.1", port), Handler) as listening:
        server = Server(url=f"http://127.0.0.1:{listening.server_port}/v1", script=script or Script())
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def a_judge(url: str, **options: Any) -> Judge:
    """A judge of our own, patient for seconds where others are for minutes."""
    endpoint = {"url": url, "timeout_s": 5, "give_up_s": 3, **options.pop("endpoint", {})}
    return Judge(Judge.Config(endpoint=endpoint, **{"model": "rules", "canaries": 0.0, **options}))


@dataclass
class Context:
    """What the core hands to a reward that runs in the stage."""

    folder: Path
    notes: list[str] = field(default_factory=list)
    stops: Callable[[], bool] = lambda: False

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stopping(self) -> bool:
        return self.stops()


def opened(own: Judge, folder: Path) -> Context:
    """As `prepare` does, without the preflight: its calls would only be in the way of the counting."""
    context = Context(folder)
    own._context, own._record = context, Record(folder)
    return context


def problem(number: int, reference: Any = ...) -> Problem:
    """What is `number` + 1?"""
    question = {"role": "user", "content": f"What is {number} + 1?"}
    return Problem(id=f"p{number}", messages=(question,), reference=str(number + 1) if reference is ... else reference)


def answer(text: str) -> Response:
    """A response with this final answer."""
    return Response.parse(f"<think>hm</think><answer>{text}</answer>")


def batch(problems: int, samples: int = 2) -> list[tuple[Problem, Response]]:
    """Half of the answers right, the others each wrong in their own way."""
    return [
        (problem(n), answer(str(n + 1) if s % 2 == 0 else str(n + 1 + 1000 * s)))
        for n in range(problems)
        for s in range(samples)
    ]


def right(scores: list[Score]) -> bool:
    """Whether a `batch` was scored as it should be."""
    return [score.value for score in scores] == [1.0, 0.0] * (len(scores) // 2)
