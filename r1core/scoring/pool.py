"""The workers of one interpreter: who is asked what, who is late, and who is to blame.

A worker answers in order, so whatever hangs or crashes is the first question it owes. That one is asked
once more, in a fresh worker; a second failure counts against the answer only when a further worker has
answered what is known (its sentinels, or a sign of life), else it is infrastructure. The others go back
to the queue unblamed. One spare worker waits ready, so that a second attempt begins at once.

Sentinels are asked when a worker starts, after every VOUCH_EVERY answers and after the last of a batch: a
wrong one stops the run. What a worker has said since it last was right is asked again, elsewhere, when it
fails in between; where it failed at a sentinel, each answer has the sentinels right behind it then, so that
the one to blame is found. Where no worker starts any more, what is left is infrastructure.
"""

from __future__ import annotations

import itertools
import json
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from r1core.scoring.place import Place
from r1core.scoring.process import Launch, Server, Worker
from r1core.scoring.questions import Asked, Known, Question, WorkerReward
from r1core.scoring.wire import PRESENT, SPOILED, Outcome, failure, lost

START_TIMEOUT_S = 120.0  # importing a large verifier on a loaded machine takes 8 s; this is a hang
_LIFE_TIMEOUT_S = 10.0  # a sign of life takes a millisecond
_STARTS = 3
"""Workers that may fail one after the other at what is known, before the place is lost: a loaded machine is slow."""
_WINDOW = 8  # questions a worker holds at a time: enough to keep it busy, few to hand back
VOUCH_EVERY = 100
RECYCLE_AFTER = 1000
TIMED_OUT = "verifier_timeout"
CRASHED = "verifier_crash"
UNSURE = "verifier_unsure"
"""A worker that cannot say what is known."""


