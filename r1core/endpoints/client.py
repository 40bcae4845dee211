"""A JSON POST that keeps what the options promise: time-outs, a cap on the reply, no redirects, retries, one typed end.

    async with Client(endpoint) as client:
        reply = await client.post("/chat/completions", body)

Tried again, with jitter, until `give_up_s`: connection errors, time-outs, 408, 429 and 5xx. A `Retry-After` holds
back the call that was told, since one busy machine of several may have said it; when five in a row are told so, it
holds back all calls of the client. The host's addresses are checked whenever one is connected to.
"""

from __future__ import annotations

import asyncio
import email.utils
import importlib.util
import json
import logging
import random
import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, Self, TypeAlias

from r1core.endpoints.failures import BadReply, Declined, EndpointError, GaveUp
from r1core.endpoints.options import Endpoint
from r1core.endpoints.refusals import fix_of
from r1core.errors import RefusedError, SetupError
from r1core.untrusted import untrusted

if TYPE_CHECKING:
    import httpx

PACKAGES = ("httpx", "stamina")
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses that may be others in a moment; 52x and 529 are those of proxies and of overloaded model servers."""
TOO_MANY = 429
NOT_BEGUN = frozenset({425, 503, 529})
"""Statuses by which a server says that it has not begun the work."""
TOLD_IN_A_ROW = 5
DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
WAIT_FIRST_S, WAIT_MOST_S, JITTER_S = 0.2, 15.0, 0.5
SPREAD_S = 0.05
"""Calls that were all held back do not all come in one instant."""
SHOWN = 200
"""Characters of a server's complaint that are passed on."""


End: TypeAlias = Literal["answered", "busy", "failed", "lost"]
"""How an attempt ended: the server said yes or no to the request; that it is too busy (429); it has done nothing;
nothing came back, although it may have done the work, and bill it."""


class Gate(Protocol):
    """Passed by every attempt of a call: a breaker, a cap on calls."""

    async def enter(self) -> None:
        """Before an attempt. What it raises ends the call."""
        ...

    def left(self, end: End) -> None:
        """After an attempt that `enter` let through."""
        ...


class _Open:
    async def enter(self) -> None: ...

    def left(self, end: End) -> None: ...


