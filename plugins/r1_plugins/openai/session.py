"""Asks a teacher for many answers at once, and has each on record before it is used.

A reply is an answer or a refusal; both are final. A 4xx is in doubt: it may be the question that is turned down, or
the model's name, an option, an account that is empty. A call begun later that is answered, or a harmless question asked
with the same options, tells; only then is it put down. A call that fails to the end while others are answered is the
question's fault, or bad luck; while none is answered, the server's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from r1_plugins.openai.config import OpenAIConfig
from r1_plugins.openai.replies import Reply
from r1_plugins.openai.turns import Ended, Turn
from r1core.contexts import SampleRecord
from r1core.endpoints import BadReply, Budget, Client, Declined, EndpointError, GaveUp
from r1core.errors import Interrupted, SetupError
from r1core.types import Response, Rollout, SampleRequest, Tokens

PATH = "/chat/completions"
OF_ALL = frozenset({401, 402, 403, 404, 405, 407, 426, 451})
"""Statuses by which a server says no to whoever asks, not to what is asked."""
TICK_S = 0.2
DOUBTS = 8
"""Calls in a row that are turned down: then nothing more is begun until it is known whether it is the questions."""
TRIES = 3
"""Replies in a row to one call that are none."""
HARMLESS = {"role": "user", "content": "Say yes."}
NOTHING: Tokens = np.array([], dtype=np.int64)


class Question(NamedTuple):
    """One answer that is wanted: number `number` of a request."""

    request: SampleRequest
    number: int

    @property
    def place(self) -> int:
        """Its number in the record."""
        return self.request.samples[self.number]


class Doubt(NamedTuple):
    """A question that was turned down, for whichever reason."""

    question: Question
    error: Declined
    came_s: float


class Session:
    """One event loop's worth of questions."""

    def __init__(self, config: OpenAIConfig, record: SampleRecord) -> None:
        self._config = config
        self._record = record
        self._budget = Budget(config.caps, record)
        self._places = asyncio.Semaphore(config.concurrent)
        self._ended: BaseException | None = None
        self._is_stopping = self._is_down = False
        self._left_out: list[Question] = []
        """What was not asked because the session ended, or the server seemed to be down."""
        self._answered_s = float("-inf")
        """When the last answer came."""
        self._doubtful: list[Doubt] = []
        self._declined_in_a_row = 0
        self._sure_s = float("-inf")
        """When the latest of the calls that brought an answer was begun: what was turned down before was the question's
        fault."""
        self._failed: list[tuple[Question, EndpointError]] = []

    async def ask(self, requests: Sequence[SampleRequest]) -> AsyncGenerator[Rollout, None]:
        """Each answer as it comes, on record by then. Raises R1Error where the run must stop."""
        questions = [Question(request, number) for request in requests for number in range(len(request.keys))]
        async with Client(self._config.endpoint) as self._client:
            while questions:
                self._left_out, self._failed, self._is_down = [], [], False
                async for rollout in self._round(questions):
                    yield rollout
                for rollout in await self._concluded():
                    yield rollout
                questions = self._left_out

    async def _round(self, questions: Sequence[Question]) -> AsyncGenerator[Rollout, None]:
        pending = {asyncio.create_task(self._settled(question)) for question in questions}
        try:
            while pending:
                done, pending = await asyncio.wait(pending, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                self._heed()
                for task in done:
                    for rollout in self._came(task):
                        yield rollout
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _heed(self) -> None:
        """When the run is asked to stop, calls under way are paid for: they come to their end."""
        if self._record.stopping() and not self._is_stopping:
            self._is_stopping = True
            self._record.note(f"{self._config.name}: stopping when the calls under way have come to their end")

    def _came(self, task: asyncio.Task[Rollout | None]) -> Sequence[Rollout]:
        """What a call brought, and with an answer also what is no longer in doubt."""
        error = task.exception()
        if error is not None:
            self._ended = self._ended if self._ended is not None else error
            return ()
        rollout = task.result()
        if rollout is None:
            return ()
        certain = [doubt for doubt in self._doubtful if doubt.came_s <= self._sure_s]
        self._doubtful = [doubt for doubt in self._doubtful if doubt.came_s > self._sure_s]
        return [rollout, *self._turned_down(certain)]

    async def _concluded(self) -> Sequence[Rollout]:
        """What failed, refused where that is wanted and the server answers others. Raises where not all is done."""
        if self._ended is not None:
            raise self._ended
        if self._is_stopping:
            raise Interrupted("stopped on request", where=self._config.name, fix="the same command goes on")
        refused: list[Rollout] = []
        if self._doubtful:
            if not await self._answers_now(self._doubtful[0].question):
                raise self._doubtful[0].error
            refused = self._turned_down(self._doubtful)
            self._doubtful, self._declined_in_a_row = [], 0
        if not self._failed:
            return refused
        question, error = self._failed[0]
        if self._config.failing == "refuse" and (refused or await self._answers_now(question)):
            return [*refused, *(self._refuse(own, _reason(why)) for own, why in self._failed)]
        if self._is_down:
            raise error
        raise SetupError(
            f"{len(self._failed)} questions failed to the end while others were answered, the first about "
            f"{question.request.problem.id!r}: {error.what}",
            where=self._config.name,
            fix="the same command asks them again; to leave them out say failing: refuse",
        )

    async def _answers_now(self, question: Question) -> bool:
        """Whether the server answers a question that harms nobody, asked with the options of this one. The look is
        under the caps, and on record as a call that brought no answer. Raises RefusedError where a cap has no room."""
        body = {**self._config.body(question.request, question.number), "messages": [HARMLESS]}
        usd = self._budget.worst(body)
        async with Turn(
            question.place, self._record, self._budget, self._places, usd=usd, ended=lambda is_begun: False
        ) as turn:
            try:
                reply = Reply.of(await self._client.post(PATH, body, once=True, gate=turn))
            except Declined:
                turn.left("failed")
                return False
            except GaveUp:
                return False
            except BadReply:
                reply = None
            turn.left("lost")
            return reply is not None and not reply.refused

    async def _settled(self, question: Question) -> Rollout | None:
        """The answer, on record; None where there is none, or it is not known yet what its failure means. Raises what
        ends the session."""
        body = self._config.body(question.request, question.number)
        usd = self._budget.worst(body)
        async with Turn(
            question.place, self._record, self._budget, self._places, usd=usd, ended=self._has_ended
        ) as turn:
            started_s = time.monotonic()  # with a place: all wait for one from the beginning
            try:
                reply = await self._replied(body, turn)
            except Ended:
                self._left_out.append(question)
                return None
            except Declined as error:
                self._declined(question, error)
                return None
            except (GaveUp, BadReply) as error:
                self._failed.append((question, error))
                self._is_down |= self._answered_s < started_s
                return None
            self._answered_s = time.monotonic()
            if not reply.refused:
                self._declined_in_a_row, self._sure_s = 0, max(self._sure_s, started_s)
            rollout = _rollout(question, reply)
            bill = self._budget.bill(body, reply.tokens_in, reply.tokens_out)
            self._record.keep(rollout, usd=bill, tokens_in=reply.tokens_in)
            return rollout

    async def _replied(self, body: Mapping[str, Any], turn: Turn) -> Reply:
        """A reply that can be read. Others may be billed; they are asked for again a few times."""
        for tried in range(1, TRIES + 1):
            try:
                reply = Reply.of(await self._client.post(PATH, body, gate=turn))
            except BadReply:
                turn.left("lost")
                if tried == TRIES:
                    raise
                continue
            if reply is not None:
                return reply
            turn.left("lost")
        raise BadReply.told(
            "the server sent no chat completion", where=self._config.name, fix="look at the server", status=200
        )

    def _declined(self, question: Question, error: Declined) -> None:
        """A question that the server does not take; raises where it says that it takes none."""
        self._record.unbilled(question.place)
        if error.status in OF_ALL or 300 <= error.status < 400:
            raise error
        self._doubtful.append(Doubt(question, error, time.monotonic()))
        self._declined_in_a_row += 1
        self._is_down |= self._declined_in_a_row >= DOUBTS

    def _turned_down(self, doubtful: Sequence[Doubt]) -> list[Rollout]:
        return [self._refuse(doubt.question, f"HTTP {doubt.error.status}") for doubt in doubtful]

    def _refuse(self, question: Question, reason: str) -> Rollout:
        rollout = _rollout(question, Reply(text="", refused=reason))
        self._record.keep(rollout, usd=0.0, tokens_in=None, calls=0)
        return rollout

    def _has_ended(self, is_begun: bool) -> bool:
        """Whether no attempt is made any more. While the server seems to be down, what was begun is tried on."""
        return self._ended is not None or self._is_stopping or (self._is_down and not is_begun)


def _reason(error: EndpointError) -> str:
    return f"HTTP {error.status}" if isinstance(error, GaveUp) and error.status else "no answer"


def _rollout(question: Question, reply: Reply) -> Rollout:
    response = Response.parse(reply.text, finish=reply.finish, apart=reply.apart)
    return Rollout(
        problem=question.request.problem,
        sample=question.place,
        prompt_ids=NOTHING,
        completion_ids=NOTHING,
        logprobs=None,
        response=replace(response, tokens=reply.tokens_out),
        key=question.request.keys[question.number],
        refused=reply.refused,
    )
