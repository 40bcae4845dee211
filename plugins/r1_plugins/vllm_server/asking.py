"""Asks for all answers of a batch: each exactly once, from whichever server can give it.

An answer whose server fails is asked for again elsewhere, with the same seed. One that fails wherever it is asked for,
while the servers are well, ends the run rather than the patience of whoever watches it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from r1_plugins.vllm_server.answers import Answer, Job, OtherWeights, Unfinished, answer, asked
from r1_plugins.vllm_server.config import VllmServerConfig
from r1_plugins.vllm_server.servers import LATER, WHERE, Fleet, Line, Lost
from r1core.endpoints import BadReply, Declined, EndpointError, GaveUp
from r1core.errors import SetupError

BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.1, 5.0


class Asking:
    """One batch; `give` gets each answer when it is there."""

    def __init__(
        self,
        fleet: Fleet,
        config: VllmServerConfig,
        *,
        ends: Collection[int],
        version: str,
        give: Callable[[Answer], None],
    ) -> None:
        self._fleet = fleet
        self._config = config
        self._ends = ends
        self._version = version
        self._give = give
        self._liked: dict[int, Line] = {}
        """Of each request, by number: the server that has computed its prompt."""

    async def all(self, jobs: Sequence[Job]) -> None:
        """Raises EndpointError where a server refuses a request, SetupError where none is left."""
        waiting = deque(jobs)
        async with self._fleet:
            most = self._config.concurrent * len(self._fleet.lines)
            workers: asyncio.Future[Any] = asyncio.gather(
                *(self._work(waiting) for _ in range(min(most, len(waiting))))
            )
            watch: asyncio.Future[Any] = asyncio.ensure_future(self._fleet.watch())
            try:
                await asyncio.wait({workers, watch}, return_when=asyncio.FIRST_COMPLETED)
                if watch.done():
                    watch.result()
                workers.result()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
            finally:
                workers.cancel()
                watch.cancel()
                await asyncio.gather(workers, watch, return_exceptions=True)

    async def _work(self, waiting: deque[Job]) -> None:
        while waiting:
            self._give(await self._answered(waiting.popleft()))

    async def _answered(self, job: Job) -> Answer:
        failures: list[str] = []
        failed: Line | None = None
        while len(failures) < self._config.tries:
            if failures:
                await asyncio.sleep(min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** len(failures)) * random.uniform(0.5, 1))
            async with self._fleet.room(self._liked.get(job.number), failed=failed) as line:
                self._liked[job.number] = line
                try:
                    return answer(job, await line.ask(asked(job, self._ends)), self._ends, version=self._version)
                except Declined as error:
                    if not any(other is not line and other is not failed for other in self._fleet.in_service()):
                        raise  # the request is at fault, or all that are left are
                    why = error.what
                except (GaveUp, Lost, OtherWeights, Unfinished, BadReply) as error:
                    if isinstance(error, GaveUp) and error.status in LATER:
                        line.hold()
                        continue
                    why = error.what if isinstance(error, EndpointError) else str(error)
                    if not isinstance(error, Lost):
                        line.drain(why, stale=isinstance(error, OtherWeights))
            failed = line
            failures.append(f"{line.server.endpoint.origin}: {why}")
        raise SetupError(
            f"an answer to problem {job.request.problem.id!r} was asked for {len(failures)} times in vain\n  "
            + "\n  ".join(failures),
            where=WHERE,
            fix="look at the servers' logs; the same command goes on",
        )
