"""Problems that no answer can be held against: a gold that a reward cannot read would pay nothing, or everything.

Rewards say so themselves (`refuses`), in a worker with their deadline, before an answer is ever scored.

    with Golds(specs) as golds:
        for number, reward, reason in golds.refused(problems, by=[0, 2]): ...
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Self

from r1core.errors import SetupError
from r1core.scoring.questions import Question
from r1core.scoring.service import ScoringService
from r1core.scoring.spec import RewardSpec
from r1core.scoring.wire import encode_question
from r1core.types import Problem

FAILED = "its `refuses` failed: "
"""How the reason begins where a reward gave none: it raised, or was too late."""
_AT_ONCE = 1024
"""Problems that are held at a time."""


class Refusal(NamedTuple):
    """A problem by its number, the reward that cannot judge it, and why."""

    number: int
    reward: str
    reason: str


class Golds:
    """Rewards that may refuse problems, ready to be asked. Entering raises SetupError where one cannot be built."""

    def __init__(self, specs: Sequence[RewardSpec], *, workers: int = 1) -> None:
        self._specs = specs
        own = [replace(spec, runs="worker") for spec in specs]
        self._service = ScoringService(own, workers=workers, sentinels=False)

    def __enter__(self) -> Self:
        self._service.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._service.__exit__(kind, error, trace)

    def refused(self, problems: Iterable[Problem], *, by: Sequence[int] | None = None) -> Iterator[Refusal]:
        """What those of these rewards (all of them, by default) that apply refuse, in order. Raises SetupError where
        they cannot be asked."""
        numbered = enumerate(problems)
        while some := list(islice(numbered, _AT_ONCE)):
            yield from self._refused(some, range(len(self._specs)) if by is None else by)

    def _refused(self, problems: Sequence[tuple[int, Problem]], by: Sequence[int]) -> Iterator[Refusal]:
        questions = []
        for number, problem in problems:
            pythons: dict[str, deque[int]] = {}
            for index in by:
                if problem.matches(self._specs[index].only_for):
                    pythons.setdefault(self._specs[index].python, deque()).append(index)
            body = encode_question(problem, None)
            questions += [Question(number=number, pending=pending, body=body) for pending in pythons.values()]
        self._ask(questions)
        for question in questions:
            for index, outcome in sorted(question.outcomes.items()):
                name = self._specs[index].name
                if outcome.status == "infrastructure":
                    raise SetupError(
                        f"reward {name!r} could not be asked whether it can read golds: {outcome.reason}",
                        where="scoring",
                        fix="run `r1 doctor`, or mend the reward",
                    )
                if outcome.reason:
                    failed = "" if outcome.status == "verdict" else FAILED
                    yield Refusal(question.number, name, f"{failed}{outcome.reason}")

    def _ask(self, questions: Sequence[Question]) -> None:
        engine = self._service.engine
        assert engine is not None, "all of its rewards run in workers"
        work = engine.begin()
        try:
            engine.add(questions)
            engine.whole(work, within_s=math.inf)
            engine.wait(work)
        finally:
            if not work.done.is_set():
                engine.cancel(work)


def refusals(spec: RewardSpec, problems: Sequence[Problem]) -> list[Refusal]:
    """What one reward refuses; nothing is started where it cannot."""
    if not spec.refuses or not problems:
        return []
    with Golds([spec]) as golds:
        return list(golds.refused(problems))
