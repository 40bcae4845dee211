"""A JSON POST that keeps what the options promise: time-outs, a cap on the reply, no redirects, retries, one typed end.

    async with Client(endpoint) as client:
        reply = await client.post("/chat/completions", body)

Tried again, with jitter, until `give_up_s`: connection errors, time-outs, 408, 429 and 5xx. A `Retry-After` holds
back all calls of the client, not the one that was told. The host's addresses are checked whenever one is connected to.
"""

from __future__ import annotations

import asyncio
import email.utils
import importlib.util
import json
import logging
import random
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from r1core.endpoints.failures import BadReply, Declined, EndpointError, GaveUp
from r1core.endpoints.options import Endpoint
from r1core.errors import SetupError
from r1core.untrusted import untrusted

if TYPE_CHECKING:
    import httpx

PACKAGES = ("httpx", "stamina")
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses that may be others in a moment; 52x and 529 are those of proxies and of overloaded model servers."""
TOO_MANY = 429
WAIT_FIRST_S, WAIT_MOST_S, JITTER_S = 0.2, 15.0, 0.5
SPREAD_S = 0.05
"""Calls that were all held back do not all come in one instant."""
SHOWN = 200
"""Characters of a server's complaint that are passed on."""


class Gate(Protocol):
    """Passed by every attempt: a breaker, a cap on calls."""

    async def enter(self) -> None:
        """Before an attempt. What it raises ends the call."""
        ...

    def left(self, *, ok: bool) -> None:
        """After an attempt; `ok` when the server is there: whatever it said of the request, "later" (429) included."""
        ...


class _Open:
    async def enter(self) -> None: ...

    def left(self, *, ok: bool) -> None: ...


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

    def __init__(self, endpoint: Endpoint, *, gate: Gate | None = None) -> None:
        self.endpoint = endpoint
        self._gate = gate if gate is not None else _Open()
        self._not_before_s = 0.0

    @property
    def held_s(self) -> float:
        """How long the server has asked to be left alone, seconds from now."""
        return max(0.0, self._not_before_s - time.monotonic())

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

    async def post(self, path: str, body: Mapping[str, Any], *, once: bool = False) -> Any:
        """What the server says, JSON. Raises EndpointError, RefusedError for an address, and what the gate raises.
        With `once` nothing is tried again: a look whether the server is there."""
        import stamina

        started = time.monotonic()

        def again(error: Exception) -> bool | float:
            if not isinstance(error, Transient) or error.after_s is None:
                return isinstance(error, Transient)
            left_s = self.endpoint.give_up_s - (time.monotonic() - started)
            return error.after_s + random.uniform(0, JITTER_S) if error.after_s < left_s else False

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
                    return await self._attempt(path, body)
        except Transient as error:
            raise GaveUp.told(
                f"no answer after {tried} attempt{'s' if tried > 1 else ''}, the last: {error}",
                where=self.endpoint.origin + path,
                fix="start the server, or raise give_up_s; the same command goes on",
                status=error.status,
            ) from None
        raise AssertionError("a call ends in a reply or an error")

    async def _attempt(self, path: str, body: Mapping[str, Any]) -> Any:
        import httpx

        await self._held_back()
        await self._gate.enter()
        ok = False
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                status, headers, content = await self._exchange(path, body)
            ok = status not in TRANSIENT or status == TOO_MANY
        except TimeoutError:
            raise Transient(f"nothing whole within {self.endpoint.timeout_s:g} s") from None
        except httpx.TransportError as error:
            raise Transient(f"{type(error).__name__}: {self._clean(str(error))}") from None
        except EndpointError:
            ok = True
            raise
        finally:
            self._gate.left(ok=ok)
        return self._reply(path, status, headers, content)

    async def _held_back(self) -> None:
        while (wait_s := self._not_before_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s + random.uniform(0, SPREAD_S))

    async def _exchange(self, path: str, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and content, no more of it than may be read."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers["Accept-Encoding"] = "identity"  # of what is packed nobody knows the size
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url, sent, content = self.endpoint.url.rstrip("/") + path, json.dumps(body, allow_nan=False), bytearray()
        async with self._http.stream("POST", url, content=sent.encode(), headers=headers) as reply:
            async for block in reply.aiter_raw():
                content += block
                if len(content) > self.endpoint.max_reply_kib * 1024:
                    self._bad(path, f"a reply of more than {self.endpoint.max_reply_kib} KiB")
            return reply.status_code, reply.headers, bytes(content)

    def _reply(self, path: str, status: int, headers: httpx.Headers, content: bytes) -> Any:
        if status in TRANSIENT:
            after_s = _retry_after(headers.get("Retry-After", ""))
            if after_s is not None:
                longest = min(after_s, self.endpoint.give_up_s)
                self._not_before_s = max(self._not_before_s, time.monotonic() + longest)
            raise Transient(f"HTTP {status}", status=status, after_s=after_s)
        if not 200 <= status < 300:
            said = self._clean(content.decode("utf-8", "replace"))
            elsewhere = self._clean(headers.get("Location", ""))
            raise Declined.told(
                f"HTTP {status}, " + (f"a redirect to {elsewhere}" if elsewhere else said or "nothing said"),
                where=self.endpoint.origin + path,
                fix="redirects are not followed; name the server itself" if elsewhere else "mend url, key or model",
                status=status,
            )
        try:
            return json.loads(content, parse_constant=_no_number)
        except (ValueError, RecursionError):
            self._bad(path, f"no JSON: {self._clean(content.decode('utf-8', 'replace')) or 'nothing'}")

    def _bad(self, path: str, what: str) -> NoReturn:
        where = self.endpoint.origin + path
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


def _retry_after(value: str) -> float | None:
    """Seconds from now, of both forms that HTTP knows."""
    try:
        return max(0.0, float(int(value)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError, OSError):
        return None
