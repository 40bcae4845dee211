"""All questions of a stress test: attacks and equivalent forms, made from the right answers of a file of cases.

    <name>_adversarial.jsonl, <name>_equivalent.jsonl      a reward's own, beside its code, in the schema of cases

Garbage by the megabyte, which may hang and does not depend on the problem, is asked of one only, and last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1core.cases import TOLERANCE, Case, read_cases
from r1core.plugins import Loaded
from r1core.stress import absent, boxes, form, hedged, hostile, talk, values
from r1core.stress.attack import FAMILIES, Attack
from r1core.stress.equivalent import equivalents
from r1core.stress.reading import Reading, question_of
from r1core.stress.target import Target, final
from r1core.types import Problem, Response

TARGETS = 8
"""Right answers, evenly spread over the file, that attacks are made from."""
OWN_ATTACKS, OWN_FORMS = "own attacks", "own forms"
MAKERS: Sequence[Callable[[Target], Iterator[Attack]]] = (
    absent.empty,
    absent.cut_off,
    absent.misplaced,
    hedged.hedged,
    boxes.boxed,
    hedged.chained,
    hedged.negated,
    hedged.part,
    hedged.other_answer,
    talk.echo,
    values.spelling,
    form.form,
    form.no_thinking,
    talk.claim,
    talk.opening,
    talk.injection,
    values.pattern,
    values.program,
    values.type_,
    values.number,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One answer to one problem, and what it may be worth: at most `most` (None: anything), at least `least`."""

    family: str
    label: str
    why: str
    problem: Problem
    response: Response
    most: float | None = None
    least: float | None = None


def targets_of(reading: Reading) -> list[Target]:
    """The right answers that are worth the most, one of each question and `TARGETS` at most."""
    best = [case for case in reading.paid if case.expect >= reading.top - TOLERANCE and case.response.finish == "stop"]
    plainest = sorted(best, key=lambda case: -len(final(case.response)))
    chosen_of = {question_of(case): case for case in plainest}
    firsts = list({question_of(case): chosen_of[question_of(case)] for case in best}.values())
    step = max(1.0, len(firsts) / TARGETS)
    chosen = [firsts[int(i * step)] for i in range(min(len(firsts), TARGETS))]
    return [_target(case, reading, best) for case in chosen]


def _target(case: Case, reading: Reading, best: Sequence[Case]) -> Target:
    mine = question_of(case)
    same = [each for each in reading.cases if question_of(each) == mine]
    paid = set(map(id, reading.paid))
    return Target(
        problem=case.problem,
        response=case.response,
        worth=case.expect,
        accepted=tuple(final(each.response) for each in same if id(each) in paid),
        wrong=tuple(final(each.response) for each in same if id(each) not in paid),
        others=() if isinstance(case.problem.reference, dict) else _elsewhere(case, best),
    )


def _elsewhere(case: Case, best: Sequence[Case]) -> tuple[str, ...]:
    """Right answers to other questions, as other words: one question may have several cases with several golds."""
    asked = case.problem.question
    return tuple(dict.fromkeys(final(each.response) for each in best if each.problem.question != asked))


def questions(reading: Reading, targets: Sequence[Target]) -> Iterator[Question]:
    """Those made from cases; what may hang comes last."""
    for target in targets:
        yield from _forms(target, reading)
    for make in MAKERS:
        for target in targets:
            yield from _attacks(make(target), target, reading)
    yield from _attacks(hostile.size(targets[0].said), targets[0], reading)


def _attacks(made: Iterator[Attack], target: Target, reading: Reading) -> Iterator[Question]:
    seen = {target.text}
    for attack in made:
        if (text := attack.response.prefilled + attack.response.text) in seen:
            continue
        seen.add(text)
        yield Question(
            family=attack.family,
            label=attack.label,
            why=FAMILIES[attack.family].why,
            problem=target.problem,
            response=attack.response,
            most=reading.limit(attack, target),
        )


def _forms(target: Target, reading: Reading) -> Iterator[Question]:
    """A form counts as paid in the upper half of what lies between a wrong answer and the right one."""
    for each in equivalents(target):
        if each.thinks and not reading.judges_answers:
            continue
        yield Question(
            family="equivalent",
            label=each.label,
            why="it says the same",
            problem=target.problem,
            response=each.response,
            least=(reading.bar + target.worth) / 2,
        )


# --- a reward's own ------------------------------------------------------------------------------


def own_questions(reward: Loaded) -> list[Question]:
    """Those that lie beside the reward's code; each row's `expect` is the most, or the least, that it may be worth."""
    folder, found = Path(reward.file).parent, list[Question]()
    for ending, family in (("adversarial", OWN_ATTACKS), ("equivalent", OWN_FORMS)):
        path = folder / f"{reward.cls.name}_{ending}.jsonl"
        found += [_own(case, family) for case in (read_cases(path) if path.is_file() else ())]
    return found


def _own(case: Case, family: str) -> Question:
    attack = family == OWN_ATTACKS
    return Question(
        family=family,
        label=f"line {case.line}",
        why=case.why,
        problem=case.problem,
        response=case.response,
        most=case.expect if attack else None,
        least=None if attack else case.expect,
    )
