"""`r1 serve` as a process of its own: the API as the openai client sees it, and what it refuses."""

from __future__ import annotations

import os
import re
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
import openai
import pytest
from safetensors.torch import load_file, save_file
from tiny_model import ARCHITECTURE, TEMPLATE, write_tokenizer

from r1core.nn import create_model
from r1core.types import Response

KEY = "a-key-of-tests"
PREFILLED = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "w1 w2"}], "max_tokens": 30, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served") / "tiny"
    made.mkdir()
    write_tokenizer(made, template=PREFILLED)
    create_model(made, {**ARCHITECTURE, "max_position_embeddings": 4096}, seed=0)
    weights = load_file(made / "model.safetensors")
    weights["model.embed_tokens.weight"][1] = 0  # the end token is never the likeliest: a greedy answer has no end
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    return made


def command(folder: Path, *options: str, key: str = KEY) -> subprocess.Popen[str]:
    environment = {**os.environ, "R1_API_KEY": key, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    line = [
        sys.executable,
        "-c",
        "from r1core.cli import main; main()",
        "serve",
        str(folder),
        "--port",
        "0",
        "--engine",
        "native",
        *options,
    ]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address, and its process id; it ends with 0 when it is told to stop."""
    process = command(folder, "--rows", "4", "--queue", "4", "--max-tokens", "4000")
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"engine native: tiny at (http://127\.0\.0\.1:\d+)/v1", line)
    assert found, (line, process.communicate())
    yield found[1], process.pid
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def post(url: str, body: Any = None, **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {KEY}", **headers}
    return httpx.post(f"{url}/v1/chat/completions", json=ASK if body is None else body, headers=given, timeout=60)


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=60)


def streamed(url: str, **options: Any) -> tuple[str, str, str]:
    said, answer, finish = "", "", ""
    for chunk in client(url).chat.completions.create(**{**ASK, **options}, stream=True):
        delta: Any = chunk.choices[0].delta
        assert getattr(delta, "reasoning", None) == getattr(delta, "reasoning_content", None)
        said += getattr(delta, "reasoning_content", None) or ""
        answer += delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    return said, answer, finish


def whole(url: str, **options: Any) -> tuple[str, str, str]:
    choice = client(url).chat.completions.create(**{**ASK, **options}).choices[0]
    message: Any = choice.message
    assert message.reasoning == message.reasoning_content
    return message.reasoning_content, message.content, choice.finish_reason


def test_two_rounds_of_the_openai_client_with_reasoning_apart(server: tuple[str, int]) -> None:
    url, _ = server
    assert [model.id for model in client(url).models.list()] == ["tiny"]
    said, answer, _ = whole(url)
    assert said
    history = [
        *ASK["messages"],
        {"role": "assistant", "content": answer or "w3"},
        {"role": "user", "content": "w4"},
    ]
    plain = whole(url, messages=history)
    for thoughtful in (
        {**history[1], "content": f"<think>\nw9 w9</think>{history[1]['content']}"},
        {**history[1], "reasoning_content": "w9 w9"},
    ):
        assert whole(url, messages=[history[0], thoughtful, history[2]]) == plain


def test_a_stream_says_what_the_whole_says_alone_or_beside_others(server: tuple[str, int]) -> None:
    url, _ = server
    alone = [whole(url, seed=seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda seed: streamed(url, seed=seed), range(6)))
    assert together == alone
    assert len(set(alone)) == 6


def test_the_fields_are_the_offline_split_of_the_tokens(server: tuple[str, int], folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)
    checked = 0
    for seed in range(40):
        body = post(server[0], {**ASK, "seed": seed, "return_token_ids": True, "logprobs": True}).json()
        choice = body["choices"][0]
        assert body["usage"]["completion_tokens"] == len(choice["token_ids"]) == len(choice["logprobs"]["content"])
        ids = [number for number in choice["token_ids"] if number > 1]
        parsed = Response.parse(tokenizer.decode(ids), prefilled="<think>\n")
        message = choice["message"]
        assert "think>" not in message["content"] + message["reasoning_content"]
        if parsed.thinking is not None and not re.search("<think>|answer>", parsed.text):
            assert (message["reasoning_content"], message["content"]) == (parsed.thinking, parsed.answer)
            checked += 1
    assert checked


def test_a_stop_string_is_cut_off(server: tuple[str, int]) -> None:
    said = whole(server[0])[0]
    word = said.split()[2]
    cut, _, finish = whole(server[0], stop=[word])
    assert (cut, finish) == (said.partition(word)[0].strip(), "stop")
    assert streamed(server[0], stop=[word]) == (cut, "", "stop")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"max_tokens": 10**6}, 400, "max_tokens"),
        ({"messages": []}, 400, "messages"),
        ({"tools": []}, 400, "tools"),
        ({"model": "gpt"}, 404, "model"),
        ({"top_logprobs": 5}, 400, "top_logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "file:///"}]}]}, 400, "content"),
    ],
)
def test_what_is_not_served_is_refused_with_its_field(
    server: tuple[str, int], change: dict[str, Any], status: int, field: str
) -> None:
    reply = post(server[0], {**ASK, **change})
    assert reply.status_code == status
    error = reply.json()["error"]
    assert field in f"{error['param']} {error['message']}"


def test_abuse_is_answered_and_the_process_stays_up(server: tuple[str, int]) -> None:
    url, pid = server
    before = resident_mib(pid)
    assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 401
    assert post(url, Authorization="Bearer wrong").status_code == 401
    assert httpx.get(f"{url}/v1/models").status_code == 401
    assert httpx.get(f"{url}/docs").status_code == 401
    assert post(url, Host="evil.example").status_code == 403
    assert post(url, {**ASK, "user": "x" * 2**21}).status_code == 413
    assert post(url, {**ASK, "max_tokens": 10**6}).status_code == 400
    port = int(url.rpartition(":")[2])
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
    try:
        opened[-1].settimeout(10)
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 429")
    finally:
        for each in opened:
            each.close()
    slow = socket.create_connection(("127.0.0.1", port))
    slow.settimeout(1)
    began_s, gone = time.monotonic(), False
    while not gone and time.monotonic() - began_s < 60:
        try:
            slow.sendall(b"G" if time.monotonic() - began_s < 1 else b"")
            gone = slow.recv(10) == b""
        except TimeoutError:
            continue
    slow.close()
    assert gone
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert resident_mib(pid) - before < 50


def test_a_client_that_goes_away_frees_its_row_and_too_many_are_told_so(server: tuple[str, int]) -> None:
    url, _ = server
    before = httpx.get(f"{url}/health").json()["cancelled_rows"]
    body = {**ASK, "max_tokens": 3900, "n": 4, "stream": True, "temperature": 0}
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60) as first,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60) as second,
    ):
        lines = [first.iter_lines(), second.iter_lines()]  # one that is dropped closes its connection
        assert all(next(each) for each in lines)
        third = post(url)
    assert (third.status_code, third.headers.get("Retry-After")) == (429, "1")
    deadline_s = time.monotonic() + 20
    while (state := httpx.get(f"{url}/health").json())["rows"] and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert state["rows"] == 0
    assert state["cancelled_rows"] > before


def test_bad_starts_are_sentences(folder: Path, server: tuple[str, int], tmp_path: Path) -> None:
    port = server[0].rpartition(":")[2]
    bare = tmp_path / "bare"
    bare.mkdir()
    write_tokenizer(bare)
    create_model(bare, ARCHITECTURE, seed=0)
    for file in bare.glob("chat_template*"):
        file.unlink()
    config = bare / "tokenizer_config.json"
    config.write_text(re.sub(r'"chat_template": ".*?",?\n', "", config.read_text()))
    starts = [
        (command(folder, "--port", port), 3, "cannot be listened on"),
        (command(folder, "--host", "0.0.0.0", key=""), 2, "R1_API_KEY"),
        (command(bare), 2, "no chat template"),
    ]
    for process, code, words in starts:
        _, err = process.communicate(timeout=100)
        assert (process.returncode, words in err, "Traceback" in err) == (code, True, False), err


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
