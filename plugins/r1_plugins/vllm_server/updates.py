"""One sync: every server stops, takes the weights bucket by bucket, forgets what it computed, and goes on.

vLLM's own routes, which it has with VLLM_SERVER_DEV_MODE=1. While weights come in, a server says that it has none of
ours: whatever breaks off in the middle, nobody takes its answers for those of whole weights.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from r1_plugins.vllm_server.answers import PATH, certain, is_certain
from r1_plugins.vllm_server.config import VllmServerConfig
from r1_plugins.vllm_server.servers import Fleet, Line, version_of
from r1_plugins.vllm_server.transfer import Transfer
from r1core.endpoints import Declined, EndpointError, GaveUp
from r1core.errors import SetupError

UNSUPPORTED = 404
UNFINISHED = "updating"
RESETS, RESET_EVERY_S = 25, 0.2
"""How often a prefix cache is asked to forget: it does not while a request that was cut off still holds a part."""
START = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --tokens-only --logprobs-mode processed_logprobs ..."


class Updates:
    """The present weights on their way to some lines of a fleet; who fails is drained, and left out from then on."""

    def __init__(self, lines: Sequence[Line], transfer: Transfer, *, run: str, version: str) -> None:
        self._lines = list(lines)
        self._transfer = transfer
        self._run = run
        self._version = version
        self._met_now: set[Line] = set()

    @property
    def taking(self) -> list[Line]:
        """Who has not failed."""
        return self._lines

    async def begin(self) -> None:
        """Stop them."""
        await self._each(self._begin)

    async def give(self, parcel: Any) -> None:
        """Give all of them one bucket."""
        await self._each(lambda line: self._transfer.send(line, parcel))

    async def finish(self) -> None:
        """Have them go on, with weights that they confirm."""
        await self._each(self._finish)

    async def _each(self, step: Callable[[Line], Awaitable[None]]) -> None:
        went_on = await asyncio.gather(*(self._went_well(line, step) for line in self._lines))
        self._lines = [line for line, well in zip(self._lines, went_on, strict=True) if well]

    async def _went_well(self, line: Line, step: Callable[[Line], Awaitable[None]]) -> bool:
        try:
            await step(line)
        except Declined as error:
            if error.status == UNSUPPORTED:
                fix = f"start it so: {START}"
                raise SetupError("the server has no routes for new weights", where=error.where, fix=fix) from None
            raise
        except EndpointError as error:
            line.drain(f"{error.what} at {error.where.removeprefix(line.server.endpoint.origin)}")
            return False
        return True

    async def _begin(self, line: Line) -> None:
        known = line.server.met and (await version_of(line)).startswith(self._run)
        line.server.met = False  # until it has them all: whoever is interrupted leaves an update open
        await _post(line, "/pause?mode=abort")
        await _post(line, "/update_weight_version", {"new_version": self._run + UNFINISHED})
        if not known:
            await self._meet(line)
            self._met_now.add(line)
        await _post(line, "/start_weight_update")

    async def _meet(self, line: Line) -> None:
        """End what another process, or an attempt that failed, may have begun there; then open the way."""
        with contextlib.suppress(GaveUp):
            await _post(line, "/start_weight_update")
        with contextlib.suppress(GaveUp):
            await _post(line, "/finish_weight_update")
        await self._transfer.open(line)

    async def _finish(self, line: Line) -> None:
        await _post(line, "/finish_weight_update", {"weight_version": self._version})
        for _ in range(RESETS):
            if (await _post(line, "/reset_prefix_cache"))["success"]:
                break
            await asyncio.sleep(RESET_EVERY_S)
        else:
            raise _failed(line, "/reset_prefix_cache", "its prefix cache does not forget what older weights computed")
        await _post(line, "/resume")
        found = await version_of(line)
        if found != self._version:
            raise _failed(line, "/weight_info", f"it says it has the weights {found}, not {self._version}")
        if line in self._met_now and not is_certain(await line.answers.post(PATH, certain(), once=True)):
            raise SetupError(
                "its log-probs are not those after temperature and top-p",
                where=line.server.endpoint.origin,
                fix="start it with --logprobs-mode processed_logprobs",
            )
        line.server.met = True
        line.server.out, line.server.stale = "", False


async def reachable(fleet: Fleet, config: VllmServerConfig, *, all_of_them: bool) -> list[Line]:
    """Who answers. Waits for one of them, or all, as long as the options say; then raises SetupError."""
    begun_s = time.monotonic()
    while True:
        there = await asyncio.gather(*(_is_there(line) for line in fleet.lines))
        if all(there) if all_of_them else any(there):
            return [line for line, is_there in zip(fleet.lines, there, strict=True) if is_there]
        waited_s = time.monotonic() - begun_s
        if waited_s >= config.patience_s:
            fleet.give_up(waited_s, [line for line, is_there in zip(fleet.lines, there, strict=True) if not is_there])
        await asyncio.sleep(min(config.look_every_s, config.patience_s - waited_s))


async def _is_there(line: Line) -> bool:
    try:
        await version_of(line)
    except Declined as error:
        if error.status == UNSUPPORTED:
            fix = f"start it so: {START}"
            raise SetupError("the server does not tell its weights", where=error.where, fix=fix) from None
        raise
    except EndpointError as error:
        line.drain(error.what)
        return False
    line.server.out = line.server.out or "it has not taken the present weights yet"
    return True


async def _post(line: Line, path: str, body: dict[str, Any] | None = None) -> Any:
    return await line.control.post(path, body or {})


def _failed(line: Line, path: str, what: str) -> EndpointError:
    return EndpointError.told(what, where=line.server.endpoint.origin + path, fix="look at its log")
