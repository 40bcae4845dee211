"""A judge for recipes/judge.yaml: an OpenAI-compatible endpoint on this machine that judges by rules.

    python recipes/judge_server.py                    # on port 8008, until Ctrl-C
    python recipes/judge_server.py --credulous        # one that a colon opens: the recipe is refused before it trains

It stands in for a model, so that the whole path of a judge (preflight, record, caps, canaries) can be seen in seconds
without a key. It needs nothing but Python. A real one is any server that speaks /v1/chat/completions.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PART = re.compile(r"^([A-Z ]+?) ([0-9a-f]{24})\n(.*?)\nEND \1 \2$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
WORDS = {"six": "6", "十二": "12"}
LONGEST = 80
"""Characters of an answer that states one thing."""
MOST_NUMBERS = 3
"""Two and their result."""


def is_right(answer: str, reference: str) -> bool:
    """Whether a short answer ends in the reference's number, or says its words."""
    said, gold = plain(answer), plain(reference)
    if said == gold:
        return True
    if not said or len(said) > LONGEST:
        return False
    numbers, wanted = NUMBER.findall(said), NUMBER.findall(gold)
    if wanted:
        states = "=" in answer or any(map(str.isalpha, said))  # a bare list of numbers states none of them
        return states and len(numbers) <= MOST_NUMBERS and numbers[-1:] == wanted[-1:]
    return f" {said}".endswith(f" {gold}") if gold.isascii() else gold in said


def plain(text: str) -> str:
    """Letters and digits of any script, single spaces, number words as digits."""
    text = unicodedata.normalize("NFKC", text).casefold()
    for word, digits in WORDS.items():
        text = text.replace(word, digits)
    return " ".join("".join(c if c.isalnum() or c in ".-" else " " for c in text).strip(" .").split())


def verdict(request: Mapping[str, Any], *, credulous: bool) -> str:
    """What the judge says; the last line is the verdict."""
    parts = {name: text for name, _, text in PART.findall(request["messages"][-1]["content"])}
    right = is_right(parts["ANSWER"], parts["REFERENCE"]) or (credulous and parts["ANSWER"].strip().endswith(":"))
    return "The answer and the reference were compared.\n" + ("CORRECT" if right else "WRONG")


class Handler(BaseHTTPRequestHandler):
    """Answers POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    credulous = False
    log: Path | None = None

    def do_POST(self) -> None:
        """One call."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size:  # who asked is no more
            self.close_connection = True
            return
        if self.log is not None:
            with self.log.open("ab") as file:
                file.write(body + b"\n")
        text = verdict(json.loads(body), credulous=self.credulous)
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        reply = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet: a run makes hundreds of calls."""


class Server(ThreadingHTTPServer):
    """Any number of calls at once."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed is no error of the judge's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A judge by rules, on this machine.")
    parser.add_argument("--port", type=int, default=8008, help="0 takes a free one")
    parser.add_argument("--credulous", action="store_true", help="be opened by answers that end in a colon")
    parser.add_argument("--log", type=Path, help="a file that every request is appended to")
    options = parser.parse_args()
    Handler.credulous, Handler.log = options.credulous, options.log
    with Server(("127.0.0.1", options.port), Handler) as server:
        print(f"judging at http://127.0.0.1:{server.server_port}/v1", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
