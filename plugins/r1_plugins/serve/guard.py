"""What stands before every route: the Host, the key, the size of the body; and connections that come to nothing.

A page in a browser can be made to ask a server on loopback under its own name (DNS rebinding), so on loopback the Host
must be loopback's. The key is compared in constant time, on every route but /health.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from r1_plugins.serve.settings import LOOPBACK
from r1_plugins.serve.wire import Refused

BODY_BYTES = 2**20
HEADER_S, BODY_S, STALLED_S = 10.0, 10.0, 30.0
MOST_CONNECTIONS = 512
POLICY = 1008
"""How a web socket is closed that is not wanted."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class Guard:
    """ASGI: lets a request through to `app`, or answers it."""

    def __init__(self, app: Any, *, key: str, is_loopback: bool) -> None:
        self.app = app
        self.key = key
        self.is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what is neither HTTP nor a web socket passes."""
        if scope["type"] in ("http", "websocket"):
            headers = {name.lower(): value for name, value in scope["headers"]}
            try:
                self._check(scope["path"], headers)
            except Refused as refused:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": POLICY})
                else:
                    await answer(send, refused)
                return
        await self.app(scope, receive, send)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self.is_loopback:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
            if name.lower() not in LOOPBACK:
                raise Refused(403, f"Host {name!r} is not this machine's loopback")
        if self.key and path != "/health":
            given = headers.get(b"authorization", b"").strip()
            wanted = f"Bearer {self.key}".encode()
            if not hmac.compare_digest(given, wanted):
                raise Refused(401, "a key is needed: Authorization: Bearer ...", code="invalid_api_key")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            raise _too_large()


async def read_body(receive: Receive) -> bytes:
    """The body. Raises Refused: 413 too large, 408 too slow."""
    content, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the client has gone")
                content += message.get("body", b"")
                more = message.get("more_body", False)
                if len(content) > BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise Refused(408, f"the body did not come within {BODY_S:g} s") from None
    return bytes(content)


def _too_large() -> Refused:
    return Refused(413, f"the body is larger than {BODY_BYTES} bytes")


async def answer(send: Send, refused: Refused) -> None:
    """Say why there is no answer."""
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.comes_again:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(refused.body()).encode()})


class Connection(H11Protocol):
    """Closes what sends no whole header in time, what stops reading, and what comes when there are too many."""

    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    """Its own: a client that sends and never reads has stalled, too."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(
                b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            transport.close()
            return
        self._start(HEADER_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._timer is None:
            self._start(HEADER_S, self.transport.close)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._stop()
        self._reads_again()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by the event loop when the client does not read."""
        super().pause_writing()
        self._reads_again()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Called by the event loop."""
        super().resume_writing()
        self._reads_again()

    def _reads_again(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _start(self, seconds: float, call: Callable[[], None]) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, call)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
