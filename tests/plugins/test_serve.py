"""`r1 serve` as a process of its own: the API as the openai client sees it, and what it refuses."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from served import ASK, KEY, endless_model, post, serve, started
from tiny_model import ARCHITECTURE, write_tokenizer

from r1core.nn import create_model, load_lm
from r1core.types import Response


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return endless_model(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address, and its process id; it ends with 0 when it is told to stop."""
    process = serve(folder, "--rows", "4", "--queue", "4", "--max-tokens", "4000")
    yield started(process), process.pid
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


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


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 0},
    {"temperature": 1e-38, "max_tokens": 5},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_log_probs_are_the_models_own_however_it_is_sampled(
    server: tuple[str, int], folder: Path, settings: dict[str, Any]
) -> None:
    import torch

    module = load_lm(folder, dtype=torch.float32).eval()
    reply = post(server[0], {**ASK, "logprobs": True, "return_token_ids": True, **settings})
    assert reply.status_code == 200, reply.text
    choice, prompt = reply.json()["choices"][0], reply.json()["prompt_token_ids"]
    ids = torch.tensor([prompt + choice["token_ids"]])
    with torch.no_grad():
        logits = module(ids).logits[0, len(prompt) - 1 : -1]
    again = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).squeeze(1)
    told = torch.tensor([entry["logprob"] for entry in choice["logprobs"]["content"]])
    assert len(told) >= 3
    assert (again - told).abs().max() < 1e-3
    if "temperature" in settings and settings["temperature"] < 1e-5:
        assert choice["token_ids"] == logits.argmax(-1).tolist()


def test_r1_chat_talks_to_it(server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from r1_plugins.chat import chat

    monkeypatch.setenv("R1_API_KEY", KEY)
    options = ["--key-env", "R1_API_KEY", "--temperature", "0", "--max-new-tokens", "20"]
    shown = CliRunner().invoke(chat, [f"{server[0]}/v1", *options], input="w1 w2\n/quit\n", color=True)
    assert shown.exit_code == 0, shown.exception
    said, answer, _ = whole(server[0], temperature=0, max_tokens=20)
    assert said
    assert "".join(shown.output.replace("\x1b[2m", "").replace("\x1b[0m", "").split()).endswith(
        "".join(f"{said}{answer}>".split())
    )
    refused = CliRunner().invoke(chat, [f"{server[0]}/v1", "--once", "w1"])
    assert "a key is needed" in str(refused.exception)


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
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, 400, "chat_template_kwargs"),
        ({"add_generation_prompt": False}, 400, "add_generation_prompt"),
        ({"messages": [{"role": "user", "content": "w1", "tool_calls": [{"id": "1"}]}]}, 400, "tool_calls"),
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


def test_null_is_the_default_and_what_asks_for_nothing_is_taken(server: tuple[str, int]) -> None:
    nothing = dict.fromkeys(("temperature", "top_p", "n", "stream", "logprobs", "metadata", "stop", "stream_options"))
    neutral = {"frequency_penalty": 0, "presence_penalty": 0.0, "tools": [], "tool_choice": "none", "logit_bias": {}}
    neutral |= {"response_format": {"type": "text"}, "store": False, "parallel_tool_calls": True, "top_k": -1}
    history = [
        *ASK["messages"],
        {"role": "assistant", "content": "w3", "tool_calls": [], "function_call": None},
        {"role": "assistant", "content": "w3", "tool_calls": None},
        {"role": "user", "content": "w4"},
    ]
    reply = post(server[0], {**ASK, **nothing, **neutral, "messages": history})
    assert reply.status_code == 200, reply.text
    bare = [{"role": turn["role"], "content": turn["content"]} for turn in history]
    wanted = post(server[0], {**ASK, "messages": bare})
    assert reply.json()["choices"] == wanted.json()["choices"]


def test_a_model_is_found_by_its_name_with_its_length_and_what_is_not_there_is_openais_error(
    server: tuple[str, int],
) -> None:
    asking = client(server[0])
    model: Any = asking.models.retrieve("tiny")
    assert (model.id, model.max_model_len) == ("tiny", 4096)
    assert asking.models.list().data[0] == model
    with pytest.raises(openai.NotFoundError) as other:
        asking.models.retrieve("org/other")
    assert (other.value.code, other.value.param) == ("model_not_found", "model")
    headers = {"Authorization": f"Bearer {KEY}"}
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405)):
        reply = httpx.request(method, f"{server[0]}{path}", headers=headers)
        error = reply.json()["error"]
        assert (reply.status_code, error["type"]) == (status, "invalid_request_error")
        assert path in error["message"]


def said_to_slow_clients(port: int) -> tuple[bytes, bytes]:
    """What comes to a client whose header has no end, and to one whose body drips."""
    length = f"Authorization: Bearer {KEY}\r\nContent-Length: 900\r\n\r\n{{"
    starts = {"header": "G", "body": f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}"}

    def said(start: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as slow:
            slow.sendall(start.encode())
            began_s = time.monotonic()
            while time.monotonic() - began_s < 60:
                try:
                    if start != "G":
                        slow.sendall(b" ")
                    return slow.recv(4096)
                except TimeoutError:
                    continue
        raise AssertionError(f"nothing came after {start!r}")

    with ThreadPoolExecutor(2) as pool:
        header, body = pool.map(said, starts.values())
    return header, body


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
    header, body = said_to_slow_clients(port)
    assert header == b""  # no whole request came: the connection is closed
    assert body.startswith(b"HTTP/1.1 408")
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
        (serve(folder, "--port", port), 3, "cannot be listened on"),
        (serve(folder, "--host", "0.0.0.0", key=""), 2, "R1_API_KEY"),
        (serve(bare), 2, "no chat template"),
    ]
    for process, code, words in starts:
        _, err = process.communicate(timeout=100)
        assert (process.returncode, words in err, "Traceback" in err) == (code, True, False), err


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
