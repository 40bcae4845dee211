"""A batch of answers that are scored as they are handed over: each by its place, one score for each, in order.

    with service.batch([len(keys) for each problem]) as batch:
        batch.add(place, rollout)        # as the sampler yields them, in any order
        groups = batch.finish(groups)    # waits for what is left

A place counts from 0 over all groups. Leaving the block without `finish` forgets the batch.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from types import TracebackType
from typing import TYPE_CHECKING, Self

from r1core.errors import RecipeError
from r1core.scoring.here import AskingMeanwhile
from r1core.scoring.questions import Question
from r1core.scoring.wire import Outcome, encode_question, seen
from r1core.types import Group, Problem, Rollout

if TYPE_CHECKING:
    from r1core.scoring.service import ScoringService


class Batch:
    """The answers of some groups, which are `sizes` large. One is open at a time."""

    def __init__(self, service: ScoringService, sizes: Sequence[int], *, step: int, total: int) -> None:
        self._service = service
        self._step = step
        self._total = total
        self._ends = list(accumulate(sizes))
        self._missing = list(sizes)
        """How many answers of each group have not come."""
        self._rollouts: dict[int, Rollout] = {}
        self._applicable: dict[int, list[int]] = {}
        self._questions: list[Question] = []
        self._asking = service.asking()
        self._engine = service.engine
        self._work = self._engine.begin() if self._engine is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None and self._work is not None and not self._work.done.is_set():
            self._engine.cancel(self._work)
        for asking in self._asking.values():
            if isinstance(asking, AskingMeanwhile):
                asking.forget()

    def add(self, place: int, rollout: Rollout) -> None:
        """Score this answer, which is at `place`. Raises RecipeError where no reward applies to its problem."""
        places = self._ends[-1] if self._ends else 0
        if not 0 <= place < places or place in self._rollouts:
            how = "does not belong here" if place not in self._rollouts else "was handed over twice"
            raise RuntimeError(f"answer {place} of {places} {how}")
        applicable = [
            index
            for index, spec in enumerate(self._service.specs)
            if spec.applies(rollout.problem, step=self._step, total=self._total)
        ]
        if not applicable:
            raise _unrewarded(rollout.problem, self._step)
        self._rollouts[place], self._applicable[place] = rollout, applicable
        self._ask_workers(place, rollout, [index for index in applicable if index not in self._asking])
        group = bisect_right(self._ends, place)
        self._missing[group] -= 1
        if not self._missing[group]:
            self._ask_here(range(self._ends[group - 1] if group else 0, self._ends[group]))

    def finish(self, groups: Sequence[Group]) -> list[Group]:
        """The groups, scored; answers that have not been handed over are now. Waits for what is left."""
        begun = time.monotonic()
        answers = [rollout for group in groups for rollout in group.rollouts]
        for place, rollout in enumerate(answers):
            if place not in self._rollouts:
                self.add(place, rollout)
            elif self._rollouts[place].response is not rollout.response:
                raise RuntimeError(f"answer {place} is not the one that was handed over to be scored")
        if len(self._rollouts) != len(answers):
            raise RuntimeError(f"{len(self._rollouts)} answers were handed over to be scored, {len(answers)} came back")
        outcomes, seconds = self._collect()
        scores = iter(self._service.scores(outcomes, seconds))
        self._service.tally.waited(time.monotonic() - begun)
        return [group.scored(tuple(next(scores) for _ in group.rollouts)) for group in groups]

    def _ask_workers(self, place: int, rollout: Rollout, wanted: Sequence[int]) -> None:
        """One question for each interpreter that has rewards for it."""
        if not wanted:
            return
        assert self._engine is not None, "rewards that do not run here have workers"
        body = encode_question(rollout.problem, rollout.response)
        specs = self._service.specs
        pythons = dict.fromkeys(specs[index].python for index in wanted)
        questions = [
            Question(number=place, pending=deque(i for i in wanted if specs[i].python == python), body=body)
            for python in pythons
        ]
        self._questions += questions
        self._engine.add(questions)

    def _ask_here(self, places: range) -> None:
        """A group is complete: the rewards of this process may see it."""
        for index, asking in self._asking.items():
            sees = self._service.specs[index].sees
            own = [place for place in places if index in self._applicable[place]]
            if own:
                group = [(p, self._rollouts[p].problem, seen(self._rollouts[p].response, sees)) for p in own]
                if self._service.specs[index].remote:  # which is asked as groups come: they may have one problem
                    group = [(p, replace(asked, id=f"{asked.id}#{places.start}"), said) for p, asked, said in group]
                asking.add(group)

    def _collect(self) -> tuple[list[dict[int, Outcome]], list[dict[int, float]]]:
        """The outcomes of each answer, by reward, and how long each took in a worker."""
        if self._engine is not None and self._work is not None:
            self._engine.whole(self._work, within_s=self._service.batch_timeout_s)
        found = [dict[int, Outcome]() for _ in self._rollouts]
        seconds = [dict[int, float]() for _ in self._rollouts]
        here = {index: asking.outcomes() for index, asking in self._asking.items()}
        if self._engine is not None and self._work is not None:
            self._engine.wait(self._work)
        for index, own in here.items():
            for place, outcome in own.items():
                found[place][index] = outcome
        for question in self._questions:
            found[question.number] |= question.outcomes
            seconds[question.number] |= question.seconds
        for place, outcomes in enumerate(found):
            if sorted(outcomes) != self._applicable[place]:
                raise RuntimeError(
                    f"answer {place} has outcomes of rewards {sorted(outcomes)}, not {self._applicable[place]}"
                )
        return [dict(sorted(outcomes.items())) for outcomes in found], seconds


def _unrewarded(problem: Problem, step: int) -> RecipeError:
    return RecipeError(
        f"no reward applies to problem {problem.id!r} (domain {problem.domain!r}) at step {step}",
        where="rewards",
        fix="check `for:` and `active:`; every problem needs a reward at every step",
    )
