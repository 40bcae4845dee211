"""`r1 verify --stress` on the built-in rewards, each with the cases that it ships, found as users find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1core.cases import asking, read_cases, spec_of
from r1core.errors import RecipeError
from r1core.plugins import Loaded, PluginHost
from r1core.stress.trial import Answered, Report, Trial, prepare

PLUGINS = Path(__file__).parents[2] / "plugins" / "r1_plugins"
OPTIONS: dict[str, dict[str, Any]] = {
    "overlong": {"longest": 100, "margin": 40},
    "length": {"target": 100},
}
"""Those of rewards that have required ones, as in their suites."""
ELSEWHERE = {"difficulty"}
"""Files of cases that are not a reward's."""
ENDING = "_cases.jsonl"
HOST = PluginHost.discover()


def component(file: Path) -> str:
    """The reward that a file of cases is of; a folder's rewards may leave its name out in their files."""
    short = file.name.removesuffix(ENDING)
    return next((name for name in (short, f"{file.parent.name}_{short}") if reward(name) is not None), short)


def reward(name: str) -> Loaded | None:
    """The built-in of this name."""
    try:
        return HOST.load("reward", name)
    except RecipeError:
        return None


FILES = {component(file): file for file in sorted(PLUGINS.glob(f"*/*{ENDING}"))}
NAMES = sorted(FILES.keys() - ELSEWHERE)


def why_not(name: str) -> str:
    """Why it cannot be asked here, "" when it can."""
    found = reward(name)
    if found is None:
        return f"{FILES[name]} is of no reward"
    return "a remote one needs a server: its own tests have one" if found.cls.remote else "; ".join(found.lacks())


def stressed(name: str, *, most: int = 0) -> tuple[Trial, Report]:
    """What was asked of a reward, at most so many questions (0: all), and what came of it."""
    found = HOST.load("reward", name)
    options = found.cls.Config.model_validate(OPTIONS.get(name, {})).model_dump(mode="json", by_alias=True)
    spec = spec_of(found, options)
    with asking(found, options) as ask:
        trial = prepare(found, spec, ask, read_cases(FILES[name]), most=most)
        return trial, trial.run(ask)


def told(found: list[Answered]) -> list[str]:
    """What to print of answers."""
    return [f"{one.question.family}: {one.question.response.text[:200]!r} got {one.scores}" for one in found]


def faults(report: Report) -> dict[str, list[Answered]]:
    """What a sound reward has none of, by name."""
    generated = [one for one in report.refused if one.question.family == "equivalent"]
    return {
        "paid": report.paid,
        "taken out": report.taken_out,
        "profitable": report.profitable,
        "moody": report.moody,
        "refused": generated,
    }
