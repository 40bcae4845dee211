"""The three reasoning tasks: arithmetic modulo 10, chains of variables, sorting letters.

A task knows its question and its worked steps, both free of any language; `content` is the part
without words, which decides what is held out (so that a question and its translation are held out
together). Steps can be made to slip: a wrong result is carried on into the steps after it, as when
a person miscalculates.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, TypeAlias

from r1_plugins.playground.words import (
    COMPUTE,
    DIGITS,
    FIND,
    FIRST,
    IS,
    LET,
    LETTERS,
    MODULO,
    NEXT,
    SMALLEST,
    SORT,
    STOP,
    THEN,
    Piece,
    Word,
)
from r1_plugins.playground.world import TaskName, is_held_out

Slip: TypeAlias = Callable[[str, Sequence[str]], str]
"""(right result, possible results) -> the result that is written."""
Term: TypeAlias = tuple[str, int]
"""An operator and the number after it."""


def no_slip(right: str, choices: Sequence[str]) -> str:
    """Always the right result."""
    return right


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of a worked solution: in words, in symbols only, and its result."""

    words: tuple[Piece, ...]
    symbols: tuple[Piece, ...]
    result: str


class Task(abc.ABC):
    """One problem, in no language yet."""

    name: ClassVar[TaskName]
    opener: ClassVar[Word] = FIRST
    """The word that a worked solution starts with."""
    content: str
    operands: int

    @abc.abstractmethod
    def question(self) -> tuple[Piece, ...]:
        """The question's pieces."""

    @abc.abstractmethod
    def steps(self, slip: Slip) -> list[Step]:
        """The worked solution."""

    def conclude(self, steps: Sequence[Step]) -> str:
        """The answer that these steps lead to."""
        return steps[-1].result

    @property
    def answer(self) -> str:
        """The right answer."""
        return self.conclude(self.steps(no_slip))

    @abc.abstractmethod
    def lazy_answer(self, rng: Random) -> str:
        """What somebody answers who did not do the work."""

    @property
    def held_out(self) -> bool:
        """Whether it is kept from everything that a model learns from, in both languages."""
        return is_held_out(self.content)


def _apply(left: str, term: Term) -> str:
    operator, value = term
    return str((int(left) + (value if operator == "+" else -value)) % 10)


def _terms(count: int, rng: Random) -> tuple[Term, ...]:
    return tuple((rng.choice("+-"), rng.randint(1, 5)) for _ in range(count))


class Arithmetic(Task):
    """`compute 3 + 5 - 2 mod 10`; first operand 0 to 9, the others 1 to 5: one hundred facts in all."""

    name = "arith"

    def __init__(self, first: int, terms: tuple[Term, ...]) -> None:
        self.first = str(first)
        self.terms = terms
        self.operands = len(terms) + 1
        self.content = " ".join([self.first, *(f"{operator} {value}" for operator, value in terms)])

    @classmethod
    def draw(cls, operands: int, rng: Random) -> Arithmetic:
        """A random one."""
        return cls(rng.randrange(10), _terms(operands - 1, rng))

    def question(self) -> tuple[Piece, ...]:
        return (COMPUTE, self.content, MODULO, "10")

    def steps(self, slip: Slip) -> list[Step]:
        made: list[Step] = []
        value = self.first
        for term in self.terms:
            result = slip(_apply(value, term), DIGITS)
            left = f"{value} {term[0]} {term[1]}"
            words = (THEN if made else FIRST, left, IS, result, STOP)
            made.append(Step(words=words, symbols=(left, "=", result, "."), result=result))
            value = result
        return made

    def lazy_answer(self, rng: Random) -> str:
        return Arithmetic.draw(self.operands, rng).answer


class Variables(Task):
    """`let d = 2 , j = d + 1 , e = j - 5 mod 10 . find e`: each variable is made from the one before."""

    name = "vars"

    def __init__(self, names: tuple[str, ...], first: int, terms: tuple[Term, ...]) -> None:
        self.names = names
        self.first = str(first)
        self.terms = terms
        self.operands = len(names)
        later = zip(names[1:], names, terms, strict=False)
        self.content = " , ".join([f"{names[0]} = {first}", *(f"{n} = {of} {op} {v}" for n, of, (op, v) in later)])

    @classmethod
    def draw(cls, operands: int, rng: Random) -> Variables:
        """A random one."""
        return cls(tuple(rng.sample(LETTERS, operands)), rng.randrange(10), _terms(operands - 1, rng))

    def question(self) -> tuple[Piece, ...]:
        return (LET, self.content, MODULO, "10", STOP, FIND, self.names[-1])

    def steps(self, slip: Slip) -> list[Step]:
        value = slip(self.first, DIGITS)
        start = (FIRST, self.names[0], IS, value, STOP)
        made = [Step(words=start, symbols=(self.names[0], "=", value, "."), result=value)]
        for name, term in zip(self.names[1:], self.terms, strict=True):
            result = slip(_apply(value, term), DIGITS)
            left = f"{value} {term[0]} {term[1]}"
            words = (THEN, name, IS, left, IS, result, STOP)
            made.append(Step(words=words, symbols=(name, "=", left, "=", result, "."), result=result))
            value = result
        return made

    def lazy_answer(self, rng: Random) -> str:
        return Variables.draw(self.operands, rng).answer


class Sorting(Task):
    """`sort m d b e`; one letter more than it has operands, so that sizes compare across tasks."""

    name = "sort"
    opener = SMALLEST

    def __init__(self, letters: tuple[str, ...]) -> None:
        self.letters = letters
        self.operands = len(letters) - 1
        self.content = " ".join(letters)

    @classmethod
    def draw(cls, operands: int, rng: Random) -> Sorting:
        """A random one."""
        return cls(tuple(rng.sample(LETTERS, operands + 1)))

    def question(self) -> tuple[Piece, ...]:
        return (SORT, self.content)

    def steps(self, slip: Slip) -> list[Step]:
        made: list[Step] = []
        for right in sorted(self.letters):
            letter = slip(right, self.letters)
            made.append(Step(words=(NEXT if made else SMALLEST, letter, STOP), symbols=(letter,), result=letter))
        return made

    def conclude(self, steps: Sequence[Step]) -> str:
        return " ".join(step.result for step in steps)

    def lazy_answer(self, rng: Random) -> str:
        return self.content


TASKS: dict[str, type[Arithmetic] | type[Variables] | type[Sorting]] = {
    task.name: task for task in (Arithmetic, Variables, Sorting)
}


def draw_task(name: str, operands: tuple[int, int], rng: Random, *, held_out: bool) -> Task:
    """A random task of this name with at least and at most `operands`, held out or not."""
    while True:
        task = TASKS[name].draw(rng.randint(*operands), rng)
        if task.held_out == held_out:
            return task
