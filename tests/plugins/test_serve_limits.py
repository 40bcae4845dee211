"""What `r1 serve` does when time runs out, a stop string comes, or it is told to stop in the middle of an answer."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import ASK, KEY, endless_model, post, serve, started

from r1_plugins.serve.before_vllm import LIMITS, BeforeVllm, Limits
from r1_plugins.serve.guard import Guard

HEADERS = {"Authorization": f"Bearer {KEY}"}
LONG = {**ASK, "max_tokens": 3900, "temperature": 0}
"""Greedy, and the model's likeliest token is never the end: it is written for seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return endless_model(tmp_path_factory.mktemp("limits"))


@pytest.fixture(scope="module")
def hasty(folder: Path) -> Iterator[str]:
    """A server whose requests may take one second."""
    process = serve(folder, "--timeout", "1", "--rows", "4", "--max-tokens", "4000")
    yield started(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
def patient(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = serve(folder, "--rows", "4", "--max-tokens", "4000")
    yield process, started(process)
    process.kill()
    process.communicate()


def events(response: httpx.Response) -> list[Any]:
    datas = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert datas[-1] == "[DONE]"
    return [json.loads(data) for data in datas[:-1]]


def test_a_request_over_its_time_is_a_504_and_frees_its_row(hasty: str) -> None:
    reply = post(hasty, LONG)
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "server_error")
    assert "too long" in reply.json()["error"]["message"]
    state = httpx.get(f"{hasty}/health").json()
    assert (state["rows"], state["cancelled_rows"] >= 1) == (0, True)


def test_a_stream_over_its_time_ends_in_an_error_event(hasty: str) -> None:
    with httpx.stream(
        "POST", f"{hasty}/v1/chat/completions", json={**LONG, "stream": True}, headers=HEADERS, timeout=60
    ) as response:
        told = events(response)
    assert "too long" in told[-1]["error"]["message"]
    assert sum(1 for event in told[:-1] if event["choices"][0]["delta"].get("reasoning")) > 5


def test_a_streams_last_chunk_is_the_usage_when_it_is_asked_for(hasty: str) -> None:
    whole = post(hasty, ASK).json()["usage"]
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", f"{hasty}/v1/chat/completions", json=body, headers=HEADERS, timeout=60) as response:
        told = events(response)
    assert (told[-1]["choices"], told[-1]["usage"]) == ([], whole)
    assert all(event["usage"] is None for event in told[:-1])
    details = whole["completion_tokens_details"]
    assert 0 < details["reasoning_tokens"] <= whole["completion_tokens"] <= ASK["max_tokens"]


def test_log_probs_carry_the_tokens_text_and_bytes_and_ids_come_on_request_alone(hasty: str) -> None:
    choice = post(hasty, {**ASK, "logprobs": True}).json()["choices"][0]
    entries = choice["logprobs"]["content"]
    assert all(bytes(entry["bytes"]).decode() == entry["token"] and entry["logprob"] <= 0 for entry in entries)
    first = choice["message"]["reasoning"].split()[0]
    assert first in [entry["token"].strip() for entry in entries]
    assert "token_ids" not in choice
    asked = post(hasty, {**ASK, "return_token_ids": True}).json()
    assert len(asked["choices"][0]["token_ids"]) == asked["usage"]["completion_tokens"] == len(entries)


def test_a_stop_string_ends_its_own_row_at_once(hasty: str) -> None:
    """Of two answers one stops after some words; the other goes on to its end, and no row is written for nothing."""
    body = {**ASK, "n": 2, "max_tokens": 40, "temperature": 1.0, "return_token_ids": True}
    texts = [choice["message"]["reasoning"] for choice in post(hasty, body).json()["choices"]]
    word = next(word for word in texts[0].split()[2:] if f"{word} " not in f"{texts[1]} ")
    before = httpx.get(f"{hasty}/health").json()["stopped_rows"]
    cut, other = post(hasty, {**body, "stop": [f"{word} "]}).json()["choices"]
    assert (cut["finish_reason"], cut["message"]["reasoning"]) == ("stop", texts[0].partition(f"{word} ")[0].strip())
    assert other["message"]["reasoning"] == texts[1]
    assert len(cut["token_ids"]) < len(other["token_ids"])
    assert httpx.get(f"{hasty}/health").json()["stopped_rows"] == before + 1


def test_ctrl_c_in_mid_stream_tells_the_client_and_exits_with_0(patient: tuple[subprocess.Popen[str], str]) -> None:
    process, url = patient
    body = {**LONG, "n": 4, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=HEADERS, timeout=60) as response:
        lines = response.iter_lines()
        for _ in range(12):
            next(lines)
        process.send_signal(signal.SIGINT)
        rest = [line.removeprefix("data: ") for line in lines if line]
    error = json.loads(rest[-2])["error"]
    assert (rest[-1], error["type"]) == ("[DONE]", "server_error")
    assert "was stopped before the answer was whole" in error["message"]
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in out + err) == (0, False), err


def answered(guard: Guard, scope: dict[str, Any]) -> Any:
    """The first thing that is sent, "through" where the application was reached."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    asyncio.run(guard({"headers": [], **scope}, receive, send))
    return sent[0]


async def reached(scope: Any, receive: Any, send: Any) -> None:
    await send("through")


@pytest.mark.parametrize("path", ["/v1/models", "/tokenize", "/metrics", "/invocations", "/docs"])
def test_before_the_server_of_vllm_every_route_but_health_asks_for_the_key(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R1_API_KEY", KEY)
    limits = Limits(is_loopback=False, max_tokens=10, most_asked=1, timeout_s=1)
    monkeypatch.setenv(LIMITS, limits.said())
    guard = BeforeVllm(reached)
    right = [(b"authorization", f"Bearer {KEY}".encode())]
    assert answered(guard, {"type": "http", "method": "GET", "path": path})["status"] == 401
    assert answered(guard, {"type": "http", "method": "GET", "path": path, "headers": right}) == "through"
    assert answered(guard, {"type": "http", "method": "GET", "path": "/health"}) == "through"
    assert answered(guard, {"type": "websocket", "path": path})["type"] == "websocket.close"
    assert answered(guard, {"type": "lifespan"}) == "through"
