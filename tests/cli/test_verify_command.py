"""`r1 verify NAME CASES.jsonl`: a line for each case, what is wrong with a mismatch, and exit 4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CODE = """
from pydantic import Field
from r1core import Reward, Score, hookimpl

class Near(Reward):
    '''1 within a tolerance.'''
    name = "near"
    class Config(Reward.Config):
        tolerance: float = Field(0.0, ge=0, description="how far off an answer may be")
    def score(self, problem, response):
        if response.answer == "crash":
            raise LookupError("no such thing")
        if response.answer == "unreachable":
            return Score(value=float("nan"), status="infrastructure", reason="connection refused by everybody")
        if response.answer == "third":
            return Score(value=1 / 3)
        off = abs(float(response.answer or "nan") - problem.reference)
        near = off <= self.config.tolerance
        return Score(value=float(near), reason="near" if near else "far")

@hookimpl
def r1_rewards():
    return [Near]
"""
POINTS = {"units": "units"}


def row(answer: str, expect: float, why: str = "so it is", gold: Any = 8, **more: Any) -> dict[str, Any]:
    text = f"<think>hm</think><answer>{answer}</answer>"
    return {"prompt": "3 + 5", "gold": gold, "response": text, "expect": expect, "why": why, **more}


@pytest.fixture
def verify(install, r1, tmp_path: Path):
    """verify(rows, options) runs `r1 verify units/near` on a file with these rows."""
    site = install("units", CODE, POINTS)

    def run(rows: list[dict[str, Any]], *options: str, name: str = "units/near"):
        (tmp_path / "cases.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
        return r1("verify", name, "cases.jsonl", *options, path=site, PYTHONIOENCODING="utf-8")

    return run


def lines_of(done) -> list[list[str]]:
    """The words of each case's line."""
    return [line.split() for line in done.stdout.splitlines() if line.startswith(("ok ", "FAIL "))]


def test_all_as_expected_is_exit_0(verify) -> None:
    done = verify([row("8", 1, "the sum"), row("9", 0, "another number")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reward units/near (units 1.2), 2 cases of cases.jsonl\n")
    first, second = lines_of(done)
    assert (first[:4], first[5:]) == (["ok", "1", "1", "1"], ["near", "the", "sum"])
    assert (second[:4], second[5:]) == (["ok", "2", "0", "0"], ["far", "another", "number"])
    assert float(first[4]) >= 0
    assert "right as right 1, right as wrong 0, wrong as right 0, wrong as wrong 1\n" in done.stdout
    assert "slowest: line " in done.stdout
    assert " ms of the 3000 ms it may take" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 cases in ")
    assert done.stdout.splitlines()[-1].endswith(" s: 2 as expected")


def test_a_mismatch_shows_its_row_and_is_exit_4(verify) -> None:
    done = verify([row("8", 1), row("8.5", 1, "half a unit"), row("9", 1)])
    assert done.returncode == 4
    assert [words[:2] for words in lines_of(done)] == [["ok", "1"], ["FAIL", "2"], ["FAIL", "3"]]
    said = done.stdout.splitlines()
    at = next(i for i, line in enumerate(said) if line.startswith("FAIL"))
    assert [line.strip() for line in said[at + 1 : at + 3]] == [
        "gold: 8",
        "response: <think>hm</think><answer>8.5</answer>",
    ]
    assert "right as right 1, right as wrong 2, wrong as right 0, wrong as wrong 0" in done.stdout
    assert said[-1].endswith("1 as expected, 2 not")
    assert done.stderr == ""


def test_options_are_those_of_a_recipe(verify) -> None:
    assert verify([row("8.5", 1)], "-o", "tolerance=5e-1").returncode == 0
    assert verify([row("8.5", 1)], "-o", "tolerance=1e-6").returncode == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "tolerence=1"], "unknown option 'tolerence' of units/near (units 1.2)\n  did you mean 'tolerance'?"),
        (["-o", "tolerance=much"], "-o: tolerance: "),
        (["-o", "tolerance=-1"], "got -1 (option of units/near (units 1.2))"),
        (["-o", "tolerance"], "-o 'tolerance' is not key=value"),
        (["-o", "tolerance=1", "-o", "tolerance=2"], "option 'tolerance' is given twice"),
    ],
)
def test_a_wrong_option_is_exit_2(verify, options: list[str], words: str) -> None:
    done = verify([row("8", 1)], *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("units/neer", "did you mean 'near'?"),
        ("acuracy", "no reward 'acuracy'\n  did you mean 'accuracy'?"),
        ("grpo", "there is an advantage 'grpo', not a reward"),
        ("./none.py:Near", "no file"),
        ("reward_model", "missing option 'model' of reward_model"),
    ],
)
def test_a_name_that_means_no_reward_is_exit_2(verify, name: str, words: str) -> None:
    done = verify([row("8", 1)], name=name)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_model_is_given_as_a_folder(verify) -> None:
    done = verify([row("8", 1)], "-o", "model=helpful_rm", name="reward_model")
    assert done.returncode == 2
    assert (
        "model: there is no folder 'helpful_rm': without a recipe, model is the folder of a stage's model"
        in done.stderr
    )
    assert "such as -o model=runs/<run>/stages/<stage>/model" in done.stderr


