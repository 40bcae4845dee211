"""The loop over the scoring workers: it hands out questions, owns the deadlines and finds the culprit.

One thread, non-blocking pipes. A worker answers in order, so whatever hangs or crashes is the first
question it owes. That one is asked once more, in a fresh worker; a second failure counts against the
answer only once a further worker has started and reported ready, else it is infrastructure. The other
questions go back to the queue unblamed. Where no worker starts any more, what is left is infrastructure.
"""

from __future__ import annotations

import json
import math
import os
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r1core.errors import SetupError
from r1core.scoring_process import Launch, Question, Worker
from r1core.scoring_source import Source
from r1core.scoring_worker import Outcome, Sees

START_TIMEOUT_S = 120.0  # importing a large verifier on a loaded machine takes 8 s; this is a hang
_WINDOW = 8  # questions a worker holds at a time: enough to keep it busy, few to hand back


@dataclass(frozen=True, kw_only=True)
class WorkerReward:
    """What a worker needs of a reward, and how long the parent waits for it."""

    index: int
    name: str
    target: str
    options: dict[str, Any]
    sees: Sees
    timeout_s: float
    remote: bool
    source: Source | None = None
    """What its code must be, where the interpreter finds code of its own."""


class Pool:
    """Some workers of one interpreter and the loop that runs them."""

    def __init__(
        self, rewards: Sequence[WorkerReward], launch: Launch, *, workers: int, memory_mib: int | None = None
    ) -> None:
        self._rewards = {reward.index: reward for reward in rewards}
        self._waiting: deque[Question] = deque()
        self._who = f"a scoring worker in {launch.interpreter}" if launch.interpreter else "a scoring worker"
        entries = [[r.index, r.name, r.target, r.options, r.sees, r.source] for r in rewards]
        hello = {"rewards": entries, "parent": os.getpid(), "memory_mib": memory_mib}
        self.workers = [Worker(json.dumps(hello).encode() + b"\n", launch) for _ in range(workers)]
        try:
            while any(worker.state == "starting" for worker in self.workers):
                self._turn()
            for worker in self.workers:
                if worker.state == "lost":
                    raise SetupError(worker.trouble, where="scoring", fix="run `r1 doctor`, or mend the reward")
        except BaseException:
            self.close()
            raise

    @property
    def rewards(self) -> frozenset[int]:
        """The indices of the rewards that it asks."""
        return frozenset(self._rewards)

    def close(self) -> None:
        """End every worker; none is left behind, not even as a zombie."""
        for worker in self.workers:
            if worker.state == "ready" and not worker.owed:
                worker.leave()
            elif worker.state != "lost":
                worker.stop()
        self.workers = []

    def run(self, questions: Sequence[Question]) -> None:
        """Ask them all; afterwards each has an outcome for every reward."""
        self._waiting = deque(question for question in questions if question.pending)
        for worker in self.workers:
            if worker.state == "lost":
                worker.start()
        try:
            while self._waiting or any(worker.owed for worker in self.workers):
                if all(worker.state == "lost" for worker in self.workers):
                    self._give_up()
                    return
                self._hand_out()
                self._turn()
        except BaseException:
            for worker in self.workers:
                self._drop(worker)
            raise

    def _give_up(self) -> None:
        for question in self._waiting:
            question.give_up(f"no scoring worker: {self.workers[0].trouble}")
        self._waiting.clear()

    def _drop(self, worker: Worker) -> None:
        if worker.owed and worker.state != "lost":
            worker.stop()
            worker.state = "lost"
        worker.owed.clear()
        worker.suspect = ""

    def _hand_out(self) -> None:
        for _ in range(_WINDOW):
            for worker in self.workers:
                if self._waiting and worker.state == "ready" and len(worker.owed) < _WINDOW:
                    worker.ask(self._waiting.popleft())

    def _turn(self) -> None:
        alive = [worker for worker in self.workers if worker.state != "lost"]
        poller = select.poll()
        for worker in alive:
            worker.flush()
            worker.register(poller)
        deadlines = [deadline for worker in alive if (deadline := self._deadline(worker)) is not None]
        wait_s = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        poller.poll(None if wait_s is None else math.ceil(wait_s * 1000))
        for worker in alive:
            self._attend(worker)

    def _deadline(self, worker: Worker) -> float | None:
        if worker.state == "starting":
            return worker.since + START_TIMEOUT_S
        return worker.since + self._rewards[worker.owed[0].pending[0]].timeout_s if worker.owed else None

    def _attend(self, worker: Worker) -> None:
        lines, ended = worker.hear()
        for line in lines:
            if not self._understood(worker, line):
                ended = True
                break
        if worker.state == "lost":
            return
        deadline = self._deadline(worker)
        if ended:
            self._failed(worker, "verifier_crash")
        elif deadline is not None and time.monotonic() >= deadline:
            self._failed(worker, "verifier_timeout")

    def _understood(self, worker: Worker, line: bytes) -> bool:
        """Take one line; False when it is not what this worker owes."""
        try:
            reply = json.loads(line)
        except ValueError:
            return False
        if worker.state == "starting":
            return self._started(worker, reply)
        worker.since = time.monotonic()
        if not worker.owed or reply[:2] != [worker.owed[0].number, worker.owed[0].pending[0]]:
            return False
        worker.owed[0].settle(Outcome(*reply[2:]))
        if not worker.owed[0].pending:
            worker.owed.popleft()
        return True

    def _started(self, worker: Worker, reply: dict[str, Any]) -> bool:
        if "error" in reply:
            worker.trouble = reply["error"]
            return False
        worker.state, worker.since = "ready", time.monotonic()
        if worker.suspect:
            worker.owed[0].settle(Outcome("answer_failure", math.nan, worker.suspect))
            worker.suspect = ""
            if not worker.owed[0].pending:
                worker.owed.popleft()
        worker.ask_again()
        return True

    def _failed(self, worker: Worker, reason: str) -> None:
        exit_code = worker.stop()
        if worker.state == "starting":
            hung = f"it hung for {START_TIMEOUT_S:g} s" if reason == "verifier_timeout" else f"exit code {exit_code}"
            self._lose(worker, worker.trouble or f"{self._who} did not start: {hung}")
            return
        while len(worker.owed) > 1:
            self._waiting.appendleft(worker.owed.pop())
        if worker.owed:
            self._blame(worker, worker.owed[0], reason)
        worker.start()
        if worker.state == "lost":
            self._lose(worker, worker.trouble)

    def _blame(self, worker: Worker, question: Question, reason: str) -> None:
        question.failures += 1
        if question.failures < 2:
            return
        if reason == "verifier_timeout" and self._rewards[question.pending[0]].remote:
            question.settle(Outcome("infrastructure", math.nan, reason))
            if not question.pending:
                worker.owed.popleft()
        else:
            worker.suspect = reason

    def _lose(self, worker: Worker, trouble: str) -> None:
        worker.state, worker.trouble, worker.suspect = "lost", trouble, ""
        for question in worker.owed:
            question.give_up(f"no scoring worker: {trouble}")
        worker.owed.clear()
