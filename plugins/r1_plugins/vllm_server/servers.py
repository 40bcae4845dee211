"""Which servers can be asked, and which of them is asked next.

A server is in service while it has the present weights and answers. One that fails, hangs or says other weights is
drained: what was under way there is asked elsewhere, and it gets nothing until a look finds it there again, with the
present weights. One that says "later" (429, 503) is left alone for a while, longer each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from r1_plugins.vllm_server.answers import PATH
from r1_plugins.vllm_server.config import VllmServerConfig
from r1core.endpoints import BadReply, Client, Endpoint, EndpointError, GaveUp
from r1core.errors import SetupError

WHERE = "sampler vllm_server"
FRESH = "default"
"""The weights that a server says it has before it was given any."""
HELD_FIRST_S, HELD_MOST_S = 0.5, 15.0
LONG_S = 5.0
"""A call that has lasted so long is being answered; a "later" comes at once."""
GRACE_S = 1.0
"""What a server's death leaves for the calls under way there to end by themselves."""
TICK_S = 0.2
"""How soon a call that waits for a server sees that one has become free by the clock alone."""
LATER = frozenset({429, 503})


class Lost(Exception):
    """A call ended because its server was drained."""


class Server:
    """What is known of a server from one call of the sampler to the next."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.out = "it was not given any weights yet"
        """Why it gets no requests, "" in service."""
        self.stale = False
        """It is there, and lacks the present weights."""
        self.met = False
        """This process knows in which state its updates are."""


class Control:
    """Looks at a server, and steps of a sync. Each has a connection of its own: a server closes idle ones (vLLM after
    5 s), perhaps just when one is used again, and a step must not be sent twice."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def get(self, path: str) -> Any:
        """What it says. Raises EndpointError."""
        async with Client(self._endpoint) as client:
            return await client.get(path)

    async def post(self, path: str, body: Any) -> Any:
        """What it says. Raises EndpointError."""
        async with Client(self._endpoint) as client:
            return await client.post(path, body, once=True)


class Line:
    """One event loop's connections to a server."""

    def __init__(self, server: Server, config: VllmServerConfig, *, reply_kib: int) -> None:
        self.server = server
        self.control = Control(server.endpoint)
        longer = {"timeout_s": config.answer_s, "max_reply_kib": reply_kib}
        self.answers = Client(server.endpoint.model_copy(update=longer))
        self.load = 0
        self.calls: dict[asyncio.Task[Any], float] = {}
        self.told_later = 0
        """In a row."""
        self.held_until_s = 0.0

    @property
    def held(self) -> bool:
        """Whether it said "later", and it is not later yet."""
        return time.monotonic() < self.held_until_s

    @property
    def works(self) -> bool:
        """Whether answers may be expected of it."""
        long_s = time.monotonic() - LONG_S
        return not self.server.out and (
            self.told_later == 0 or any(begun_s < long_s for begun_s in self.calls.values())
        )

    async def ask(self, body: Any) -> Any:
        """The reply to a request for an answer. Raises EndpointError, Lost."""
        call = asyncio.create_task(self.answers.post(PATH, body, once=True))
        self.calls[call] = time.monotonic()
        try:
            reply = await call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                await asyncio.wait({call})  # it was cancelled, too, and has a connection to close
                raise
            raise Lost(self.server.out) from None
        finally:
            self.calls.pop(call, None)
        self.told_later = 0
        return reply

    def drain(self, why: str, *, stale: bool = False) -> None:
        """Ask it no more until a look says otherwise."""
        self.server.out, self.server.stale = why, stale

    async def let_go(self) -> None:
        """Wait no longer for what is under way at a server that does not answer. What a dead one was asked ends by
        itself at once; only what a hung one was asked has to be cancelled."""
        if self.calls:
            await asyncio.wait(set(self.calls), timeout=GRACE_S)
        for call in list(self.calls):
            call.cancel()

    def hold(self) -> None:
        """Leave it alone for as long as it said, or longer each time."""
        if self.held:
            return  # of all that it was asked at once, it says so to each
        backoff_s = min(HELD_MOST_S, HELD_FIRST_S * 2 ** min(self.told_later, 16)) * random.uniform(0.5, 1.0)
        self.told_later += 1
        self.held_until_s = time.monotonic() + max(backoff_s, self.answers.held_s)


