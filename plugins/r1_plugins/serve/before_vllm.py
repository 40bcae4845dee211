"""What stands before vLLM's own server, in its process: the key, the limits of `r1 serve`, the reasoning by both names.

vLLM has no limit on what waits, on the time of a request or on its body, and says `reasoning` alone. Its parser, its
batches and its other routes are its own.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from r1_plugins.serve.guard import Guard, Receive, Scope, Send, answer, read_body
from r1_plugins.serve.settings import KEY, Settings
from r1_plugins.serve.wire import TOOK_TOO_LONG, Refused, queue_is_full, too_long

LIMITS = "R1_SERVE_LIMITS"
"""The variable that carries them into vLLM's process: a middleware is given the application and nothing else."""
ENDING_S = 5.0
"""How long vLLM may take to give up what nobody waits for any more."""
_ASKED = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Those that are kept here; vLLM keeps the others by its own options."""

    is_loopback: bool
    max_tokens: int
    most_asked: int
    """Answers that are written or wait."""
    timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits of a server of ours."""
        return cls(
            is_loopback=settings.is_loopback,
            max_tokens=settings.max_tokens,
            most_asked=settings.rows + settings.queue,
            timeout_s=settings.timeout_s,
        )

    def said(self) -> str:
        """As the variable carries them."""
        return json.dumps(asdict(self))


class BeforeVllm(Guard):
    """The whole middleware."""

    def __init__(self, app: Any) -> None:
        limits = Limits(**json.loads(os.environ[LIMITS]))
        super().__init__(_Limited(app, limits), key=os.environ[KEY], is_loopback=limits.is_loopback)


class _Limited:
    """ASGI: passes a request on that is within the limits, and ends it when its time is over."""

    def __init__(self, app: Any, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._asked_for = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive)
            count = self._within(body)
        except Refused as refused:
            await answer(send, refused)
            return
        self._asked_for += count
        try:
            await self._pass_on(scope, _Request(body, receive), _Reply(send))
        finally:
            self._asked_for -= count

    def _within(self, body: bytes) -> int:
        """How many answers are asked for. Raises Refused; what is no request, vLLM will say better."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            asked = {}
        for field in _ASKED:
            wanted = asked.get(field)
            if isinstance(wanted, int) and wanted > self._limits.max_tokens:
                raise too_long(field, wanted, self._limits.max_tokens)
        count = asked.get("n")
        count = max(1, count) if isinstance(count, int) else 1
        if self._asked_for + count > self._limits.most_asked:
            raise queue_is_full()
        return count

    async def _pass_on(self, scope: Scope, request: _Request, reply: _Reply) -> None:
        work = asyncio.ensure_future(self._app(scope, request.receive, reply.send))
        try:
            done, _ = await asyncio.wait({work}, timeout=self._limits.timeout_s)
            if done:
                work.result()
                return
            reply.is_over = True
            request.leave()
            await asyncio.wait({work}, timeout=ENDING_S)
            await reply.end(Refused(*TOOK_TOO_LONG))
        finally:
            request.leave()
            work.cancel()


class _Request:
    """What the application hears: the body, and then that the client has gone, which ends its work."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Tell the application that nobody waits any more."""
        self._left.set()

    async def receive(self) -> Scope:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        heard, left = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({heard, left}, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else {"type": "http.disconnect"}
        finally:
            heard.cancel()
            left.cancel()


class _Reply:
    """What the application says, sent on with the reasoning by both names."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Scope | None = None
        self._kind = ""
        self._kept = b""
        self._has_started = False
        self.is_over = False
        """Whether what the application still says is of no use."""

    async def send(self, message: Scope) -> None:
        if self.is_over:
            return
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._kind == "application/json":
            await self._keep(message)
        elif message["type"] == "http.response.body" and self._kind == "text/event-stream":
            await self._send({**message, "body": self._events(message)})
        else:
            await self._send(message)

    async def end(self, refused: Refused) -> None:
        """The rest of it: an error."""
        if not self._has_started:
            await answer(self._send, refused)
        elif self._kind == "text/event-stream":
            said = f"data: {json.dumps(refused.body())}\n\ndata: [DONE]\n\n"
            await self._send({"type": "http.response.body", "body": said.encode()})

    async def _begin(self, message: Scope) -> None:
        headers = {name.lower(): value for name, value in message["headers"]}
        self._kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if self._kind == "application/json":
            self._start = message  # its length will be another
        else:
            await self._out(message)

    async def _out(self, message: Scope) -> None:
        self._has_started = True
        await self._send(message)

    async def _keep(self, message: Scope) -> None:
        self._kept += message.get("body", b"")
        if message.get("more_body", False) or self._start is None:
            return
        body, start = _by_both_names(self._kept), self._start
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await self._out({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({**message, "body": body})

    def _events(self, message: Scope) -> bytes:
        """Those that are whole by now; all that there is, at the end."""
        *whole, self._kept = (self._kept + message.get("body", b"")).split(b"\n\n")
        said = b"".join(_in_event(event) + b"\n\n" for event in whole)
        if not message.get("more_body", False):
            said, self._kept = said + self._kept, b""
        return said


def _in_event(event: bytes) -> bytes:
    mark = b"data: "
    return mark + _by_both_names(event[len(mark) :]) if event.startswith(mark) else event


def _by_both_names(said: bytes) -> bytes:
    """The same answer, or part of one; what is none stays as it is."""
    if b'"reasoning"' not in said:
        return said
    try:
        body = json.loads(said)
    except ValueError:
        return said
    choices = body.get("choices") if isinstance(body, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        for part in (choice.get("message"), choice.get("delta")):
            if part is not None and "reasoning" in part:
                part["reasoning_content"] = part["reasoning"]
    return json.dumps(body, ensure_ascii=False).encode()
