"""What workers are asked: answers, whose worth is wanted, and sentinels, whose worth is known."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from r1core.errors import RefusedError
from r1core.scoring.source import Source
from r1core.scoring.wire import NOBODY, PRESENT, Outcome, Sees, address, lost

TOLERANCE = 1e-6
"""How far the value of a sentinel may be from what its reward declares."""
_SHOWN = 100
"""Characters of a sentinel's text in an error."""


@dataclass(frozen=True, kw_only=True)
class WorkerReward:
    """What a worker needs of a reward, and how long the parent waits for it."""

    index: int
    name: str
    target: str
    options: dict[str, Any]
    sees: Sees
    timeout_s: float
    lowest: float
    remote: bool
    source: Source | None = None
    """What its code must be, where the interpreter finds code of its own."""


class Known(NamedTuple):
    """A sentinel of a reward: the question as it is sent, what it is worth, and its text for people."""

    reward: int
    body: bytes
    value: float
    text: str

    def check(self, reward: WorkerReward, outcome: Outcome) -> None:
        """Raise RefusedError where the grader says something else. What infrastructure failed to say at a distance is
        no verdict."""
        if outcome.status == "infrastructure":
            return
        got = outcome.value if outcome.status == "verdict" else reward.lowest
        if math.isclose(got, self.value, rel_tol=0, abs_tol=TOLERANCE):
            return
        text = repr(self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]}…")
        said = f"{got:g} ({outcome.reason})" if outcome.reason else f"{got:g}"
        raise RefusedError(
            f"reward {reward.name!r} got a sentinel wrong: expected {self.value:g}, got {said} for {text}; "
            "what its worker said since it last was right has been thrown away",
            where="scoring",
            fix="its grader is broken, or an answer has tampered with it: mend the reward; `r1 verify` shows its cases",
        )


@dataclass(kw_only=True)
class Question:
    """One answer and the rewards it still has to be asked about, in order; or a sentinel, or a sign of life."""

    number: int
    pending: deque[int]
    body: bytes
    known: Known | None = None
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    """Reward -> how long the last attempt took."""
    failures: dict[int, int] = field(default_factory=dict)
    """Reward -> how often it brought a worker down."""
    closes: bool = False
    """Whether it is the last sentinel of a round: what was said before it is vouched for when it is right."""
    is_suspected: bool = False
    """Whether it was among the last before a worker failed at what is known: it is asked with that right behind it."""

    @classmethod
    def sentinel(cls, known: Known, *, closes: bool) -> Question:
        """A question whose answer is known."""
        return cls(number=-1, pending=deque([known.reward]), body=known.body, known=known, closes=closes)

    @classmethod
    def sign_of_life(cls) -> Question:
        """A question that any worker can answer."""
        return cls(number=-1, pending=deque([PRESENT]), body=NOBODY)

    @property
    def is_answer(self) -> bool:
        """Whether somebody waits for the outcome."""
        return self.number >= 0

    def settle(self, outcome: Outcome, seconds: float, index: int | None = None) -> None:
        """Note the outcome of a reward: of the one at the head, unless another is named."""
        index = self.pending[0] if index is None else index
        self.pending.remove(index)
        self.outcomes[index] = outcome
        self.seconds[index] = seconds
        self.failures.pop(index, None)

    def withdraw(self, index: int) -> None:
        """Forget what a reward said: it has to be asked again."""
        del self.outcomes[index]
        self.pending.appendleft(index)

    def give_up(self, reason: str) -> None:
        """No worker is left to ask, or no time."""
        while self.pending:
            self.settle(lost(reason), 0.0)


class Asked(NamedTuple):
    """A question on its way to a worker."""

    serial: int
    question: Question

    @property
    def line(self) -> bytes:
        """What is sent."""
        return address(self.serial, [index for index in self.question.pending if index != PRESENT], self.question.body)
