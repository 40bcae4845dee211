"""`r1 chat` with a server on loopback: what it sends, what it shows, and what it says when nobody answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from r1_plugins.chat import chat
from r1core.errors import RecipeError, SetupError

KEY = "a-key-of-tests"


class Scripted(ThreadingHTTPServer):
    """Answers what stands in `script`, in turn: deltas of a stream, or (status, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Any] = []
        self.models: Any = {"data": [{"id": "toy"}]}
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.address = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        self.reply(200 if self.path == "/v1/models" else 404, json.dumps(self.server.models))

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.keys.append(self.headers["Authorization"])
        scripted = self.server.script.pop(0)
        if isinstance(scripted, tuple):
            self.reply(*scripted)
            return
        events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in scripted if delta != "cut"]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self.reply(200, ": a comment\n\n" + text + ("" if "cut" in scripted else "data: [DONE]\n\n"))

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


def talk(address: str, *arguments: str, typed: str = "", env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(chat, [address, *arguments], input=typed, color=True, env=env)


SPLIT = [{"role": "assistant", "content": ""}, {"reasoning": "h", "reasoning_content": "h"}, {"reasoning_content": "m"}]
SPLIT += [{"content": "7"}, {"content": "\x1b[31m!"}]
TAGGED = [{"content": "<thi"}, {"content": "nk>\nhm</th"}, {"content": "ink>\n\n7"}, {"content": "\x1b[31m!"}]


HALF = [{"reasoning": "\n"}, {"reasoning": "hm"}, {"content": "\n<answer>7"}, {"content": "\x1b[31m!</answer>"}]


@pytest.mark.parametrize("deltas", [SPLIT, TAGGED, HALF])
def test_thinking_stands_apart_whether_the_server_splits_it_or_not(server: Scripted, deltas: list[Any]) -> None:
    server.script = [deltas]
    result = talk(server.address, "--once", "3 + 4")
    assert result.exit_code == 0, result.exception
    plain = result.output.replace("\x1b[2m", "[").replace("\x1b[0m", "]")
    assert plain in ("[h][m]\n7][31m!]\n", "[hm]\n7][31m!]\n")


@pytest.mark.parametrize("deltas", [SPLIT, TAGGED, HALF])
def test_the_next_turn_has_the_answer_and_no_old_thinking(server: Scripted, deltas: list[Any]) -> None:
    server.script = [deltas, deltas, deltas]
    result = talk(server.address, "--temperature", "0", typed="one\ntwo\n/new\nthree\n/quit\n")
    assert result.exit_code == 0, result.exception
    first, second, third = server.asked
    assert first == {
        "model": "toy", "stream": True, "temperature": 0.0, "messages": [{"role": "user", "content": "one"}],
    }  # fmt: skip
    told = {"role": "assistant", "content": "7\x1b[31m!"}
    assert second["messages"] == [first["messages"][0], told, {"role": "user", "content": "two"}]
    assert third["messages"] == [{"role": "user", "content": "three"}]


def test_the_key_comes_from_the_variable_that_is_named(server: Scripted) -> None:
    server.script = [SPLIT]
    result = talk(server.address, "--once", "x", "--key-env", "TOY_KEY", env={"TOY_KEY": KEY})
    assert result.exit_code == 0, result.exception
    assert server.keys == [f"Bearer {KEY}"] * 2
    result = talk(server.address, "--once", "x", "--key-env", "TOY_KEY", env={"TOY_KEY": ""})
    assert isinstance(result.exception, SetupError)
    assert "TOY_KEY is not set" in str(result.exception)


def test_one_of_several_models_is_chosen_by_name_alone(server: Scripted) -> None:
    server.models = {"data": [{"id": "a"}, {"id": "b"}]}
    result = talk(server.address, "--once", "x")
    assert isinstance(result.exception, RecipeError)
    assert "it serves 2 models: a, b" in str(result.exception)
    server.script = [SPLIT]
    assert talk(server.address, "--once", "x", "--model", "b", "--max-new-tokens", "9").exit_code == 0
    assert (server.asked[0]["model"], server.asked[0]["max_tokens"]) == ("b", 9)


@pytest.mark.parametrize(
    ("reply", "words", "kind"),
    [
        ((401, '{"error": {"message": "who are you?"}}'), r"who are you\? \(HTTP 401\)(.|\n)*--key-env", SetupError),
        ((404, '{"error": {"message": "none", "code": "model_not_found"}}'), "none(.|\n)*--model", RecipeError),
        ((400, '{"detail": "no such role"}'), r"no such role \(HTTP 400\)", RecipeError),
        ((429, "slow down\x1b[2J"), r"slow down\[2J \(HTTP 429\)", SetupError),
        ((500, ""), r"Internal Server Error \(HTTP 500\)", SetupError),
        ((200, 'data: {"error": {"message": "out of memory"}}\n\n'), "out of memory", SetupError),
        ((200, "data: <html>\n\n"), "no JSON", SetupError),
        (["cut", {"content": "7"}], "stopped in the middle", SetupError),
    ],
)
def test_what_goes_wrong_is_said_in_the_servers_words(
    server: Scripted, reply: Any, words: str, kind: type[Exception]
) -> None:
    server.script = [reply]
    result = talk(server.address, "--once", "x")
    assert not server.script
    with pytest.raises(kind, match=words):
        raise result.exception or AssertionError(result.output)


def test_a_spoilt_turn_is_forgotten_and_the_conversation_goes_on(server: Scripted) -> None:
    server.script = [(500, "no"), SPLIT]
    result = talk(server.address, typed="one\ntwo\n")
    assert result.exit_code == 0
    assert "no (HTTP 500)" in result.output
    assert server.asked[1]["messages"] == [{"role": "user", "content": "two"}]


def test_a_conversation_that_is_too_long_loses_its_oldest_turns(server: Scripted) -> None:
    full = (400, '{"error": {"message": "too long", "code": "context_length_exceeded"}}')
    server.script = [SPLIT, SPLIT, full, SPLIT]
    assert talk(server.address, typed="one\ntwo\nthree\n").exit_code == 0
    said = [[turn["content"] for turn in asked["messages"] if turn["role"] == "user"] for asked in server.asked]
    assert said == [["one"], ["one", "two"], ["one", "two", "three"], ["two", "three"]]


def test_a_dead_or_strange_address_is_one_sentence_and_no_torch_is_loaded() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        for address, code, words in (
            (dead, 3, "nobody answers there"),
            ("http://me@127.0.0.1/v1", 2, "no user, no query"),
            ("http://169.254.169.254/v1", 2, "metadata"),
        ):
            lines = (
                f"import sys; from r1core.cli import main\ntry: main(['chat', {address!r}, '--once', 'x'])\n"
                "finally: assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
            )
            done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
            assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (code, True, False), done
            assert len(done.stderr.splitlines()) <= 2


def test_options_of_servers_are_refused_for_folders(tmp_path: Any) -> None:
    result = talk(str(tmp_path), "--key-env", "X", "--once", "x")
    assert isinstance(result.exception, RecipeError)
    assert "is no server" in str(result.exception)