class Transient(Exception):
    """An attempt that may be made again. `after_s`: the server's own word on when, None where it said nothing."""

    def __init__(self, what: str, *, status: int = 0, after_s: float | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.after_s = after_s


def lacking() -> list[str]:
    """Which of the packages that calls need are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


class Client:
    """Calls to one endpoint, as many at once as whoever uses it makes. Enter and use it in one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._told_until_s = 0.0
        self._told_in_a_row = 0
        self._not_before_s = 0.0
        """The longest wait that any call was told; how many were in a row; and until when all calls wait."""

    @property
    def held_s(self) -> float:
        """The longest that the server has asked a call to wait, seconds from now."""
        return max(0.0, self._told_until_s - time.monotonic())

    async def __aenter__(self) -> Self:
        """Raises SetupError where the key or a package is missing."""
        if lacking():
            raise SetupError(
                f"{' and '.join(lacking())} not installed",
                where=self.endpoint.origin,
                fix="pip install 'r1core[judge]'",
            )
        import httpx

        from r1core.endpoints.transport import CheckedTransport

        logging.getLogger("stamina").addHandler(logging.NullHandler())  # else each retry prints a line without content
        self._key = self.endpoint.key.reveal() if self.endpoint.key is not None else ""
        self._http = httpx.AsyncClient(
            transport=CheckedTransport(self.endpoint),
            timeout=httpx.Timeout(self.endpoint.timeout_s),
            follow_redirects=False,
            trust_env=False,  # no proxy that nobody checked, no password out of a .netrc
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: Mapping[str, Any], *, once: bool = False, gate: Gate | None = None) -> Any:
        """What the server says, JSON. Raises EndpointError, RefusedError for an address, and what the gate raises.
        With `once` nothing is tried again: a look whether the server is there."""
        return await self._call(path, body, once=once, gate=gate)

    async def get(self, path: str) -> Any:
        """What the server says, JSON; nothing is tried again. Raises as `post` does."""
        return await self._call(path, None, once=True, gate=None)

    async def _call(self, path: str, body: Mapping[str, Any] | None, *, once: bool, gate: Gate | None) -> Any:
        import stamina

        gate = gate if gate is not None else _Open()
        started = time.monotonic()

        def again(error: Exception) -> bool | float:
            if not isinstance(error, Transient) or error.after_s is None:
                return isinstance(error, Transient)
            left_s = self.endpoint.give_up_s - (time.monotonic() - started)
            jitter_s = random.uniform(0, min(JITTER_S, error.after_s / 5))
            return error.after_s + jitter_s if error.after_s < left_s else False

        retries = stamina.retry_context(
            on=again,
            attempts=1 if once else None,
            timeout=self.endpoint.give_up_s,
            wait_initial=WAIT_FIRST_S,
            wait_max=WAIT_MOST_S,
            wait_jitter=JITTER_S,
        )
        tried = 0
        try:
            async for attempt in retries:
                with attempt:
                    tried += 1
                    return await self._attempt(path, body, gate)
        except Transient as error:
            raise GaveUp.told(
                f"no answer after {tried} attempt{'s' if tried > 1 else ''}, the last: {error}",
                where=self._url(path),
                fix="start the server, or raise give_up_s; the same command goes on",
                status=error.status,
            ) from None
        raise AssertionError("a call ends in a reply or an error")

    async def _attempt(self, path: str, body: Mapping[str, Any] | None, gate: Gate) -> Any:
        import httpx

        await self._held_back()
        await gate.enter()
        end: End = "lost"
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                status, headers, content = await self._exchange(path, body)
            end = _end(status)
        except TimeoutError:
            raise Transient(f"nothing whole within {self.endpoint.timeout_s:g} s") from None
        except httpx.TransportError as error:
            end = "failed" if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else "lost"
            raise Transient(f"{type(error).__name__}: {self._clean(str(error))}") from None
        except EndpointError:
            end = "answered"
            raise
        except RefusedError:
            end = "failed"
            raise
        finally:
            gate.left(end)
        return self._reply(path, status, headers, content)

    async def _held_back(self) -> None:
        while (wait_s := self._not_before_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s + random.uniform(0, SPREAD_S))

    async def _exchange(self, path: str, body: Mapping[str, Any] | None) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and content, no more of it than may be read."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers["Accept-Encoding"] = "identity"  # of what is packed nobody knows the size
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url, content = self._url(path), bytearray()
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body, allow_nan=False).encode())
        async with self._http.stream(method, url, content=sent, headers=headers) as reply:
            async for block in reply.aiter_raw():
                content += block
                if len(content) > self.endpoint.max_reply_kib * 1024:
                    self._bad(path, f"a reply of more than {self.endpoint.max_reply_kib} KiB")
            return reply.status_code, reply.headers, bytes(content)

    def _url(self, path: str) -> str:
        return self.endpoint.url.rstrip("/") + path

    def _reply(self, path: str, status: int, headers: httpx.Headers, content: bytes) -> Any:
        if status in TRANSIENT:
            after_s = _retry_after(headers.get("Retry-After", ""))
            if after_s is not None:
                self._told(min(after_s, self.endpoint.give_up_s))
            raise Transient(f"HTTP {status}", status=status, after_s=after_s)
        self._told_in_a_row = 0
        if not 200 <= status < 300:
            said = self._clean(content.decode("utf-8", "replace"))
            elsewhere = self._clean(headers.get("Location", ""))
            raise Declined.told(
                f"HTTP {status}, " + (f"a redirect to {elsewhere}" if elsewhere else said or "nothing said"),
                where=self._url(path),
                fix="redirects are not followed; name the server itself"
                if elsewhere
                else fix_of(self.endpoint, status, content),
                status=status,
            )
        try:
            return json.loads(content, parse_constant=_no_number)
        except (ValueError, RecursionError):
            self._bad(path, f"no JSON: {self._clean(content.decode('utf-8', 'replace')) or 'nothing'}")

    def _told(self, after_s: float) -> None:
        """A call is asked to wait; so are all others when no other answer comes."""
        until_s = time.monotonic() + after_s
        self._told_until_s = max(self._told_until_s, until_s)
        self._told_in_a_row += 1
        if self._told_in_a_row >= TOLD_IN_A_ROW:
            self._not_before_s = max(self._not_before_s, until_s)

    def _bad(self, path: str, what: str) -> NoReturn:
        where = self._url(path)
        raise BadReply.told(f"the server sent {what}", where=where, fix="look at the server", status=200)

    def _clean(self, text: str) -> str:
        """What a server wrote, as it may be shown; one that sends the key back does not get it into a log."""
        hidden = text.replace(self._key, "[key]") if self._key else text
        return untrusted(" ".join(hidden.split()))[:SHOWN]


def ask(endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> Any:
    """One call, from where there is no event loop. Raises as `Client.post` does."""

    async def once() -> Any:
        async with Client(endpoint) as client:
            return await client.post(path, body)

    return asyncio.run(once())


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _end(status: int) -> End:
    if status == TOO_MANY:
        return "busy"
    if status in NOT_BEGUN:
        return "failed"
    return "lost" if status in TRANSIENT else "answered"


def _retry_after(value: str) -> float | None:
    """Seconds from now: of both forms that HTTP knows, and with the decimals that some servers add."""
    if DECIMAL.fullmatch(value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError, OSError):
        return None
