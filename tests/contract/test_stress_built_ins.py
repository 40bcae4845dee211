"""No built-in reward is gameable: `r1 verify --stress` on every one that ships cases, found as users find it.

At most a few hundred attacks on each, evenly spread; all of them: `python tests/benchmarks/bench_stress.py`.
"""

from __future__ import annotations

import pytest
from stressed import FILES, NAMES, OPTIONS, faults, reward, stressed, told, why_not

from r1core.cases import asking, read_cases, spec_of
from r1core.stress.trial import prepare

MOST = 500
"""Attacks on one reward: a file of hundreds of cases makes thousands, in a score of families."""


@pytest.mark.parametrize("name", NAMES)
def test_no_attack_on_it_gets_through(name: str) -> None:
    assert reward(name) is not None, f"{FILES[name]} is of no reward"
    if why := why_not(name):
        pytest.skip(why)
    trial, report = stressed(name, most=MOST)
    assert {fault: told(found) for fault, found in faults(report).items() if found} == {}
    assert len(report.answered) > 100
    assert len({question.family for question in trial.questions}) > 10


def test_the_cases_of_a_rule_are_read_rightly() -> None:
    """Which rewards compare answers is read from their files, and nobody declares it."""
    judged = {}
    for name in ("accuracy", "format", "language", "overlong", "playground_helpful", "playground_safe"):
        found = reward(name)
        assert found is not None
        options = found.cls.Config.model_validate(OPTIONS.get(name, {})).model_dump(mode="json", by_alias=True)
        with asking(found, options) as ask:
            judged[name] = prepare(found, spec_of(found, options), ask, read_cases(FILES[name])).reading.judges_answers
    assert [name for name, answers in judged.items() if answers] == ["accuracy", "playground_helpful"]
