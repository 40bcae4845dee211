"""What a stage does for its rewards: it has golds refused before anything is computed, and gives records a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_runs import contents, go, planned

from r1core.cases import judge_cases, read_cases
from r1core.errors import RecipeError, SetupError
from r1core.events import StageNote, StageStarted
from r1core.plugins import PluginHost
from r1core.preflight import check_sources
from r1core.store import kills, read_metrics

PICKY = Path(__file__).parents[1] / "fixtures" / "picky_rewards.py"
TRACES = """\
  base: BASE
  traces:
    sample: {prompts: 8, samples: 2, chunk: 2}
    model: base
    problems: PROBLEMS
    rewards: [Exact, REWARD]
"""
TABLE = """\
  base: BASE
  table:
    evaluate: {sets: {pass@1: {problems: {use: Numbers, count: 30}, limit: 3}, greedy: {problems: ENDLESS, limit: 2}}}
    models: [base]
    rewards: [Exact, REWARD]
"""


def recipe(text: str, reward: str, problems: str = "{use: Numbers, count: 12}") -> str:
    text = text.replace("REWARD", reward).replace("PROBLEMS", problems)
    return text.replace("ENDLESS", f'{{use: "{PICKY}:Endless"}}')


def picky(name: str = "Picky", **options: Any) -> str:
    given = "".join(f", {key}: {value}" for key, value in options.items())
    return f'{{use: "{PICKY}:{name}"{given}}}'


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        go(tmp_path, text)
    assert not (tmp_path / "run").exists(), "before anything is written"
    return str(caught.value)


# --- golds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Picky", "PickyHere"])
def test_every_problem_that_a_reward_refuses_is_said_before_the_run(tmp_path: Path, name: str) -> None:
    said = refused(tmp_path, recipe(TRACES, picky(name, digits='["3", "7"]')))
    assert said.splitlines()[0] == "2 problems have a gold that a reward cannot judge answers by:"
    for number in (3, 7):
        assert f"Numbers, problem {number + 1}: reward {PICKY}:{name}: {number} is odd" in said


def test_only_twenty_are_told_and_how_many_more(tmp_path: Path) -> None:
    said = refused(tmp_path, recipe(TRACES, picky(digits='["1", "2", "3"]'), "{use: Numbers, count: 100}"))
    assert said.startswith("30 problems have a gold")
    assert said.count("is odd") == 20
    assert "\n  and 10 more\n" in said


def test_the_sets_of_an_evaluation_are_read_whole_and_an_endless_source_as_far_as_one_can_see(tmp_path: Path) -> None:
    said = refused(tmp_path, recipe(TABLE, picky(digits='["9"]')))
    assert [line.count("Numbers, problem") for line in said.splitlines()].count(1) == 3  # of 30, though 3 are taken
    assert said.count("numbers.txt:") == 17
    assert "numbers.txt:10: reward" in said
    assert "and 8 more" in said
    assert said.startswith("28 problems have")  # 3 of 30, 25 of 256


def test_only_problems_that_the_reward_is_for_are_asked_about(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plan = planned(tmp_path, recipe(TRACES, picky(digits='["3"]', log=log, **{"for": "{domain: even}"})))
    check_sources(plan, plan.stages)
    assert log.read_text().split() == ["0", "2", "4", "6", "8", "10"]


def test_a_reward_that_refuses_nothing_is_not_even_built(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    plan = planned(tmp_path, recipe(TRACES, picky("Unasked", marks=marks)))
    check_sources(plan, plan.stages)
    assert list(marks.iterdir()) == []


def test_a_reward_that_hangs_at_a_gold_is_said_too(tmp_path: Path) -> None:
    said = refused(tmp_path, recipe(TRACES, picky(digits='["5"]', hangs="true")))
    assert "problem 6: reward" in said
    assert "its `refuses` failed: verifier_timeout" in said


def test_what_needs_another_stage_is_asked_when_its_stage_starts(tmp_path: Path) -> None:
    text = recipe(TRACES, picky("Dependent", digits='["3"]', model="base"))
    with pytest.raises(RecipeError, match=r"problem 4: reward .*Dependent: 3 is odd") as caught:
        go(tmp_path, text)
    ran = caught.value.events  # type: ignore[attr-defined]
    assert ran.order(StageStarted) == ["base", "traces"]
    assert not (tmp_path / "run/stages/traces/data").exists()


def test_a_case_whose_gold_is_refused_is_a_finding(tmp_path: Path) -> None:
    row = '{"prompt": "?", "gold": "GOLD", "response": "<think>x</think>GOLD", "expect": 1, "why": "it is"}\n'
    (tmp_path / "cases.jsonl").write_text(row.replace("GOLD", "12") + row.replace("GOLD", "13"))
    reward = PluginHost.discover().load("reward", f"{PICKY}:Picky", tmp_path)
    fine, odd = judge_cases(reward, {"digits": ["3"]}, read_cases(tmp_path / "cases.jsonl"))
    assert (fine.as_expected, fine.refused) == (True, "")
    assert (odd.as_expected, odd.refused, odd.score.value) == (False, "13 is odd", 1.0)


# --- records -----------------------------------------------------------------------------------------


def recorded(tmp_path: Path) -> str:
    return recipe(TRACES, picky("Recorded", asked=tmp_path / "asked"))


def test_a_record_outlives_a_kill_and_nothing_is_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
    go(tmp_path / "unbroken", recorded(tmp_path / "unbroken"))
    monkeypatch.setenv(kills.AT, "traces/unit:3")
    with pytest.raises(SetupError, match=r"stages\.traces: its process was killed by SIGKILL"):
        go(tmp_path / "killed", recorded(tmp_path / "killed"))
    monkeypatch.delenv(kills.AT)
    ran = go(tmp_path / "killed", recorded(tmp_path / "killed"))
    assert [note.text for note in ran.of(StageNote) if "are known" in note.text] == ["12 answers are known"]
    asked = [(tmp_path / name / "asked").read_text().split() for name in ("unbroken", "killed")]
    assert len(asked[0]) == 16
    assert sorted(asked[0]) == sorted(asked[1])
    unbroken, killed = (contents(tmp_path / name / "run/stages/traces/data") for name in ("unbroken", "killed"))
    assert unbroken == killed
    assert len(unbroken) == 4


def test_a_stage_that_is_made_again_does_not_ask_again(tmp_path: Path) -> None:
    go(tmp_path, recorded(tmp_path))
    assert (tmp_path / "run/stages/.rewards/traces/Recorded/record.jsonl").read_text().count("\n") == 16
    *_, row = read_metrics(tmp_path / "run/stages/traces/metrics.jsonl")
    assert row["verifier/Recorded/known"] == 16
    assert row["verifier/Recorded/gap"] == 0
    ran = go(tmp_path, recorded(tmp_path), from_stage="traces")
    assert [note.text for note in ran.of(StageNote) if "are known" in note.text] == ["16 answers are known"]
    assert (tmp_path / "asked").read_text().count("\n") == 16


def test_a_recipe_cannot_name_a_folder_outside_the_run(tmp_path: Path) -> None:
    text = recorded(tmp_path).replace(':Recorded"', ':Recorded", as: ".."')
    go(tmp_path, text)
    assert (tmp_path / "run/stages/.rewards/traces/reward/record.jsonl").exists()
