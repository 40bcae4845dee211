"""Whatever a model writes, every rule says a number, soon; every regular expression of the rules is linear."""

from __future__ import annotations

import ast
import gc
import importlib
import math
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as runs
from odd_answers import LARGE, PIECES, TEXTS, placements, settings

from r1_plugins import rules
from r1core.types import Problem

SETTINGS = settings()
P99_S = 0.1
REGEX_S = 0.05
SLACK = 5
LONG = 32_768
FOLDER = Path(rules.__file__).parent

LARGE_S = 0.2
"""Of a megabyte; seconds of the processor, which has neighbours."""


def check(setting: Any, response: Any) -> float:
    """Seconds that the rule took; it gave a finite number that its `lowest` bounds.

    Other threads of this process, and the garbage of other tests in it, are not its own.
    """
    gc.disable()
    try:
        started = time.thread_time()
        score = setting.rule.score(setting.problem, response)
        took = time.thread_time() - started
    finally:
        gc.enable()
    assert score.status == "verdict", (setting.label, score)
    assert math.isfinite(score.value), (setting.label, score)
    assert setting.rule.lowest <= score.value <= 1.0, (setting.label, score)
    return took


def test_every_rule_is_fuzzed() -> None:
    assert {type(setting.rule) for setting in SETTINGS} == {*rules.r1_rewards()}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.label)
def test_every_short_text_gets_a_score(setting: Any) -> None:
    times: list[float] = []

    @runs(max_examples=100, deadline=None)
    @given(TEXTS)
    def fuzz(text: str) -> None:
        times.extend(check(setting, response) for response in placements(text))

    fuzz()
    assert len(times) >= 300
    assert sorted(times)[int(0.99 * len(times))] <= SLACK * P99_S


@pytest.mark.parametrize("label", LARGE)
def test_every_large_text_gets_a_score_soon(label: str) -> None:
    text = LARGE[label]()
    assert len(text) >= 100_000
    slow = []
    for setting in SETTINGS:
        for response in placements(text):
            took = check(setting, response)
            if took > SLACK * LARGE_S:  # what is slow by itself is slow again
                took = min(took, check(setting, response))
            if took > SLACK * LARGE_S:
                slow.append((setting.label, round(took, 3)))
    assert slow == []


@pytest.mark.parametrize(
    "reference", [None, "", 0, -1, 1.5, True, [], [None], {}, {"value": None}, {"correct": 3}, "\ud800", "x" * 10_000]
)
def test_any_reference_is_judged_or_refused_with_a_sentence(reference: Any) -> None:
    """What `refuses` lets pass gets a verdict; what it refuses is infrastructure, never a number."""
    for setting in SETTINGS:
        for meta in ({}, {"options": [1, 2]}, {"options": None}, {"options": {"": ""}}, {"options": "x"}):
            problem = Problem(id="p", reference=reference, meta=meta)
            refusal = setting.rule.refuses(problem)
            for response in placements("8"):
                score = setting.rule.score(problem, response)
                assert (score.status == "infrastructure") == bool(refusal), (setting.label, score, refusal)
            assert not refusal or len(refusal.split()) > 4


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.label)
def test_sentinels_tell_right_from_wrong_and_hold(setting: Any) -> None:
    found = list(setting.rule.sentinels())
    assert len({sentinel.value for sentinel in found}) >= 2
    for sentinel in found:
        assert setting.rule.refuses(sentinel.problem) == ""
        assert setting.rule.score(sentinel.problem, sentinel.response).value == pytest.approx(sentinel.value)


# --- regular expressions ---------------------------------------------------------------------------------


def modules() -> Iterator[Any]:
    """Every module of the rules' folder."""
    for found in pkgutil.walk_packages([str(FOLDER)], f"{rules.__name__}."):
        yield importlib.import_module(found.name)


def patterns(value: Any) -> Iterator[re.Pattern[str]]:
    """The compiled expressions in a value, also those in containers."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from (pattern for each in value.values() for pattern in patterns(each))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (pattern for each in value for pattern in patterns(each))


def all_patterns() -> dict[str, re.Pattern[str]]:
    """`module.NAME` -> expression."""
    return {
        f"{module.__name__.removeprefix(f'{rules.__name__}.')}.{name}.{number}": pattern
        for module in modules()
        for name, value in vars(module).items()
        for number, pattern in enumerate(patterns(value))
    }


def pathological(pattern: re.Pattern[str]) -> Iterator[str]:
    """Long texts that make an expression start anew at every place, or go back over all that it has read: pieces of
    text and the letters of the expression itself, over and over, alone and in pairs, with an end that fits nothing."""
    own = sorted({letter for letter in pattern.pattern if letter.isprintable()})
    pieces = [
        *dict.fromkeys(
            [*PIECES, *own, "1 ", "1,111", " a", "a ", "the ", "the correct ", "</answer> ", '\\"', "a_", "\\ "]
        )
    ]
    pairs = [f"{one}{other}" for one in own[:4] for other in own[:4] if one != other]
    for piece in [*pieces, *pairs]:
        for end in ("", "\x01"):
            yield piece * (LONG // len(piece)) + end


def _all_matches(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for _ in pattern.finditer(text))


def slowest(pattern: re.Pattern[str]) -> tuple[float, str]:
    """(seconds, text) of the slowest search for all matches; stops at the first text that is too slow."""
    worst = (0.0, "")
    for text in pathological(pattern):
        for search in (_all_matches, re.Pattern.fullmatch):
            started = time.process_time()
            search(pattern, text)
            worst = max(worst, (time.process_time() - started, text[:20]))
        if worst[0] > SLACK * REGEX_S:
            break
    return worst


@pytest.mark.parametrize("name", all_patterns())
def test_every_regular_expression_is_linear(name: str) -> None:
    seconds, text = slowest(all_patterns()[name])
    assert seconds <= SLACK * REGEX_S, f"{seconds:.2f} s for {LONG} characters of {text!r}"


def test_a_quadratic_expression_would_be_found() -> None:
    assert slowest(re.compile(r"\\\(.*?\\\)", re.DOTALL))[0] > SLACK * REGEX_S


def test_no_expression_hides_in_a_function() -> None:
    """They are compiled where the tests above find them: at the top of a module."""
    files = sorted(FOLDER.rglob("*.py"))
    found = 0
    for file in files:
        tree = ast.parse(file.read_text())
        inside = [
            node for top in tree.body if isinstance(top, ast.FunctionDef | ast.ClassDef) for node in ast.walk(top)
        ]
        hidden = [
            f"{file.name}:{node.lineno}"
            for node in inside
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re"
            if node.attr not in ("error", "Pattern", "Match")
        ]
        found += "import re\n" in file.read_text()
        assert hidden == []
    assert found >= 8
    assert len(all_patterns()) >= 30
