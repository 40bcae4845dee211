"""From scored answers to what a reward model learns from: pairs, or labelled answers, some of them held out.

    pairwise    two answers to one problem, the better one first, best against worst; label 1
    pointwise   one answer; label 1 when its score is at least 0.5

Held out are whole questions: one that comes again in other words of the model stays on its side.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from r1_plugins.reward_models.text import Sees, Text, scored_sequence
from r1core.types import Answer, TrainSequence

LABEL = 0.5
"""Least score of an answer that is labelled 1."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One or two answers whose scores, times `signs`, add up to the logit of `label`."""

    sequences: tuple[TrainSequence, ...]
    signs: tuple[float, ...]
    label: float
    question: str


@dataclass(frozen=True, kw_only=True)
class Usable:
    """An answer that can be learned from."""

    id: str
    question: str
    sequence: TrainSequence
    score: float


def usable(
    answers: Iterable[Answer], text: Text, *, sees: Sees, only: Mapping[str, str]
) -> tuple[list[Usable], Counter[str]]:
    """The answers that have what it takes, and how many of the others there were, by reason."""
    found, left_out = [], Counter[str]()
    for answer in answers:
        if not answer.problem.matches(only):
            left_out["other_problems"] += 1
        elif not answer.score.known or not math.isfinite(answer.score.value):
            left_out["not_scored"] += 1
        elif (sequence := scored_sequence(text, answer.problem, answer.response, sees)) is None:
            left_out["no_answer"] += 1
        else:
            problem = answer.problem
            found.append(Usable(id=problem.id, question=problem.question, sequence=sequence, score=answer.score.value))
    return found, left_out


def labelled(answers: Sequence[Usable]) -> list[Example]:
    """Each answer with its label."""
    return [
        Example(sequences=(a.sequence,), signs=(1.0,), label=float(a.score >= LABEL), question=a.question)
        for a in answers
    ]


def pairs(answers: Sequence[Usable], *, margin: float, most: int) -> tuple[list[Example], int]:
    """At most `most` pairs of each problem, greatest difference first, and how many problems have none. Two answers
    that look the same are no pair."""
    problems: dict[tuple[str, str], list[Usable]] = {}
    for answer in answers:
        problems.setdefault((answer.id, answer.question), []).append(answer)
    found, without = [], 0
    for own in problems.values():
        chosen = [(a, b) for a, b in permutations(own, 2) if a.score - b.score > margin and not _same(a, b)]
        chosen.sort(key=lambda pair: pair[1].score - pair[0].score)
        found += [_pair(a, b) for a, b in chosen[:most]]
        without += not chosen
    return found, without


def _same(one: Usable, other: Usable) -> bool:
    return np.array_equal(one.sequence.ids, other.sequence.ids)


def _pair(chosen: Usable, rejected: Usable) -> Example:
    sequences = (chosen.sequence, rejected.sequence)
    return Example(sequences=sequences, signs=(1.0, -1.0), label=1.0, question=chosen.question)


def chosen_longer(examples: Sequence[Example]) -> float:
    """The share of pairs whose chosen answer has more tokens; like lengths count half, so that 0.5 is balanced."""
    longer = [np.sign(len(e.sequences[0].ids) - len(e.sequences[1].ids)) for e in examples]
    return float(np.mean(longer) / 2 + 0.5)


def split(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """(learned from, held out): the questions of smallest hash are held out, at least one where `share` is not 0."""
    questions = sorted({example.question for example in examples}, key=_hash)
    count = max(1, round(share * len(questions))) if share else 0
    held = set(questions[:count])
    return [e for e in examples if e.question not in held], [e for e in examples if e.question in held]


def _hash(question: str) -> bytes:
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()
