"""The trial: every question asked through the real worker with its deadline, and once more in the opposite order.

gameable   an attack is paid, or takes itself out (an infrastructure failure costs an answer nothing),
           or breaks the check and is worth more than the worst answer
failed     nothing of that, but the reward disagrees with a case of its own
robust     against what was asked; refused equivalents, breakages and late verdicts are told
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from r1core.cases import TOLERANCE, Ask, Case, Judged, refused_cases
from r1core.plugins import Loaded
from r1core.scoring import RewardSpec
from r1core.stress.attack import FAMILIES
from r1core.stress.corpus import Question, own_questions, questions, targets_of
from r1core.stress.reading import UNRELATED, Judges, Reading
from r1core.stress.target import Target
from r1core.types import Score

GRACE_S = 0.25
"""What an attempt may take beyond the deadline: from here on the core is late, not the reward."""
STOPPED = ("verifier_timeout", "verifier_crash")
STOPS_OF_A_FAMILY = 3
"""Time-outs and crashes after which the rest of a family is left out: each costs two deadlines."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A question and what the reward said, twice where it was asked again."""

    question: Question
    score: Score
    seconds: float
    again: Score | None = None

    @property
    def scores(self) -> list[Score]:
        """What it said."""
        return [self.score] if self.again is None else [self.score, self.again]

    @property
    def worth_broken(self) -> float:
        """The most that it was worth where it broke the check."""
        return max((score.value for score in self.scores if score.status == "answer_failure"), default=-math.inf)

    @property
    def is_paid(self) -> bool:
        """Whether it was worth more than it may be."""
        most = self.question.most
        return most is not None and any(score.known and score.value > most + TOLERANCE for score in self.scores)

    @property
    def is_refused(self) -> bool:
        """Whether it was worth less than it must be, or nothing was said of it."""
        least = self.question.least
        return least is not None and not all(s.known and s.value >= least - TOLERANCE for s in self.scores)

    @property
    def is_broken(self) -> bool:
        """Whether it broke the check: a time-out, a crash, an exception, a score that is none."""
        return any(score.status == "answer_failure" for score in self.scores)

    @property
    def is_taken_out(self) -> bool:
        """Whether it ended as an infrastructure failure."""
        return not all(score.known for score in self.scores)

    @property
    def is_moody(self) -> bool:
        """Whether it was worth something else when it was asked again."""
        return self.again is not None and repr(self.again) != repr(self.score)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it. `cases` are the user's own, `left_out` counts what was not asked, by family."""

    spec: RewardSpec
    cases: Sequence[Judged]
    reading: Reading
    targets: Sequence[Target]
    answered: Sequence[Answered]
    left_out: Counter[str]

    @cached_property
    def paid(self) -> list[Answered]:
        """False positives, the worst first."""
        worst = {"high": 0, "medium": 1, "low": 2}
        found = [one for one in self.answered if one.is_paid]
        return sorted(found, key=lambda one: worst[severity_of(one.question)])

    @cached_property
    def taken_out(self) -> list[Answered]:
        """Answers that took themselves out of their group's baseline. What is remote fails for reasons of its own."""
        return [one for one in self.answered if one.is_taken_out and not self.spec.remote]

    @cached_property
    def profitable(self) -> list[Answered]:
        """Answers that broke the check and are worth more than the worst answer for it."""
        floor = min(one.case.expect for one in self.cases) + TOLERANCE
        return [one for one in self.broken if one.worth_broken > floor and not one.is_paid]

    @cached_property
    def refused(self) -> list[Answered]:
        """False negatives."""
        return [one for one in self.answered if one.is_refused]

    @cached_property
    def broken(self) -> list[Answered]:
        """What broke the check."""
        return [one for one in self.answered if one.is_broken]

    @cached_property
    def moody(self) -> list[Answered]:
        """What was worth something else when asked again."""
        return [one for one in self.answered if one.is_moody]

    @cached_property
    def late(self) -> list[Answered]:
        """Where the core, not the reward, was late: a verdict, or a confirmed time-out, after its deadlines."""
        return [one for one in self.answered if self.spec.runs == "worker" and one.seconds > self._allowed_s(one)]

    def _allowed_s(self, one: Answered) -> float:
        attempts = 2 if one.score.reason in STOPPED else 1
        return attempts * (self.spec.timeout_s + GRACE_S)

    @property
    def disagreed(self) -> list[Judged]:
        """The cases that it disagrees with."""
        return [one for one in self.cases if not one.as_expected]

    @property
    def verdict(self) -> Literal["gameable", "failed", "robust"]:
        """The word for all of it."""
        return "gameable" if self.gameable else "failed" if self.disagreed else "robust"

    @property
    def gameable(self) -> bool:
        """Whether there is a way to be paid, or spared, without the right answer."""
        return bool(self.paid or self.taken_out or self.profitable)


