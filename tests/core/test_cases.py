"""Cases: read strictly, all faults at once, and asked as in training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from r1core.cases import Case, Judged, judge_cases, read_cases
from r1core.errors import RecipeError, SetupError
from r1core.plugins import Loaded, PluginHost
from r1core.types import Problem, Response, Score

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROW = {"prompt": "3 + 5", "gold": "8", "response": "<think>hm</think>8", "expect": 1, "why": "the sum"}


def written(folder: Path, *rows: Any) -> Path:
    """A file with these rows: objects, or lines as they stand."""
    path = folder / "cases.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def refused(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_cases(path)
    assert caught.value.exit_code == 2
    return str(caught.value)


# --- the file ----------------------------------------------------------------------------------------


def test_a_row_is_a_problem_an_answer_and_its_worth(tmp_path: Path) -> None:
    (case,) = read_cases(written(tmp_path, ROW))
    question = {"role": "user", "content": "3 + 5"}
    assert case == Case(
        line=1,
        problem=Problem(id="cases.jsonl:1", messages=(question,), reference="8"),
        response=Response.parse("<think>hm</think>8"),
        expect=1.0,
        why="the sum",
    )
    assert case.response.answer == "8"


def test_what_a_reward_reads_beside_the_answer_may_be_given(tmp_path: Path) -> None:
    more = {"domain": "d", "language": "zh", "meta": {"k": [1]}, "prefilled": "<think>", "finish": "length"}
    (case,) = read_cases(written(tmp_path, {**ROW, "response": "hm</think>8", "gold": {"any": [None]}, **more}))
    assert (case.problem.domain, case.problem.language, case.problem.meta) == ("d", "zh", {"k": [1]})
    assert case.problem.reference == {"any": [None]}
    assert (case.response.thinking, case.response.finish, case.response.prefilled) == ("hm", "length", "<think>")


@pytest.mark.parametrize(("expect", "worth"), [(True, 1.0), (False, 0.0), (0.25, 0.25), (-1, -1.0)])
def test_true_is_1_and_false_0(tmp_path: Path, expect: object, worth: float) -> None:
    assert [case.expect for case in read_cases(written(tmp_path, {**ROW, "expect": expect}))] == [worth]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, ROW, b"", b"  ", ROW)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [case.line for case in read_cases(path)] == [1, 4]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**ROW, "expct": 1}, ":1:1: expct: unknown key 'expct'\n  did you mean 'expect'?"),
        ({**ROW, "notes": 1}, "unknown key 'notes'"),
        ({key: value for key, value in ROW.items() if key != "gold"}, ":1:1: missing key 'gold'"),
        ({**ROW, "expect": "1"}, ":1:1: expect: "),
        ({**ROW, "expect": None}, ":1:1: expect: "),
        ({**ROW, "response": 8}, ":1:1: response: "),
        ({**ROW, "why": ""}, ":1:1: why: "),
        ({**ROW, "finish": "eos"}, "'stop' or 'length'"),
        ({**ROW, "meta": [1]}, ":1:1: meta: "),
        (json.dumps({**ROW, "expect": 7}).replace("7", "1e999").encode(), ":1:1: expect: "),
        (b'{"prompt": "a", "gold": NaN}', ":1:1: NaN is no JSON number"),
        (b'{"gold": 1, "gold": 2}', ":1:1: key 'gold' is given twice"),
        (b"[1, 2]", ":1:1: expected an object, got [1, 2]"),
        (b"gold: 1", ":1:1: not JSON: Expecting value at column 1"),
        (b'{"prompt": "\xff"}', ":1:1: not UTF-8 at byte 13 of the line"),
        (b"[" * 200_000, ":1:1: nested too deeply"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_said(tmp_path: Path, row: Any, words: str) -> None:
    assert words in refused(written(tmp_path, row))


def test_all_wrong_rows_are_said_at_once(tmp_path: Path) -> None:
    said = refused(written(tmp_path, {**ROW, "expect": "x", "why": 3}, ROW, b"no", {**ROW, "wy": 1}))
    assert [line.partition("cases.jsonl:")[2][:4] for line in said.splitlines() if "cases.jsonl" in line] == [
        "1:1:",
        "1:1:",
        "3:1:",
        "4:1:",
    ]
    assert said.endswith("4 errors")


def test_a_missing_file_and_one_without_rows_are_said(tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "none.jsonl")
    assert "cannot read" in refused(tmp_path)
    said = refused(written(tmp_path, b"", b" "))
    assert "there is no row in it" in said
    assert '{"prompt": ..., "gold": ..., "response": ..., "expect": ..., "why": ...}' in said


# --- asking ------------------------------------------------------------------------------------------


def loaded(cls: str, file: str = "broken/rewards.py") -> Loaded:
    return PluginHost.discover().load("reward", f"{FIXTURES / file}:{cls}")


def judged(cls: str, *cases: tuple[str, float], gold: str = "yes", **options: Any) -> list[Judged]:
    """What a toy says of these (response, expected) pairs."""
    problem = Problem(id="p", reference=gold)
    asked = [
        Case(line=number, problem=problem, response=Response.parse(text), expect=expect, why="")
        for number, (text, expect) in enumerate(cases, start=1)
    ]
    return list(judge_cases(loaded(cls), options, asked))


def test_each_case_gets_its_score() -> None:
    right, wrong, mistaken = judged("Exact", ("<think></think>yes", 1), ("<think></think>no", 0), ("yes", 1))
    assert (right.as_expected, wrong.as_expected, mistaken.as_expected) == (True, True, False)
    assert [one.score.value for one in (right, wrong, mistaken)] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(("off", "expected"), [(0.9e-6, True), (-0.9e-6, True), (1.1e-6, False), (-1.1e-6, False)])
def test_a_score_may_be_a_millionth_off(off: float, expected: bool) -> None:
    (one,) = judged("Exact", ("<think></think>yes", 1 + off))
    assert one.as_expected is expected


def test_a_hang_a_crash_and_an_exception_are_worth_the_lowest_and_say_why() -> None:
    long, brackets = "a" * 60_000, "(" * 20_000
    (late, after) = judged("Hangs", (long, 0), ("<think></think>yes", 1))
    (dead,) = judged("Crashes", (brackets, 0))
    (raised,) = judged("Raises", ("no think block", 0))
    reasons = [one.score.reason for one in (late, dead, raised)]
    assert reasons == ["verifier_timeout", "verifier_crash", "verifier_error: AttributeError"]
    assert {one.score.status for one in (late, dead, raised)} == {"answer_failure"}
    assert all(one.as_expected for one in (late, after, dead, raised))
    assert late.seconds > after.seconds, "each has its own time, and the late one had two deadlines"
    assert late.seconds >= 1.0


def test_what_infrastructure_failed_to_score_is_never_as_expected() -> None:
    *unknown, known = judged("TakesItselfOut", *[("two\nlines", 0)] * 3, ("yes", 0))
    assert [one.score.status for one in unknown] == ["infrastructure"] * 3
    assert not any(one.as_expected for one in unknown)
    assert known.as_expected, "an outage does not end the examination"


def test_a_case_of_a_reward_that_sees_the_answer_shows_no_text() -> None:
    (one,) = judged("ReadsText", ("<think></think>yes", 1))
    assert one.score.reason == "short"


def test_a_reward_that_runs_in_the_stage_is_asked_here(tmp_path: Path) -> None:
    file = tmp_path / "here.py"
    file.write_text(
        "import os\nfrom r1core.components import Reward\nfrom r1core.types import Score\n\n\nclass Here(Reward):\n"
        '    name, runs = "here", "stage"\n\n    def score(self, problem, response):\n'
        "        return Score(value=float(os.getpid()))\n"
    )
    case = Case(line=1, problem=Problem(id="p"), response=Response.parse(""), expect=float(os.getpid()), why="")
    (one,) = judge_cases(PluginHost.discover().load("reward", "./here.py:Here", tmp_path), {}, [case])
    assert one.as_expected


def test_a_reward_that_cannot_be_built_is_the_environments_fault() -> None:
    with pytest.raises(SetupError, match="no_such_package_anywhere"):
        judged("Unbuildable", ("yes", 1))


def test_nothing_is_expected_of_a_score_that_is_not_there() -> None:
    case = Case(line=1, problem=Problem(id="p"), response=Response.parse(""), expect=0.0, why="")
    unknown = Score(value=0.0, status="infrastructure")
    assert not Judged(case=case, score=unknown, seconds=0.0).as_expected
