"""What the engine of `r1 serve` does when the model fails: who waits is told, and the next are served or refused."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from served import endless_model

from r1_plugins.serve.app import build
from r1_plugins.serve.engine import TRIES, Engine, Job
from r1_plugins.serve.settings import Settings
from r1_plugins.serve.wire import Asked, Refused
from r1core.nn import ChatText, LiveDecoder
from r1core.nn.forward import Forward

ASKED = Asked.model_validate({"model": "tiny", "messages": [{"role": "user", "content": "w1"}], "max_tokens": 5})
STOPPED = "the engine has stopped"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return endless_model(tmp_path_factory.mktemp("failures"))


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    made = Engine(
        Settings(folder=folder, host="127.0.0.1", port=0, name="tiny", max_tokens=100, rows=2, queue=8, timeout_s=60)
    )
    yield made
    made.close()


def failing(monkeypatch: pytest.MonkeyPatch, method: str, times: int) -> list[str]:
    """Let the decoder's `method` raise so often; what fired is in the list."""
    real: Callable[..., Any] = getattr(LiveDecoder, method)
    fired: list[str] = []

    def broken(self: LiveDecoder, *arguments: Any) -> Any:
        if len(fired) < times:
            fired.append(method)
            raise MemoryError("no room for it")
        return real(self, *arguments)

    monkeypatch.setattr(LiveDecoder, method, broken)
    return fired


async def ends(engine: Engine, count: int) -> list[str]:
    """How each of so many requests ended, asked one right after the other; nobody waits longer than this."""

    async def ask() -> Job | str:
        try:
            return await engine.ask(ASKED)
        except Refused as refused:  # an engine may be given up between two of them
            return str(refused)

    async def end(job: Job | str) -> str:
        if isinstance(job, str):
            return job
        while (delta := await job.out.get()).finish is None:
            pass
        return str(delta.finish)

    jobs = [await ask() for _ in range(count)]
    return await asyncio.wait_for(asyncio.gather(*map(end, jobs)), timeout=60)


@pytest.mark.parametrize("method", ["step", "add"])
def test_a_failure_ends_those_under_way_and_the_next_are_served(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    fired = failing(monkeypatch, method, times=1)
    found = asyncio.run(ends(engine, 3))
    assert fired == [method]
    assert "error" in found
    assert set(asyncio.run(ends(engine, 3))) <= {"stop", "length"}
    assert engine.healthy
    assert "no room for it" in capsys.readouterr().err


def test_one_that_fails_again_and_again_is_given_up_and_says_so_to_all(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "step", times=10**6)
    found: list[str] = []
    for _ in range(TRIES):
        found += asyncio.run(ends(engine, 4))
    assert found[0] == "error"
    assert set(found) <= {"error", STOPPED}
    engine._thread.join(timeout=60)
    assert not engine.healthy
    assert engine.failed == "MemoryError: no room for it"
    assert asyncio.run(ends(engine, 1)) == [STOPPED]
    assert engine._asked_for == 0


def test_a_model_whose_numbers_are_broken_is_an_error_in_json_streamed_or_not(engine: Engine) -> None:
    with torch.no_grad():
        next(engine.module.parameters()).fill_(float("nan"))
    guarded = httpx.ASGITransport(app=build(engine))

    async def said(stream: bool) -> str:
        body = {**ASKED.model_dump(include={"model", "messages"}), "logprobs": True, "stream": stream}
        async with httpx.AsyncClient(transport=guarded, base_url="http://127.0.0.1") as client:
            return (await client.post("/v1/chat/completions", json=body, timeout=60)).text

    whole, streamed = asyncio.run(said(False)), asyncio.run(said(True))
    lines = [line.removeprefix("data: ") for line in streamed.splitlines() if line]
    assert "no numbers" in json.loads(whole)["error"]["message"]
    assert lines[-1] == "[DONE]"
    assert "no numbers" in json.loads(lines[-2])["error"]["message"]
    assert engine.healthy


def test_while_a_prompt_is_read_the_streams_of_others_go_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real, gate, opened = ChatText.prompt_ids, threading.Event(), []

    def slow(self: ChatText, messages: Any) -> Any:
        opened.append(gate.wait(timeout=20))
        return real(self, messages)

    async def both() -> str | None:
        monkeypatch.setattr(ChatText, "prompt_ids", slow)
        waiting = asyncio.create_task(engine.ask(ASKED))
        await asyncio.sleep(0.05)
        gate.set()  # only a loop that is free comes here before the time is over
        job = await waiting
        while (delta := await job.out.get()).finish is None:
            pass
        return delta.finish

    assert asyncio.run(both()) in ("stop", "length")
    assert opened == [True]


def test_a_prompt_without_memory_for_it_is_lost_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, fired = Forward.__call__, []

    def small(self: Forward, ids: Any, lengths: Any, cache: Any) -> Any:
        if ids.shape[1] > 100:
            fired.append(ids.shape[1])
            raise MemoryError("no room for it")
        return real(self, ids, lengths, cache)

    async def end(job: Job) -> str | None:
        while (delta := await job.out.get()).finish is None:
            pass
        return delta.finish

    async def both() -> list[str | None]:
        words = {"model": "tiny", "messages": [{"role": "user", "content": "w1 " * 200}], "max_tokens": 5}
        greedy = {"temperature": 0, "max_tokens": 60}
        long, short = Asked.model_validate(words), ASKED.model_copy(update=greedy)
        jobs = [await engine.ask(short), await engine.ask(long)]
        return await asyncio.wait_for(asyncio.gather(*map(end, jobs)), timeout=60)

    monkeypatch.setattr(Forward, "__call__", small)
    assert asyncio.run(both()) == ["length", "error"]
    assert len(fired) == 1
    assert "a prompt could not be computed: MemoryError: no room for it" in capsys.readouterr().err
    assert engine.healthy
    engine.close()  # a request is counted out after its last token
    assert engine._asked_for == 0
