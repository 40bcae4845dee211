"""`r1 serve --engine vllm`: vLLM's own server with the key, the limits and both names of the reasoning before it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from vllm_parts import model
from vllm_processes import ENVIRONMENT, START_S

KEY = "a-key-of-tests"
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "w1 w2"}], "max_tokens": 20, "seed": 3}
LONG = {**ASK, "max_tokens": 60_000, "ignore_eos": True}
"""More than a server answers within TIMEOUT_S."""
TIMEOUT_S = 4.0
ENDED_S = 30.0
TRIES = 8
"""While vLLM streams what a tiny model writes, it may hear nobody else until that is over: then it is tried again."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("served") / "tiny", max_position_embeddings=65_536)


def serve(folder: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-c", "from r1core.cli import main; main()", "serve", str(folder), "--engine", "vllm"]
    line += ["--port", str(port), "--max-tokens", "60000", "--rows", "2", "--queue", "1", "--timeout", str(TIMEOUT_S)]
    line += ["--", "--dtype", "float32", "--enforce-eager"]
    environment = {**os.environ, **ENVIRONMENT, "R1_API_KEY": KEY}
    with log.open("wb") as out:
        return subprocess.Popen(line, env=environment, stdout=out, stderr=out)


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, process = f"http://127.0.0.1:{port}", serve(folder, port, log)
    until = time.monotonic() + START_S
    while True:
        try:
            httpx.get(f"{url}/health", timeout=10).raise_for_status()
            break
        except httpx.HTTPError:
            lives = process.poll() is None and time.monotonic() < until
            assert lives, log.read_text()[-3000:]
            time.sleep(0.2)
    yield url, process
    process.kill()
    process.wait()


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {KEY}", **headers}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=given, timeout=60)


def under_way(url: str) -> int:
    """How many requests vLLM itself works at."""
    text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, timeout=30).text
    counted = [
        line
        for line in text.splitlines()
        if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{"))
    ]
    assert counted
    return int(sum(float(line.rpartition(" ")[2]) for line in counted))


def test_thinking_stands_in_both_fields(server: tuple[str, Any]) -> None:
    message = post(server[0], ASK).json()["choices"][0]["message"]
    assert message["reasoning"]
    assert message["reasoning_content"] == message["reasoning"]


def test_in_a_stream_too_and_it_says_the_same(server: tuple[str, Any]) -> None:
    reply = post(server[0], {**ASK, "stream": True})
    events = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    told = [(delta["reasoning"], delta["reasoning_content"]) for delta in deltas if delta.get("reasoning")]
    assert all(one == other for one, other in told)
    whole = post(server[0], ASK).json()["choices"][0]["message"]["reasoning"]
    assert "".join(one for one, _ in told) == whole


def test_the_client_of_openai_reads_both(server: tuple[str, Any]) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server[0]}/v1", api_key=KEY)
    said = client.chat.completions.create(model="tiny", messages=ASK["messages"], max_tokens=20, seed=3)
    assert said.choices[0].message.reasoning_content
    client.close()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (ASK, {"Authorization": "Bearer wrong"}, 401),
        (ASK, {"Host": "evil.example"}, 403),
        ({**ASK, "max_tokens": 60_001}, {}, 400),
        ({**ASK, "n": 4}, {}, 429),
        ({**ASK, "messages": [{"role": "user", "content": "w1 " * 400_000}]}, {}, 413),
        ({**ASK, "model": "another"}, {}, 404),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_outside_the_limits_is_refused(
    server: tuple[str, Any], body: Any, headers: dict[str, str], status: int
) -> None:
    reply = post(server[0], body, **headers)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]
    assert ("retry-after" in reply.headers) == (status == 429)


def test_one_that_takes_too_long_is_told_and_its_work_ends(server: tuple[str, Any]) -> None:
    reply = post(server[0], {**LONG, "n": 2})
    assert (reply.status_code, reply.json()["error"]["message"]) == (504, "the request took too long")
    streamed = post(server[0], {**LONG, "stream": True})
    *_, error, done, _ = streamed.text.split("\n\n")
    assert "took too long" in error
    assert done == "data: [DONE]"
    assert ends(lambda: under_way(server[0]) == 0)


def streaming(url: str, body: Any) -> Any:
    return httpx.stream(
        "POST", f"{url}/v1/chat/completions", json={**body, "stream": True},
        headers={"Authorization": f"Bearer {KEY}"}, timeout=60,
    )  # fmt: skip


def test_more_than_may_wait_are_told_to_come_again(server: tuple[str, Any]) -> None:
    def refused(_: int) -> bool:
        with streaming(server[0], {**LONG, "n": 3}) as reply:
            assert reply.status_code == 200
            other = post(server[0], ASK)
        assert ends(lambda: post(server[0], ASK).status_code == 200)
        return (other.status_code, other.headers.get("retry-after")) == (429, "1")

    assert any(map(refused, range(TRIES)))


def test_many_at_once_are_each_told_how_they_ended_and_none_goes_on(server: tuple[str, Any]) -> None:
    with ThreadPoolExecutor(12) as pool:
        replies = [*pool.map(lambda _: post(server[0], LONG), range(12))]
    assert {reply.status_code for reply in replies} == {429, 504}
    assert ends(lambda: under_way(server[0]) == 0)


def test_a_client_that_leaves_ends_its_work(server: tuple[str, Any]) -> None:
    def was_under_way(_: int) -> bool:
        with streaming(server[0], LONG) as reply:
            assert reply.status_code == 200
            lines = reply.iter_lines()
            next(lines)
            found = under_way(server[0])
        assert ends(lambda: under_way(server[0]) == 0)
        return found == 1

    assert any(map(was_under_way, range(TRIES)))


def ends(holds: Any) -> bool:
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.1)
    return False


def below(pid: int) -> set[int]:
    """All processes that it started, and those started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if rest[0] != "Z":
            parents[int(stat.parent.name)] = int(rest[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    return found


def test_killed_it_takes_all_of_vllm_with_it(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    """The last test: there is no server after it."""
    family = below(server[1].pid)
    assert len(family) >= 2
    server[1].send_signal(signal.SIGKILL)
    server[1].wait()
    assert ends(lambda: not any(Path(f"/proc/{pid}").exists() and not is_remnant(pid) for pid in family))


def is_remnant(pid: int) -> bool:
    """Whether nobody has read the exit code of what has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
