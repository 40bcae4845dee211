"""No built-in reward is gameable: `r1 verify --stress` on every one that ships cases, found as users find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r1core.cases import asking, read_cases, spec_of
from r1core.errors import RecipeError
from r1core.plugins import Loaded, PluginHost
from r1core.stress.trial import Answered, prepare

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins" / "r1_plugins"
OPTIONS: dict[str, dict[str, Any]] = {
    "overlong": {"longest": 100, "margin": 40},
    "length": {"target": 100},
}
"""Those of rewards that have required ones, as in their suites."""
ELSEWHERE = {"difficulty"}
"""Files of cases that are not a reward's."""
MOST = 1500
"""Attacks on one reward: a file of hundreds of cases makes thousands."""
ENDING = "_cases.jsonl"


def component(file: Path) -> str:
    """The reward that a file of cases is of; a folder's rewards may leave its name out in their files."""
    short = file.name.removesuffix(ENDING)
    return next((name for name in (short, f"{file.parent.name}_{short}") if reward(name) is not None), short)


def reward(name: str) -> Loaded | None:
    try:
        return PluginHost.discover().load("reward", name)
    except RecipeError:
        return None


FILES = {component(file): file for file in sorted(PLUGINS.glob(f"*/*{ENDING}"))}


def told(found: list[Answered]) -> list[str]:
    return [f"{one.question.family}: {one.question.response.text[:200]!r} got {one.scores}" for one in found]


@pytest.mark.parametrize("name", sorted(FILES.keys() - ELSEWHERE))
def test_no_attack_on_it_gets_through(name: str) -> None:
    found = reward(name)
    assert found is not None, f"{FILES[name]} is of no reward"
    if found.cls.remote:
        pytest.skip("a remote one needs a server: its own tests have one")
    if lacking := found.lacks():
        pytest.skip("; ".join(lacking))
    config = found.cls.Config.model_validate(OPTIONS.get(name, {}))
    options = config.model_dump(mode="json", by_alias=True)
    spec = spec_of(found, options)
    with asking(found, options) as ask:
        report = prepare(found, spec, ask, read_cases(FILES[name]), most=MOST).run(ask)
    assert told(report.paid) == []
    assert told(report.taken_out) == []
    assert told(report.profitable) == []
    assert told(report.moody) == []
    assert len(report.answered) > 100
    generated = [one for one in report.refused if one.question.family == "equivalent"]
    assert told(generated) == []


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