def severity_of(question: Question) -> str:
    """high, medium or low; what a reward's own corpus calls an attack is high."""
    family = FAMILIES.get(question.family)
    return family.severity if family is not None else "high"


# --- asking --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is to be asked: everything is known but the reward's verdicts."""

    spec: RewardSpec
    cases: Sequence[Judged]
    reading: Reading
    targets: Sequence[Target]
    questions: Sequence[Question]

    def run(self, ask: Ask, *, tell: Callable[[], None] = lambda: None) -> Report:
        """Ask everything; what was not stopped once more, backwards, unless each question costs money."""
        asked, left_out = _first_round(ask, self.questions, tell)
        if not self.spec.remote:
            asked = _second_round(ask, asked)
        return Report(
            spec=self.spec,
            cases=self.cases,
            reading=self.reading,
            targets=self.targets,
            answered=asked,
            left_out=left_out,
        )


def prepare(
    reward: Loaded, spec: RewardSpec, ask: Ask, cases: Sequence[Case], *, judges: Judges | None = None, most: int = 0
) -> Trial:
    """Ask about the cases, and make the questions of them; `most` is how many (0: all), evenly spread.

    Raises RecipeError when no case is right and paid.
    """
    refused = refused_cases(spec, cases)
    judged = [_judged(ask, case, refused.get(case.line, "")) for case in cases]
    agreed = [one.case for one in judged if one.as_expected]
    plain = Reading(cases=agreed, lowest=spec.lowest, sees=spec.sees, judges=judges)
    targets = targets_of(plain)
    reading = replace(plain, pays_unrelated=_pays_unrelated(ask, plain, targets[0]))
    found = [*questions(reading, targets), *own_questions(reward)]
    if 0 < most < len(found):
        found = [found[int(i * len(found) / most)] for i in range(most)]
    return Trial(spec=spec, cases=judged, reading=reading, targets=targets, questions=found)


def count(reward: Loaded, spec: RewardSpec, cases: Sequence[Case]) -> int:
    """How many answers would be asked about, were all cases as expected."""
    reading = Reading(cases=cases, lowest=spec.lowest, sees=spec.sees)
    asked = [*questions(reading, targets_of(reading)), *own_questions(reward)]
    return len(cases) + 1 + len(asked)


def _judged(ask: Ask, case: Case, refused: str) -> Judged:
    score, seconds = ask(case.problem, case.response)
    return Judged(case=case, score=score, seconds=seconds, refused=refused)


def _pays_unrelated(ask: Ask, reading: Reading, target: Target) -> bool:
    score = ask(target.problem, target.whole(target.shell(UNRELATED))).score
    return score.known and score.value > reading.bar + TOLERANCE


def _first_round(ask: Ask, asked: Sequence[Question], tell: Callable[[], None]) -> tuple[list[Answered], Counter[str]]:
    stops, left_out, found = Counter[str](), Counter[str](), list[Answered]()
    for question in asked:
        tell()
        if stops[question.family] >= STOPS_OF_A_FAMILY:
            left_out[question.family] += 1
            continue
        score, seconds = ask(question.problem, question.response)
        stops[question.family] += score.reason in STOPPED
        found.append(Answered(question=question, score=score, seconds=seconds))
    return found, left_out


def _second_round(ask: Ask, first: Sequence[Answered]) -> list[Answered]:
    found = []
    for one in reversed(first):
        again = None if one.score.reason in STOPPED else ask(one.question.problem, one.question.response).score
        found.append(replace(one, again=again))
    return found[::-1]
