"""What changed under a half-done stage, told in the words of its recipe."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_runs import planned

from r1core.recipe.difference import differences
from r1core.recipe.fingerprint import digest

OLD, NEW = "0123456789ab" + "c" * 52, "fedcba987654" + "3" * 52


def facts(**changes: Any) -> dict[str, Any]:
    """What a stage is made from, with changes by dotted path (`stage__train__lr`)."""
    made: dict[str, Any] = {
        "r1core": "0.1.0",
        "schema": 1,
        "seed": 0,
        "id": "dev1",
        "kind": "train",
        "stage": {
            "train": {"use": "sft", "lr": 0.001, "filters": [{"use": "short"}], "prompt": "a" * 300},
            "data": [{"use": "jsonl", "path": {"train.jsonl": f"120 bytes, 4 lines, sha256 {OLD}"}}],
            "policy": {"use": f"mine.py:Mine {OLD}"},
        },
        "sources": {"trainer sft": OLD, f"policy mine.py:Mine {OLD}": OLD},
        "inputs": {"r1_zero": OLD},
    }
    made = copy.deepcopy(made)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = made
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        place[last] = value
    return made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, ["seed: 0 -> 1"]),
        ({"r1core": "0.2.0"}, ["r1core: 0.1.0 -> 0.2.0"]),
        ({"stage__train__lr": 0.002}, ["stages.dev1.train.lr: 0.001 -> 0.002"]),
        ({"stage__train__steps": 3}, ["stages.dev1.train.steps: absent -> 3"]),
        ({"stage__train__lr": 1, "seed": 1}, ["seed: 0 -> 1", "stages.dev1.train.lr: 0.001 -> 1"]),
        ({"stage__train__filters": []}, ['stages.dev1.train.filters.0: {"use": "short"} -> absent']),
        ({"stage__train__use": "distill"}, ["stages.dev1.train.use: sft -> distill"]),
        ({"sources__trainer sft": NEW}, ["source of trainer sft: 0123456789ab -> fedcba987654"]),
        ({"inputs__r1_zero": NEW}, ["input r1_zero: made from something else"]),
        ({"inputs": {}}, ["input r1_zero: 0123456789ab -> absent"]),
        (
            {"stage__data__0__path": {"train.jsonl": f"90 bytes, 3 lines, sha256 {NEW}"}},
            [
                "stages.dev1.data.0.path train.jsonl: "
                "120 bytes, 4 lines, sha256 0123456789ab -> 90 bytes, 3 lines, sha256 fedcba987654"
            ],
        ),
        (
            {
                "stage__policy__use": f"mine.py:Mine {NEW}",
                "sources": {"trainer sft": OLD, f"policy mine.py:Mine {NEW}": NEW},
            },
            ["source of policy mine.py:Mine: 0123456789ab -> fedcba987654"],
        ),
    ],
)
def test_each_change_is_a_line(changes: dict[str, Any], said: list[str]) -> None:
    assert differences(facts(), facts(**changes)) == said


def test_of_a_long_value_the_part_that_differs_is_shown() -> None:
    (line,) = differences(facts(), facts(stage__train__prompt="a" * 200 + "b" + "a" * 99))
    assert len(line) < 300
    assert "aab" in line


def test_one_and_one_point_nought_differ_as_they_do_for_the_fingerprint() -> None:
    before, after = facts(seed=1), facts(seed=1.0)
    assert digest(before) != digest(after)
    assert differences(before, after) == ["seed: 1 -> 1.0"]


def test_nothing_changed_is_nothing_to_tell() -> None:
    assert differences(facts(), json.loads(json.dumps(facts()))) == []


def test_a_record_that_does_not_say_what_it_was_made_from_is_told_of() -> None:
    assert differences({}, facts()) == ["stages.dev1: nothing tells what it was made from"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HOLDER = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)


@given(HOLDER, HOLDER)
def test_there_is_a_line_exactly_when_the_fingerprint_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = differences(facts(stage=before), facts(stage=after))
    assert bool(found) == (digest(before) != digest(after))


def test_a_plan_tells_its_own_changes(tmp_path: Path) -> None:
    stages = "  base: BASE\n  zero: {train: {use: Climb}, model: base}\n"
    before, after = planned(tmp_path, stages), planned(tmp_path, stages, "stages.base.train.gain=0.3", "seed=4")
    assert differences(before.stage("base").made_from, after.stage("base").made_from) == [
        "seed: 0 -> 4",
        "stages.base.train.gain: 0.1 -> 0.3",
    ]
    changed = differences(before.stage("zero").made_from, after.stage("zero").made_from)
    assert changed == ["seed: 0 -> 4", "input base: made from something else"]
