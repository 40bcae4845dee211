"""`r1 verify NAME CASES.jsonl --stress`: what is printed, what it exits with, and what it does not ask unbidden."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CODE = """
import re, sys
from pydantic import Field
from r1core import Reward, Score

class Exact(Reward):
    '''The gold, letter for letter.'''
    name = "exact"
    def score(self, problem, response):
        return Score(value=float(response.answer == problem.reference), reason="said so")

class Loose(Reward):
    '''The gold somewhere.'''
    name = "loose"
    class Config(Reward.Config):
        anywhere: bool = Field(False, description="whether it may stand anywhere")
    def score(self, problem, response):
        said = response.text if self.config.anywhere else response.answer or ""
        return Score(value=float(problem.reference in said.split()))

class Where(Reward):
    '''Whether the answer is the environment that it runs in.'''
    name = "where"
    def score(self, problem, response):
        return Score(value=float(response.answer == sys.prefix))

class Judge(Exact):
    '''Somebody is asked, for money.'''
    name = "judge"
    remote = True
    def score(self, problem, response):
        with open(ASKED, "a") as file:
            file.write(".")
        return super().score(problem, response)

class Model(Exact):
    '''Judged in the stage.'''
    name = "model"
    runs = "stage"

class Hangs(Exact):
    '''Where a regular expression explodes.'''
    name = "hangs"
    timeout_s = 0.3
    def score(self, problem, response):
        re.fullmatch("(a+)+", response.answer or "")
        return super().score(problem, response)
