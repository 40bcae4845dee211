"""A chat server on loopback that answers every question with a thought, for suites of samplers that ask elsewhere."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPLY = {
    "choices": [{"finish_reason": "stop", "message": {"content": "42", "reasoning_content": "It is 42."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7},
}


class Answering(BaseHTTPRequestHandler):
    """The same answer to all."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps(REPLY).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


class Listening(ThreadingHTTPServer):
    daemon_threads = True


@contextlib.contextmanager
def chat() -> Iterator[str]:
    """Its address, until the block ends."""
    with Listening(("127.0.0.1", 0), Answering) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/v1"
        finally:
            listening.shutdown()
