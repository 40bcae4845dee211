"""Answers of one problem against each other: the share of the others that an answer beats.

    win = 1 where it is better in both orders, 0 where it is worse in both, 1/2 else

Judges favour a place, so each pair is asked in both orders, and a disagreement between them is a tie. Equal texts tie
without being asked about. An answer all of whose pairs break the judge, while others' do not, is to blame for them: it
is worth the lowest, and the others have beaten it. Where no other answer shows that, each is asked about beside one
that says nothing, and is to blame where that breaks the judge too. Of a pair that breaks it only together, nothing is
said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r1_plugins.judge.config import JudgeConfig
from r1_plugins.judge.questions import NOTHING, Question, pairing
from r1_plugins.judge.session import Said
from r1core.types import Problem


@dataclass(frozen=True, kw_only=True)
class Tournament:
    """The answers to one problem; None for one that is none, which every other beats."""

    config: JudgeConfig
    question: str
    answers: Sequence[str | None]

    def questions(self) -> list[Question]:
        """All pairs of different answers, in both orders."""
        return [question for one, other in self._pairs() for question in self._both(one, other)]

    def doubts(self, said: Mapping[str, Said]) -> list[Question]:
        """What must be asked besides: each answer alone whose pairs break the judge without showing who did it."""
        wins = self._asked({pair: self._win(*pair, said) for pair in self._pairs()})
        doubtful = [n for n in range(len(self.answers)) if self._is_doubtful(n, wins)]
        return [question for n in doubtful for question in self._alone(n)]

    def shares(self, said: Mapping[str, Said]) -> list[Said]:
        """The share of the others that each beats, in order; `said` of the questions, and of the doubts."""
        wins = {pair: self._win(*pair, said) for pair in self._pairs()}
        asked = self._asked(wins)
        blamed = {n for n in range(len(self.answers)) if self._is_to_blame(n, asked) or self._breaks_alone(n, said)}
        return [self._share(n, wins, blamed) for n in range(len(self.answers))]

    def _pairs(self) -> list[tuple[int, int]]:
        present = [n for n, answer in enumerate(self.answers) if answer is not None]
        return list(itertools.combinations(present, 2))

    def _asked(self, wins: Mapping[tuple[int, int], Said]) -> dict[tuple[int, int], Said]:
        """Without the ties of equal texts, which show nothing of the judge."""
        return {(one, other): win for (one, other), win in wins.items() if self.answers[one] != self.answers[other]}

    def _both(self, one: int, other: int) -> tuple[Question, ...]:
        return self._orders(self.answers[one], self.answers[other])

    def _alone(self, n: int) -> tuple[Question, ...]:
        return self._orders(self.answers[n], NOTHING)

    def _orders(self, first: str | None, second: str | None) -> tuple[Question, ...]:
        if first is None or second is None or first == second:
            return ()
        return (
            pairing(self.config, self.question, first, second),
            pairing(self.config, self.question, second, first),
        )

    def _win(self, one: int, other: int, said: Mapping[str, Said]) -> Said:
        """How `one` fares against `other`."""
        asked = [said[question.key] for question in self._both(one, other)]
        for status in ("infrastructure", "answer_failure"):
            failed = [each for each in asked if each.status == status]
            if failed:
                return failed[0]
        if not asked:
            return Said(0.5, "verdict")
        forth, back = asked[0].value, 1 - asked[1].value
        return Said(forth if forth == back else 0.5, "verdict")

    def _is_to_blame(self, n: int, wins: Mapping[tuple[int, int], Said]) -> bool:
        """Whether all of its pairs break the judge, and one of the others does not: else who did cannot be told."""
        own = [win.status for pair, win in wins.items() if n in pair]
        others = [win.status for pair, win in wins.items() if n not in pair]
        return bool(own) and set(own) == {"answer_failure"} and "verdict" in others

    def _is_doubtful(self, n: int, wins: Mapping[tuple[int, int], Said]) -> bool:
        """Whether some of its pairs break the judge, and none does not, and it is not known who did it."""
        own = {win.status for pair, win in wins.items() if n in pair}
        return "answer_failure" in own and "verdict" not in own and not self._is_to_blame(n, wins)

    def _breaks_alone(self, n: int, said: Mapping[str, Said]) -> bool:
        """Whether it was asked about alone, and broke the judge."""
        asked = [said[question.key] for question in self._alone(n) if question.key in said]
        return any(each.status == "answer_failure" for each in asked)

    def _share(self, n: int, wins: Mapping[tuple[int, int], Said], blamed: set[int]) -> Said:
        if self.answers[n] is None:
            return Said(0.0, "verdict", "no_answer")
        own = {pair: win for pair, win in wins.items() if n in pair}
        if n in blamed:
            return next(win for win in own.values() if win.status == "answer_failure")
        values = [1.0] * sum(answer is None for answer in self.answers)
        for (one, other), win in own.items():
            if win.status == "answer_failure" and (other if n == one else one) in blamed:
                values.append(1.0)
            elif win.status == "verdict":
                values.append(win.value if n == one else 1 - win.value)
        if values:
            return Said(math.fsum(values) / len(values), "verdict", "compared")
        if not own:
            return Said(0.5, "verdict", "alone")
        return Said(math.nan, "infrastructure", next(iter(own.values())).reason)


def tournaments(
    config: JudgeConfig, problems: Sequence[Problem], answers: Sequence[str | None]
) -> list[tuple[list[int], Tournament]]:
    """The answers by their problems: which they are, and their tournament."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, problem in enumerate(problems):
        groups.setdefault((problem.id, problem.question), []).append(number)
    return [
        (numbers, Tournament(config=config, question=question, answers=[answers[n] for n in numbers]))
        for (_, question), numbers in groups.items()
    ]
