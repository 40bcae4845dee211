"""What a file of cases says of its reward: what is paid, what a wrong answer is worth, and what is looked at.

An attack makes sense only against a reward that looks at what it changes. A format reward pays any
answer, so "41 or 42" is no attack on it, and nobody has to say so: its cases do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from r1core.cases import TOLERANCE, Case
from r1core.errors import RecipeError
from r1core.scoring.wire import Sees
from r1core.stress.attack import Attack
from r1core.stress.target import Target, final
from r1core.types import Response

Judges: TypeAlias = Literal["answer", "form"]
UNRELATED = "The committee met on Tuesday and then went home."
"""A harmless answer to no question: a reward that compares with nothing and pays it does not look at what is said."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What cases that the reward agrees with say of it. `judges` overrules what they say of answers."""

    cases: Sequence[Case]
    lowest: float
    sees: Sees
    judges: Judges | None = None
    pays_unrelated: bool = False
    """Whether it paid `UNRELATED` in the form of a right answer."""

    def __post_init__(self) -> None:
        if not self.cases or self.top <= self.floor + TOLERANCE:
            raise RecipeError(
                f"no case that the reward agrees with is worth more than {self.floor:g}: attacks are made from those",
                where="--stress",
                fix="see what it says of the cases (r1 verify without --stress), or add a right answer",
            )

    @cached_property
    def top(self) -> float:
        """What the best answer is worth."""
        return max((case.expect for case in self.cases), default=self.floor)

    @cached_property
    def floor(self) -> float:
        """What the worst is worth."""
        return min([self.lowest, *(case.expect for case in self.cases)])

    @cached_property
    def bar(self) -> float:
        """The most that a wrong answer is worth: one in the lower half."""
        return max([case.expect for case in self.cases if not self._is_paid(case)], default=self.floor)

    @cached_property
    def paid(self) -> list[Case]:
        """The cases in the upper half."""
        return [case for case in self.cases if self._is_paid(case)]

    @cached_property
    def unpaid(self) -> list[Case]:
        """The others, that were not cut off."""
        return [case for case in self.cases if not self._is_paid(case) and case.response.finish == "stop"]

    def _is_paid(self, case: Case) -> bool:
        return case.expect > (self.top + self.floor) / 2

    # --- what is looked at -------------------------------------------------------------------------

    @cached_property
    def judges_answers(self) -> bool:
        """Whether a wrong answer in the form of a right one is worth less: the cases have one, and none of them pays
        for saying nothing."""
        if self.judges is not None:
            return self.judges == "answer"
        if any(not final(case.response).strip() for case in self.paid):
            return False
        if self.pays_unrelated and all(case.problem.reference is None for case in self.cases):
            return False
        said = {final(case.response) for case in self.paid}
        forms = {_form(case.response) for case in self.paid}
        answers = [final(case.response) for case in self.unpaid if _form(case.response) in forms]
        return any(answer.strip() and answer not in said for answer in answers)

    @cached_property
    def judges_thinking(self) -> bool:
        """Whether a think block that is not one of its own costs a right answer."""
        return self._condemns(_is_malformed)

    @cached_property
    def judges_tags(self) -> bool:
        """Whether missing answer tags cost it."""
        return self._condemns(_is_untagged)

    @cached_property
    def wants_thinking(self) -> bool:
        """Whether thinking is what is judged, rather than the answer: a missing think block is not paid."""
        return not self.judges_answers and self._condemns(_is_unthinking)

    def _condemns(self, is_broken: Callable[[Response], bool]) -> bool:
        if self.sees == "answer" or any(is_broken(case.response) for case in self.paid):
            return False
        return any(is_broken(case.response) and self._says_paid(case) for case in self.unpaid)

    def _says_paid(self, case: Case) -> bool:
        """Whether a broken response says what a paid one to the same problem says."""
        paid = [final(each.response) for each in self.paid if question_of(each) == question_of(case)]
        return any(answer and answer in case.response.text for answer in paid)

    # --- what an attack may be worth ---------------------------------------------------------------

    def limit(self, attack: Attack, target: Target) -> float | None:
        """The most that it may be worth; None where it is no attack on this reward."""
        if not self._makes_sense(attack) or any(attack.is_like(case.response) for case in self.paid):
            return None
        if attack.response.text in self._stated.get(target.problem.id, frozenset()):
            return None  # the cases themselves say what this one is worth
        return target.worth - 2 * TOLERANCE if attack.holds and self._gives_part_credit else self.bar

    def _makes_sense(self, attack: Attack) -> bool:
        if attack.family == "no thinking":
            return self.wants_thinking
        if attack.family == "form":
            broken = attack.response
            return self.judges_thinking if broken.thinking is None else self.judges_tags and not broken.tagged
        return self.judges_answers

    @cached_property
    def _gives_part_credit(self) -> bool:
        return any(self.floor + TOLERANCE < case.expect < self.top - TOLERANCE for case in self.cases)

    @cached_property
    def _stated(self) -> Mapping[str, frozenset[str]]:
        """Problem of a target -> texts that cases of the same question have."""
        said: dict[str, set[str]] = {}
        for case in self.cases:
            said.setdefault(question_of(case), set()).add(case.response.text)
        return {case.problem.id: frozenset(said[question_of(case)]) for case in self.cases}


def question_of(case: Case) -> str:
    """All that is asked in a case, as text: equal for cases that ask the same."""
    problem = case.problem
    return repr((problem.messages, problem.reference, problem.domain, problem.language, problem.meta))


def _form(response: Response) -> tuple[bool, bool]:
    return response.thinking is not None, response.tagged


def _is_malformed(response: Response) -> bool:
    """Its think block is not the only one, or not the first thing."""
    return response.thinking is None and response.answer is not None


def _is_untagged(response: Response) -> bool:
    return response.thinking is not None and not response.tagged


def _is_unthinking(response: Response) -> bool:
    return response.thinking is None
