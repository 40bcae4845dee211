"""An event loop in a thread of its own: calls go on while whoever asked scores, or trains."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class EventLoop:
    """`with EventLoop() as loop: loop.run(call())`. At its end what was started and still runs is cancelled once, since
    a second time would cut off the closing of its connections, and waited for."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._started: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm_server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def end(self) -> None:
        """Cancel what still runs."""
        asyncio.run_coroutine_threadsafe(self._cancelled(), self._loop).result()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin it."""
        return asyncio.run_coroutine_threadsafe(self._kept(work), self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it, when it is done."""
        return self.start(work).result()

    async def _kept(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._started.add(task)
        task.add_done_callback(self._started.discard)
        return await work

    async def _cancelled(self) -> None:
        running = list(self._started)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()
