"""The routes. Thinking stands in `reasoning_content` and in `reasoning`, both the same, beside `content`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from r1_plugins.serve.engine import Delta, Engine, Job
from r1_plugins.serve.guard import read_body
from r1_plugins.serve.wire import TOOK_TOO_LONG, Refused, no_model, read

FAILED = {
    "timeout": TOOK_TOO_LONG,
    "closing": (503, "the server was stopped before the answer was whole"),
    "error": (500, "the engine failed before the answer was whole"),
    "no_number": (500, "the model gives probabilities that are no numbers: its weights are broken"),
}


def build(engine: Engine) -> FastAPI:
    """The application, without pages of documentation."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    settings, started = engine.settings, int(time.time())

    async def refuse(request: Request, refused: Any) -> Response:
        again = {"Retry-After": "1"} if refused.comes_again else {}
        return JSONResponse(refused.body(), status_code=refused.status, headers=again)

    async def no_route(request: Request, error: Any) -> Response:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(Refused(error.status_code, what).body(), error.status_code, headers=error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        return JSONResponse(Refused(500, f"the server failed: {type(error).__name__}").body(), 500)

    async def health(request: Request) -> Response:
        status = "ok" if engine.healthy else "stopped"
        work = {"rows": engine.rows, "cancelled_rows": engine.cancelled_rows, "stopped_rows": engine.stopped_rows}
        return JSONResponse({"status": status, **work}, 200 if engine.healthy else 503)

    model = {"id": settings.name, "object": "model", "created": started, "owned_by": "r1core"}
    if engine.context is not None:
        model["max_model_len"] = engine.context  # as vLLM says it

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model]})

    async def one_model(request: Request) -> Response:
        if request.path_params["name"] != settings.name:
            raise no_model(request.path_params["name"], settings.name)
        return JSONResponse(model)

    async def chat(request: Request) -> Response:
        asked = read(await read_body(request.receive), model=settings.name, max_tokens=settings.max_tokens)
        job = await engine.ask(asked)
        if asked.stream:
            return StreamingResponse(_stream(engine, job), media_type="text/event-stream")
        work, gone = asyncio.ensure_future(_whole(engine, job)), asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            return JSONResponse(work.result()) if work.done() else Response(status_code=499)
        finally:
            engine.cancel(job)
            for task in (work, gone):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Refused):
                    await task

    app.add_exception_handler(Refused, refuse)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(Exception, broken)
    app.add_api_route("/health", health, methods=["GET"], response_model=None)
    app.add_api_route("/v1/models", models, methods=["GET"], response_model=None)
    app.add_api_route("/v1/models/{name:path}", one_model, methods=["GET"], response_model=None)
    app.add_api_route("/v1/chat/completions", chat, methods=["POST"], response_model=None)
    return app


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _deltas(job: Job) -> AsyncIterator[Delta]:
    """Until every choice is finished. Raises Refused for one that failed."""
    left = job.asked.n
    while left:
        delta = await job.out.get()
        if delta.finish in FAILED:
            raise Refused(*FAILED[delta.finish])
        left -= delta.finish is not None
        yield delta


def _head(engine: Engine, kind: str) -> dict[str, Any]:
    number = f"chatcmpl-{secrets.token_hex(12)}"
    return {"id": number, "object": kind, "created": int(time.time()), "model": engine.settings.name}


def _logprobs(engine: Engine, ids: list[int], values: list[float]) -> dict[str, Any]:
    entries = []
    for number, value in zip(ids, values, strict=True):
        spelled = engine.spelled(number)
        token = spelled.decode("utf-8", "replace")
        entries.append({"token": token, "logprob": value, "bytes": list(spelled), "top_logprobs": []})
    return {"content": entries, "refusal": None}


class _Usage:
    def __init__(self, job: Job) -> None:
        self.prompt, self.completion, self.reasoning = len(job.request.prompt_ids), 0, 0

    def add(self, delta: Delta) -> None:
        self.completion += len(delta.ids)
        self.reasoning += delta.reasoning

    def told(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


async def _whole(engine: Engine, job: Job) -> dict[str, Any]:
    usage = _Usage(job)
    kept: list[dict[str, Any]] = [
        {"said": "", "answer": "", "ids": [], "logprobs": [], "finish": ""} for _ in range(job.asked.n)
    ]
    async for delta in _deltas(job):
        usage.add(delta)
        mine = kept[delta.choice]
        for thinking, piece in delta.pieces:
            mine["said" if thinking else "answer"] += piece
        mine["ids"] += delta.ids
        mine["logprobs"] += delta.logprobs
        mine["finish"] = delta.finish
    body = _head(engine, "chat.completion")
    body["choices"] = [_choice(engine, job, index, mine) for index, mine in enumerate(kept)]
    body["usage"] = usage.told()
    if job.asked.return_token_ids:
        body["prompt_token_ids"] = job.request.prompt_ids.tolist()
    return body


def _choice(engine: Engine, job: Job, index: int, mine: dict[str, Any]) -> dict[str, Any]:
    said = mine["said"]
    choice: dict[str, Any] = {
        "index": index,
        "message": {"role": "assistant", "content": mine["answer"], "reasoning_content": said, "reasoning": said},
        "logprobs": _logprobs(engine, mine["ids"], mine["logprobs"]) if job.asked.logprobs else None,
        "finish_reason": mine["finish"],
    }
    if job.asked.return_token_ids:
        choice["token_ids"] = mine["ids"]
    return choice


async def _stream(engine: Engine, job: Job) -> AsyncIterator[str]:
    asked, usage = job.asked, _Usage(job)
    counts = asked.stream_options is not None and asked.stream_options.include_usage
    head = {**_head(engine, "chat.completion.chunk"), **({"usage": None} if counts else {})}
    first: dict[str, Any] = {"prompt_token_ids": job.request.prompt_ids.tolist()} if asked.return_token_ids else {}
    try:
        for index in range(asked.n):
            choice = {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            yield _event({**head, **first, "choices": [choice]})
        async for delta in _deltas(job):
            usage.add(delta)
            for choice in _chunks(engine, job, delta):
                yield _event({**head, "choices": [choice]})
        if counts:
            yield _event({**head, "choices": [], "usage": usage.told()})
        yield "data: [DONE]\n\n"
    except Refused as refused:
        yield _event(refused.body())
        yield "data: [DONE]\n\n"
    finally:
        engine.cancel(job)


def _chunks(engine: Engine, job: Job, delta: Delta) -> list[dict[str, Any]]:
    """One chunk for each piece; the ids go with the last, and so does the end."""
    texts = [
        {"reasoning_content": piece, "reasoning": piece} if thinking else {"content": piece}
        for thinking, piece in delta.pieces
    ]
    reads_ids = job.asked.logprobs or job.asked.return_token_ids
    if not texts and (delta.finish or reads_ids):
        texts = [{}]
    chunks: list[dict[str, Any]] = [{"index": delta.choice, "delta": text, "finish_reason": None} for text in texts]
    if chunks:
        chunks[-1]["finish_reason"] = delta.finish
        if job.asked.logprobs:
            chunks[-1]["logprobs"] = _logprobs(engine, delta.ids, delta.logprobs)
        if job.asked.return_token_ids:
            chunks[-1]["token_ids"] = delta.ids
    return chunks


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False, allow_nan=False)}\n\n"
