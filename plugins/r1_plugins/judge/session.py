"""Asks a judge many questions at once, and settles each in one of three ways: a verdict, a failure that the answer
caused, an infrastructure failure.

A reply that cannot be read is asked for once more. Where the second cannot be read either, or a call fails to the end,
the judge has to tell a right answer from a wrong one. When it can, and the question fails again, the answer is to
blame: else breaking the judge would take an answer out of its group, and pay. When it cannot, nothing is said of it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from r1_plugins.judge.breaker import TICK_S, Breaker, CircuitOpen
from r1_plugins.judge.config import JudgeConfig
from r1_plugins.judge.questions import Question, key_of
from r1_plugins.judge.record import Blame, Record
from r1_plugins.judge.replies import Reply, read
from r1_plugins.judge.turns import Room, Turn
from r1core.endpoints import BadReply, Budget, Client, EndpointError, GaveUp
from r1core.errors import Interrupted
from r1core.types import Status

PATH = "/chat/completions"
LONG_S = 1.0
"""A longer wait that the server asked for does not outlast a request to stop."""
SILENCE = "judge_failed: no answer"
DISTANT = frozenset({SILENCE, *(f"judge_failed: HTTP {status}" for status in (408, 425, 429, 502, 503, 504, 524, 529))})
"""A time-out, a rate limit, a server that is too busy, something that stands in between."""
MOST_OUTAGES = 3
"""Outages that one question is asked again after; who was under way in all of them may have caused them."""


class Said(NamedTuple):
    """What came of a question; `value` is NaN where there is no verdict."""

    value: float
    status: Status
    reason: str = ""


class Abandoned(Exception):
    """A call that is not made because another one ended the session."""


class Session:
    """One event loop's worth of questions."""

    def __init__(
        self,
        config: JudgeConfig,
        record: Record,
        healthy: tuple[Question, Question],
        *,
        note: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.costs: dict[str, list[float]] = {}
        """Question -> USD of each reply that its outcome took, those from the record included."""
        self._config = config
        self._record = record
        self._healthy = healthy
        self._stopping = stopping
        self._where = f"judge {config.model} at {config.endpoint.origin}"
        self._budget = Budget(config.caps, record)
        self._breaker = Breaker(self._where, config.outage, per_minute=config.per_minute, note=note, stopping=stopping)
        self._room = Room(config.concurrent)
        self._one_look = asyncio.Lock()
        self._looks = itertools.count(record.calls)
        self._ended: BaseException | None = None

    async def ask(self, questions: Sequence[Question]) -> dict[str, Said]:
        """What came of each, by its key. Raises R1Error where the run must stop; what is paid for by then is kept."""
        endpoint = self._config.endpoint
        async with Client(endpoint) as self._client, Client(endpoint) as self._looking:
            unique = {question.key: question for question in questions}
            tasks = {key: asyncio.create_task(self._settled(question)) for key, question in unique.items()}
            await self._all(set(tasks.values()))
        return {key: task.result() for key, task in tasks.items()}

    async def _all(self, pending: set[asyncio.Task[Said]]) -> None:
        """Until all are done. When one ends the session, calls under way are paid for: they come to their end, too."""
        while pending:
            done, pending = await asyncio.wait(pending, timeout=TICK_S, return_when=asyncio.FIRST_EXCEPTION)
            for error in filter(None, (task.exception() for task in done)):
                self._ended = self._ended if self._ended is not None else error
            if pending and self._stopping() and (self._breaker.failures or self._client.held_s > LONG_S):
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                raise Interrupted("stopped on request", where=self._where, fix="the same command goes on")
        if self._ended is not None:
            raise self._ended

    async def _settled(self, question: Question) -> Said:
        blame = self._record.blame(question.key)
        if blame is not None:
            return self._blamed(question, blame)
        attempt, outages, new, again, shown_well, costs = 0, 0, True, False, False, list[float]()
        while True:
            try:
                value, usd = await self._value(question, attempt, new=new, again=again)
                new, reason = False, "judge_unreadable"
                costs.append(usd)
            except (EndpointError, CircuitOpen) as error:
                new = new and isinstance(error, CircuitOpen) and not error.begun
                if self._breaker.is_open:
                    outages += not new
                    if outages > MOST_OUTAGES:
                        return Said(math.nan, "infrastructure", "judge_down")
                    await self._breaker.closed(self._look)
                    continue
                value, reason = None, _reason(error)
            if value is not None:
                self.costs[question.key] = costs
                return Said(value, "verdict")
            if shown_well and reason in DISTANT:  # it says nothing of the answer
                return Said(math.nan, "infrastructure", reason)
            if shown_well:
                blame = Blame(reason, tuple(costs))
                self._record.keep_blame(question.key, blame)
                return self._blamed(question, blame)
            attempt += reason == "judge_unreadable"  # only what was answered lies in the record
            if not again and reason == "judge_unreadable":
                again = True
                continue
            health = await self._health()
            if health == "ill":
                return Said(math.nan, "infrastructure", reason)
            shown_well = health == "well"

    def _blamed(self, question: Question, blame: Blame) -> Said:
        self.costs[question.key] = list(blame.costs)
        return Said(math.nan, "answer_failure", blame.reason)

    async def _value(self, question: Question, attempt: int, *, new: bool, again: bool) -> tuple[float | None, float]:
        """What the reply says, from the record or from the judge, None where it cannot be read; and its cost, USD."""
        body = question.body(again=again)
        key = key_of(self._config, body, attempt=attempt)
        if not self._record.knows(key):
            await self._call(body, key, new=new)
        reply = self._record.reply(key)
        value = None if reply is None else read(reply, question.allowed, form=self._config.reply)
        return value, self._bill(body, reply)

    async def _call(self, body: dict[str, Any], key: str, *, new: bool = False, look: bool = False) -> None:
        """One call, put down before it is used; a look goes past the breaker, and is not tried again."""
        usd, client = self._budget.worst(body), self._looking if look else self._client
        breaker = None if look else self._breaker
        lost = partial(self._record.keep_lost, key, usd)
        async with Turn(self._room, self._budget, breaker, usd=usd, lost=lost, new=new) as turn:
            if self._ended is not None:
                raise Abandoned
            try:
                reply = Reply.of(await client.post(PATH, body, once=look, gate=turn))
            except BadReply:
                reply = None
            self._record.keep_reply(key, reply, self._bill(body, reply))

    def _bill(self, body: dict[str, Any], reply: Reply | None) -> float:
        return self._budget.bill(body, *((reply.tokens_in, reply.tokens_out) if reply is not None else (None, None)))

    async def _look(self) -> None:
        """Whether the judge answers: one call. Raises EndpointError."""
        await self._call(self._healthy[0].body(), self._look_key(), look=True)

    async def _health(self) -> Literal["well", "ill", "down"]:
        """Whether the judge tells a right answer from a wrong one, now. Raises Declined where it takes no call."""
        async with self._one_look:
            values = []
            for question in self._healthy:
                key = self._look_key()
                try:
                    await self._call(question.body(), key)
                except (GaveUp, CircuitOpen):
                    self._breaker.trip()
                    return "down"
                reply = self._record.reply(key)
                values.append(None if reply is None else read(reply, question.allowed, form=self._config.reply))
        good, bad = values
        return "well" if good is not None and bad is not None and good > bad else "ill"

    def _look_key(self) -> str:
        """A key for what must be asked now, whatever was answered before: it is only counted."""
        return f"look {next(self._looks)}"


def _reason(error: Exception) -> str:
    status = getattr(error, "status", 0)
    return f"judge_failed: HTTP {status}" if status else SILENCE