class Pool:
    """Some workers of one interpreter. Its owner turns it: `hand_out`, wait for news or a deadline, `attend`."""

    def __init__(
        self, rewards: Sequence[WorkerReward], launch: Launch, *, workers: int, memory_mib: int, sentinels: bool
    ) -> None:
        self._rewards = {reward.index: reward for reward in rewards}
        self._who = f"a scoring worker in {launch.interpreter}" if launch.interpreter else "a scoring worker"
        entries = [[r.index, r.name, r.target, r.options, r.sees, r.source] for r in rewards]
        self._server = Server({"rewards": entries, "memory_mib": memory_mib}, launch)
        self._wants_sentinels = sentinels
        self._known: list[Known] | None = None
        self._serials = itertools.count()
        self._waiting: deque[Question] = deque()
        self._spare: Worker | None = None
        self._wants_spare = True
        self._at_work = True
        self._places = [Place(self._server.fork()) for _ in range(workers)]

    @property
    def rewards(self) -> frozenset[int]:
        """The indices of the rewards that it asks."""
        return frozenset(self._rewards)

    @property
    def is_starting(self) -> bool:
        """Whether a worker has still to prove itself."""
        return any(place.worker.state in ("starting", "proving") for place in self._places)

    @property
    def trouble(self) -> str:
        """Why a worker did not start, where one did not."""
        return next((place.worker.trouble for place in self._places if place.worker.state == "lost"), "")

    @property
    def busy(self) -> int:
        """How many of its workers have something to do."""
        return sum(place.is_busy for place in self._places)

    @property
    def is_done(self) -> bool:
        """Whether every question has its outcome, and every worker has been right since."""
        vouched = not self._known or not any(
            place.worker.unvouched for place in self._places if place.worker.state != "lost"
        )
        return not self._waiting and not self.busy and vouched

    def begin(self) -> None:
        """A batch begins: places that were lost get another chance."""
        self._at_work = True
        for place in self._places:
            if place.worker.state == "lost":
                self._replace(place)

    def end(self) -> None:
        """The batch is over: a worker that dies now is replaced when the next one begins."""
        self._at_work = False

    def add(self, question: Question) -> None:
        """Ask this, too."""
        self._waiting.append(question)

    def drop(self) -> None:
        """Forget all that was asked; who is at work on it goes."""
        self._waiting.clear()
        for place in self._places:
            place.retry = place.suspect = None
            if place.worker.owed:
                self._replace(place)

    def give_up(self, reason: str) -> None:
        """What has no outcome by now has none; who is at work on it goes."""
        for place in self._places:
            for question in self._take_over(place):
                question.give_up(reason)
            if any(asked.question.is_answer for asked in place.worker.owed) or place.worker.unproved:
                for question in [*place.worker.withdraw(), *(asked.question for asked in place.worker.owed)]:
                    question.give_up(reason)
                self._replace(place)
        while self._waiting:
            self._waiting.popleft().give_up(reason)

    def close(self) -> None:
        """End every worker and what they were forked from."""
        for worker in self._alive():
            self._server.stop(worker)
        self._server.close()
        self._places = []

    # --- a turn of the loop ----------------------------------------------------------------------

    def hand_out(self, room: int, *, last: bool) -> None:
        """Give the workers what waits, `room` idle ones at most; `last`: nothing will come behind it."""
        if self._places and all(place.worker.state == "lost" for place in self._places):
            reason = f"no scoring worker: {self._places[0].worker.trouble}"
            while self._waiting:
                self._waiting.popleft().give_up(reason)
        for _ in range(_WINDOW):
            for place in self._places:
                worker = place.worker
                if not self._waiting or worker.state != "ready" or len(worker.owed) >= _WINDOW:
                    continue
                if worker.answers >= RECYCLE_AFTER:
                    self._recycle(place)
                elif worker.owed or room > 0:
                    room -= not worker.owed
                    self._give(worker, self._waiting.popleft())
        if last and not self._waiting:
            for place in self._places:
                if place.worker.state == "ready" and not place.worker.owed:
                    self._vouch(place.worker)

    def register(self, poller: select.poll) -> None:
        """Wake up when one has something to say."""
        self._server.register(poller)
        for worker in self._alive():
            worker.flush()
            worker.register(poller)

    def deadline(self) -> float | None:
        """When something will be late."""
        found = [deadline for worker in self._alive() if (deadline := self._deadline(worker)) is not None]
        return min(found, default=None)

    def attend(self) -> None:
        """Hear what they say, and act on it."""
        self._server.attend()
        for worker in self._alive():
            self._attend(worker)
        if self._spare is None and self._wants_spare and all(p.worker.state == "ready" for p in self._places):
            self._spare, self._wants_spare = self._server.fork(), False

    def _alive(self) -> list[Worker]:
        workers = [place.worker for place in self._places] + ([self._spare] if self._spare is not None else [])
        return [worker for worker in workers if worker.state != "lost"]

    # --- asking ----------------------------------------------------------------------------------

    def _give(self, worker: Worker, question: Question) -> None:
        if worker.unvouched >= VOUCH_EVERY or question.is_suspected:
            self._vouch(worker)
        worker.answers += 1
        worker.unvouched += 1
        worker.ask(Asked(next(self._serials), question))
        if question.is_suspected:
            self._vouch(worker)

    def _vouch(self, worker: Worker) -> None:
        """Behind what it owes it is asked what is known: the answers before that are then vouched for."""
        if worker.unvouched:
            worker.unvouched = 0
            self._ask_known(worker, self._rewards)

    def _ask_known(self, worker: Worker, rewards: Sequence[int] | dict[int, Any]) -> None:
        own = [known for known in self._known or () if known.reward in rewards]
        for known in own:
            worker.ask(Asked(next(self._serials), Question.sentinel(known, closes=known is own[-1])))

    def _recycle(self, place: Place) -> None:
        """After a thousand answers a worker goes, when it has been right once more."""
        if place.worker.owed:
            return
        if self._known and place.worker.unvouched:
            self._vouch(place.worker)
        else:
            self._replace(place)

    def _prove(self, place: Place | None, worker: Worker, rewards: Sequence[int] | dict[int, Any]) -> None:
        """Have it answer what is known before it gets, or is believed, anything else."""
        worker.state = "proving"
        if place is not None and place.suspect is not None:
            worker.ask(Asked(next(self._serials), Question.sign_of_life()))
        self._ask_known(worker, rewards)
        if not worker.owed:
            self._proven(worker)

    # --- hearing ---------------------------------------------------------------------------------

    def _deadline(self, worker: Worker) -> float | None:
        if worker.state == "starting":
            return worker.since + START_TIMEOUT_S
        if not worker.owed:
            return None
        index = worker.owed[0].question.pending[0]
        return worker.since + (_LIFE_TIMEOUT_S if index == PRESENT else self._rewards[index].timeout_s)

    def _attend(self, worker: Worker) -> None:
        lines, ended = worker.hear()
        for line in lines:
            reason = self._understood(worker, line)
            if reason:
                self._failed(worker, reason)
                return
        deadline = self._deadline(worker)
        if ended:
            self._failed(worker, CRASHED)
        elif deadline is not None and time.monotonic() >= deadline:
            self._failed(worker, TIMED_OUT)

    def _understood(self, worker: Worker, line: bytes) -> str:
        """Take one line; why the worker must go where it is not what it owes, or where it says so itself."""
        try:
            reply = json.loads(line)
            if worker.state == "starting":
                return self._started(worker, reply)
            serial, index, status, value, reason, *extracted = reply
        except (ValueError, TypeError, KeyError):
            return CRASHED
        if not worker.owed or (serial, index) != (worker.owed[0].serial, worker.owed[0].question.pending[0]):
            return CRASHED
        if status == SPOILED:
            return str(reason)
        now = time.monotonic()
        question, outcome = worker.owed[0].question, Outcome(status, value, reason, *map(str, extracted))
        question.settle(outcome, now - worker.since)
        worker.since = now
        if question.known is not None:
            if outcome.status == "infrastructure" and not self._rewards[index].remote:
                return UNSURE
            question.known.check(self._rewards[index], outcome)
            if question.closes:
                worker.unproved.clear()
        elif question.is_answer and self._known:
            worker.unproved.append((question, index))
        if not question.pending:
            worker.owed.popleft()
        if worker.state == "proving" and not worker.owed:
            self._proven(worker)
        return ""

    def _started(self, worker: Worker, reply: dict[str, Any]) -> str:
        if "error" in reply:
            worker.trouble = str(reply["error"])
            return CRASHED
        if self._known is None:  # told before it has seen an answer
            told = reply["ready"].items() if self._wants_sentinels else ()
            self._known = [
                Known(int(index), body.encode("utf-8", "surrogatepass"), value, text)
                for index, own in told
                for body, value, text in own
            ]
        worker.since = time.monotonic()
        self._prove(self._place_of(worker), worker, self._rewards)
        return ""

    def _proven(self, worker: Worker) -> None:
        """It has answered what is known."""
        worker.state = "ready"
        place = self._place_of(worker)
        if place is None:
            return
        place.starts = 0
        if place.suspect is not None:
            question, index, reason, seconds = place.suspect
            place.suspect = None
            question.settle(lost(reason) if reason == UNSURE else failure(reason), seconds, index)
            self._return(question)
        if place.retry is not None:
            question, place.retry = place.retry, None
            self._give(worker, question)

    def _place_of(self, worker: Worker) -> Place | None:
        return next((place for place in self._places if place.worker is worker), None)

    # --- failing ---------------------------------------------------------------------------------

    def _failed(self, worker: Worker, reason: str) -> None:
        place = self._place_of(worker)
        if place is None:  # the spare
            self._server.stop(worker)
            self._spare = None
            return
        if worker.state in ("starting", "proving"):
            self._did_not_start(place, reason)
            return
        seconds = time.monotonic() - worker.since
        is_blamed = bool(worker.owed) and worker.owed[0].question.is_answer
        answers = [asked.question for asked in worker.owed if asked.question.is_answer]
        for question in reversed(answers[int(is_blamed) :]):
            self._return(question)
        if is_blamed:
            self._blame(place, answers[0], reason, seconds)
        self._ask_unproved_again(place, reason, seconds, owed=answers, is_blamed=is_blamed)
        if self._at_work:
            self._replace(place)
        else:
            self._server.stop(worker)
            worker.state, worker.trouble = "lost", f"{self._who} ended"

    def _ask_unproved_again(
        self, place: Place, reason: str, seconds: float, *, owed: Sequence[Question], is_blamed: bool
    ) -> None:
        """Where it failed at no answer (`is_blamed`), one of these has broken it: a second time there is but one."""
        for question in reversed(place.worker.withdraw()):
            if any(question is other for other in owed):
                continue  # it is asked again with what is left of it
            if not is_blamed and question.is_suspected and place.suspect is None:
                place.suspect = (question, question.pending[0], reason, seconds)
                continue
            question.is_suspected = question.is_suspected or not is_blamed
            self._return(question)

    def _return(self, question: Question) -> None:
        if question.pending:
            self._waiting.appendleft(question)

    def _blame(self, place: Place, question: Question, reason: str, seconds: float) -> None:
        index = question.pending[0]
        question.failures[index] = question.failures.get(index, 0) + 1
        if question.failures[index] < 2:
            place.retry = question
        elif reason == TIMED_OUT and self._rewards[index].remote:
            question.settle(lost(reason), seconds)
            self._return(question)
        else:
            place.suspect = (question, index, reason, seconds)

    def _replace(self, place: Place) -> None:
        """A fresh worker gets the place: the spare, where there is one."""
        if place.worker.state != "lost":
            self._server.stop(place.worker)
        place.worker = self._spare or self._server.fork()
        self._spare, self._wants_spare = None, True
        if place.worker.state == "lost":
            self._lose(place, f"{self._who} did not start: {place.worker.trouble}")
        elif place.worker.state == "ready":
            head = place.suspect[1] if place.suspect is not None else None
            self._prove(place, place.worker, [] if head is None else [head])

    def _did_not_start(self, place: Place, reason: str) -> None:
        worker, place.starts = place.worker, place.starts + 1
        is_late, was_at = reason == TIMED_OUT, worker.state
        if was_at == "proving" and place.starts < _STARTS:
            self._replace(place)
            return
        self._server.stop(worker)
        if was_at == "proving":
            how = f"{_STARTS} times it {'hung' if is_late else 'ended'} at an answer whose worth is known"
        elif is_late:
            how = f"it hung for {START_TIMEOUT_S:g} s"
        else:
            how = worker.trouble or self._server.last_words(worker)
        told = how if "cannot be built" in how or how.startswith("reward ") else f"{self._who} did not start: {how}"
        self._lose(place, told)

    def _lose(self, place: Place, trouble: str) -> None:
        place.worker.state, place.worker.trouble, place.starts = "lost", trouble, 0
        for question in self._take_over(place):
            question.give_up(f"no scoring worker: {trouble}")

    def _take_over(self, place: Place) -> list[Question]:
        """The questions that the place's next worker was to begin with; it does not any more."""
        found = [place.retry, place.suspect[0] if place.suspect is not None else None]
        place.retry = place.suspect = None
        return [question for question in found if question is not None]