def test_a_file_of_ones_own_is_a_reward_too(verify, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    done = verify([row("8", 1)], name="./mine.py:Near")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reward ./mine.py:Near (local file ")


def test_wrong_rows_are_exit_2_with_their_lines(verify) -> None:
    done = verify([row("8", 1), {**row("8", 1), "expected": 1}, {**row("8", 1), "why": None}])
    assert done.returncode == 2
    assert "cases.jsonl:2:1: expected: unknown key 'expected'\n  did you mean 'expect'?" in done.stderr
    assert "cases.jsonl:3:1: why: " in done.stderr
    assert "2 errors" in done.stderr


def test_what_broke_the_check_is_said_though_it_was_expected(verify) -> None:
    done = verify([row("crash", 0), row("8", 1)])
    assert done.returncode == 0
    assert "answer failure: verifier_error: LookupError" in done.stdout
    assert "1 broke the check and got the reward's lowest: verifier_error: LookupError" in done.stdout


def test_an_answer_that_was_not_judged_is_a_mismatch(verify) -> None:
    done = verify([row("unreachable", 0), row("8", 1)])
    assert done.returncode == 4
    assert lines_of(done)[0][:4] == ["FAIL", "1", "0", "-"]
    assert "infrastructure: connection refused by everybody" in done.stdout
    assert "1 not judged: infrastructure failed" in done.stdout


def test_a_score_that_looks_like_the_expected_one_is_shown_in_full(verify) -> None:
    done = verify([row("third", 0.3333)])
    assert done.returncode == 4
    assert "got: 0.3333333333333333" in done.stdout


def test_text_of_cases_cannot_write_to_the_terminal(verify) -> None:
    evil = "\x1b[2J\u202e[/INST]\r"
    done = verify([row(f"9{evil}" + "x" * 5000, 1, f"evil {evil} why", gold=8)])
    assert done.returncode == 4
    assert not {"\x1b", "\u202e", "\r"} & set(done.stdout + done.stderr)
    assert "[/INST]" in done.stdout


def test_it_fits_a_hundred_columns(verify) -> None:
    why = "a sentence that goes on and on because whoever wrote it wanted to be very precise about it " * 3
    rows = [row("9" * 2000, 1, why, gold=8), row("8", 1, why), row("unreachable", 0, "x" * 300), row("crash", 1e-9)]
    done = verify(rows)
    assert done.returncode == 4
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert why.split()[-1] in done.stdout


def test_it_stands_in_the_list_of_commands(r1) -> None:
    assert "verify" in r1("--help").stdout
    said = r1("verify", "--help").stdout
    assert "-o KEY=VALUE" in said
    assert "CASES.jsonl" in said