class Fleet:
    """The servers, in one event loop; `version` is the name of the present weights, `run` the part of it that all
    weights of this run have. `reload` gives a server the present weights again, where that can be done."""

    def __init__(
        self,
        servers: Sequence[Server],
        config: VllmServerConfig,
        *,
        run: str,
        version: str,
        reload: Callable[[Line], Awaitable[None]] | None = None,
        reply_kib: int = 64,
    ) -> None:
        self.lines = [Line(server, config, reply_kib=reply_kib) for server in servers]
        self._config = config
        self._run = run
        self._version = version
        self._reload = reload
        self._nobody_since_s: float | None = None

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._opened = contextlib.AsyncExitStack()
        for line in self.lines:
            await self._opened.enter_async_context(line.answers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    @contextlib.asynccontextmanager
    async def room(self, liked: Line | None, *, failed: Line | None = None) -> AsyncIterator[Line]:
        """Wait for a server that can take a request: `liked` if it can, else that with the least to do; `failed` only
        when no other is in service."""
        while (line := self._free(liked, failed)) is None:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), TICK_S)
        line.load += 1
        try:
            yield line
        finally:
            line.load -= 1
            self._changed.set()

    def _free(self, liked: Line | None, failed: Line | None) -> Line | None:
        there = [line for line in self.in_service() if not line.held]
        others = [line for line in there if line is not failed] or there
        free = [line for line in others if line.load < self._config.concurrent]
        if liked in free:
            return liked
        return min(free, key=lambda line: line.load, default=None)

    def in_service(self) -> list[Line]:
        """Those that have the present weights and answer."""
        return [line for line in self.lines if not line.server.out]

    async def watch(self) -> NoReturn:
        """Look at each server now and then, until it is cancelled. Raises SetupError when none can be asked any more,
        or when somebody else gave them weights."""
        async with asyncio.TaskGroup() as group:
            for line in self.lines:
                group.create_task(self._watch(line))
            group.create_task(self._wait_for_any())
        raise AssertionError("a watch has no end")

    async def _watch(self, line: Line) -> None:
        while True:
            await self.look(line)
            await asyncio.sleep(self._config.look_every_s * random.uniform(0.8, 1.2))

    async def look(self, line: Line) -> None:
        """Put it in service or take it out, by what it says of its weights."""
        try:
            found = await version_of(line)
        except EndpointError as error:
            line.drain(error.what)
            self._changed.set()
            if isinstance(error, GaveUp):
                await line.let_go()
            return
        if found != self._version and found != FRESH and not found.startswith(self._run):
            raise SetupError(
                f"{line.server.endpoint.origin} was given other weights ({found}) while it was asked",
                where=WHERE,
                fix="two runs, or two stages side by side, cannot use one server: give each its own",
            )
        if found != self._version and self._reload is not None:
            await self._reload(line)
        elif found != self._version:
            line.drain(f"it says it has the weights {found}, not {self._version}", stale=True)
        elif line.server.out:
            line.server.out, line.server.stale = "", False
        self._changed.set()

    async def _wait_for_any(self) -> None:
        while True:
            if any(line.works for line in self.lines):
                self._nobody_since_s = None
            else:
                now_s = time.monotonic()
                self._nobody_since_s = self._nobody_since_s if self._nobody_since_s is not None else now_s
                lost = self._config.transfer == "native" and all(line.server.stale for line in self.lines)
                if lost or now_s - self._nobody_since_s >= self._config.patience_s:
                    self.give_up(now_s - self._nobody_since_s)
            await asyncio.sleep(min(TICK_S, self._config.patience_s / 10))

    def give_up(self, waited_s: float, lines: Sequence[Line] | None = None) -> NoReturn:
        """Raise what there is to say when these servers, or all, cannot be asked."""
        lines = self.lines if lines is None else lines
        said = [
            f"{line.server.endpoint.origin}: {line.server.out or f'it said later {line.told_later} times in a row'}"
            for line in lines
        ]
        raise SetupError(
            f"{len(said)} of {len(self.lines)} servers cannot be asked (waited {waited_s:.0f} s)\n  "
            + "\n  ".join(said),
            where=WHERE,
            fix="start them (`r1 explain vllm_server` says how); the same command goes on",
        )


async def version_of(line: Line) -> str:
    """The weights that the server says it has. Raises EndpointError."""
    said = await line.control.get("/weight_info")
    if not isinstance(said, dict) or "weight_version" not in said:
        where = line.server.endpoint.origin + "/weight_info"
        raise BadReply.told("it does not say which weights it has", where=where, fix="name a vLLM server", status=200)
    return str(said["weight_version"])