"""


def row(answer: str, expect: float, gold: str = "42", **more: Any) -> dict[str, Any]:
    text = f"<think>hm</think><answer>{answer}</answer>"
    return {"prompt": "6 times 7", "gold": gold, "response": text, "expect": expect, "why": "so it is", **more}


NEEDED = ("numpy", "pydantic", "annotated_types", "typing_extensions", "typing_inspection")
ROWS = [row("42", 1), row("41", 0)]
Verify = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def verify(r1, tmp_path: Path) -> Verify:
    """verify(class, *options) stresses a class of ./mine.py."""
    (tmp_path / "mine.py").write_text(f"ASKED = {str(tmp_path / 'asked')!r}\n{CODE}", encoding="utf-8")

    def run(cls: str, *options: str, rows: list[dict[str, Any]] = ROWS, stress: str = "--stress"):
        (tmp_path / "cases.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
        return r1("verify", f"./mine.py:{cls}", "cases.jsonl", stress, *options, PYTHONIOENCODING="utf-8")

    return run


def test_a_sound_reward_is_called_robust_and_is_exit_0(verify: Verify) -> None:
    done = verify("Exact")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith("reward ./mine.py:Exact (local file ")
    assert said[0].endswith("), 2 cases of cases.jsonl")
    assert "its cases pay 1, 0 for a wrong answer; they look at: what answers say" in said
    assert said[-1].startswith("robust: none of ")
    assert said[-1].endswith(" equivalent forms paid")
    (hedged,) = (line.split() for line in said if line.startswith("hedged "))
    assert hedged[1] == "high"
    assert int(hedged[2]) == int(hedged[3]) > 10
    assert hedged[4:] == ["-", "-", "-"]
    assert done.stderr == ""


def test_a_loose_reward_is_called_gameable_and_is_exit_4(verify: Verify) -> None:
    done = verify("Loose")
    assert done.returncode == 4
    said = done.stdout.splitlines()
    assert any(line.startswith("FALSE POSITIVES: paid more than a wrong answer (") for line in said)
    at = said.index('    got 1; gold "42"; the right answer or another')
    assert said[at + 1].strip().startswith("<think>hm</think><answer>42 or ")
    assert "  hedged: the right answer among others is no answer" in said
    assert "gameable: " in done.stdout
    assert {"hedged", "chained", "negated"} < set(" ".join(said[-2:]).split(": ")[-1].split(", "))


def test_options_are_those_of_the_reward(verify: Verify) -> None:
    rows = [row(" 42 ", 1), row(" 41 ", 0)]
    assert "the gold without a think block" not in verify("Loose", rows=rows).stdout
    assert "the gold without a think block" in verify("Loose", "-o", "anywhere=true", rows=rows).stdout


def test_it_fits_a_hundred_columns_and_cannot_write_to_the_terminal(verify: Verify) -> None:
    done = verify("Loose", rows=[row("42", 1), row("\x1b[2J\u202e41", 0)])
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not {"\x1b", "\u202e", "\0"} & set(done.stdout)


def test_a_case_that_is_not_as_expected_is_said_and_is_exit_4(verify: Verify) -> None:
    done = verify("Exact", rows=[*ROWS, row("forty-two", 1)])
    assert done.returncode == 4
    assert "case of line 3: expected 1, got 0 (said so); it is left aside" in done.stdout
    assert "\nfailed: 1 of 3 cases is not as expected (line 3); none of " in done.stdout
    assert "robust" not in done.stdout


def test_a_gameable_reward_that_disagrees_with_a_case_is_told_both(verify: Verify) -> None:
    done = verify("Loose", rows=[*ROWS, row("forty-two", 1)])
    assert done.returncode == 4
    assert "; and 1 of 3 cases is not as expected (line 3)" in " ".join(done.stdout.split())
    assert "robust" not in done.stdout


def test_a_time_out_is_listed_and_changes_nothing(verify: Verify) -> None:
    done = verify("Hangs")
    assert done.returncode == 0, done.stdout
    assert "BREAK THE CHECK: stopped, crashed or raised; worth its lowest (" in done.stdout
    assert "(verifier_timeout)" in done.stdout


def test_what_runs_in_the_stage_has_no_deadline_and_needs_no_leave(verify: Verify) -> None:
    done = verify("Model", "--most", "40")
    assert done.returncode == 0, done.stderr
    assert "made from 1 right answer; in this process, no deadline" in done.stdout


def test_a_remote_reward_is_not_asked_before_one_knows_how_much(verify: Verify, tmp_path: Path) -> None:
    done = verify("Judge")
    assert done.returncode == 2
    assert "./mine.py:Judge is remote, and would be asked about " in done.stderr
    assert "add --yes, or --most 100" in done.stderr
    assert not (tmp_path / "asked").exists()
    told = int(done.stderr.partition("would be asked about ")[2].split()[0])
    assert verify("Judge", "--yes").returncode == 0
    assert len((tmp_path / "asked").read_text()) == told


def test_at_most_so_many_attacks_are_asked(verify: Verify, tmp_path: Path) -> None:
    done = verify("Judge", "--most", "30")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "asked").read_text()) == len(ROWS) + 1 + 30


def test_all_findings_are_written_for_machines(verify: Verify, tmp_path: Path) -> None:
    done = verify("Loose", "--json", "found.json")
    assert done.stderr == "all of it: found.json\n"
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["verdict"], found["gameable"]) == ("gameable", True)
    assert found["reward"] == "./mine.py:Loose"
    assert found["worth"] == {"right": 1.0, "wrong": 0.0, "lowest": 0.0}
    positive = next(one for one in found["false_positives"] if one["label"] == "the right answer or another")
    assert positive["family"] == "hedged"
    assert positive["severity"] == "high"
    assert positive["gold"] == "42"
    assert [score["value"] for score in positive["scores"]] == [1.0, 1.0]
    assert sum(found["asked"].values()) > len(found["false_positives"]) > 10


@pytest.mark.parametrize("options", [["--yes"], ["--most", "3"], ["--json", "x"], ["--judges", "form"]])
def test_its_options_need_it(verify: Verify, options: list[str]) -> None:
    done = verify("Exact", *options[1:], stress=options[0])
    assert done.returncode == 2
    assert "--judges, --most, --yes and --json go with --stress" in done.stderr


# --- an interpreter of its own -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment whose packages are nothing but links to what a worker needs of this one's."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    for name in NEEDED:
        for found in Path(sysconfig.get_path("purelib")).glob(f"{name}*"):
            (site / found.name).symlink_to(found)
    return folder


def test_a_reward_may_have_its_own_interpreter(verify: Verify, environment: Path) -> None:
    """It says where it runs, and both ways of asking run it there."""
    rows = [row(str(environment), 1, gold="the place"), row(sys.prefix, 0, gold="the place")]
    for options in ([], ["--stress", "--most", "20"]):
        there = verify("Where", str(environment), *options, rows=rows, stress="--python")
        assert there.returncode == 0, there.stdout + there.stderr
    here = verify("Where", "--most", "20", rows=rows)
    assert here.returncode == 2
    assert "no case that the reward agrees with is worth more" in here.stderr


def test_an_interpreter_that_lacks_something_is_exit_3(verify: Verify, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    done = verify("Exact", "--python", "bare")
    assert done.returncode == 3
    assert "numpy>=1.26 is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interpreter_that_is_none_is_exit_2(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = verify("Exact", "--python", "empty")
    assert done.returncode == 2
    assert "is no virtual environment: it has no bin/python" in done.stderr
