"""The presets whose rows are no questions yet: options in an order that the seed decides, tests that are JSON."""

from __future__ import annotations

import base64
import csv
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from r1_plugins.eval.presets import preset
from r1core.errors import RecipeError
from r1core.plugins import PluginHost
from r1core.types import Problem, Response

OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class Canary:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return exec, ("raise AssertionError('it was unpickled')",)


def problems(options: dict[str, Any], *, seed: int = 0) -> list[Problem]:
    own = dict(options)
    source = PluginHost.discover().find("source", own.pop("use"))
    return list(source(source.Config.model_validate(own)).problems(seed=seed))


def made(reward: Any) -> Any:
    own = {"use": reward} if isinstance(reward, str) else dict(reward)
    component = PluginHost.discover().find("reward", own.pop("use"))
    return component(component.Config.model_validate(own))


@pytest.fixture
def gpqa(tmp_path: Path) -> Path:
    """20 problems with the published columns."""
    path = tmp_path / "gpqa_diamond.csv"
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, ["Question", *OPTIONS, "Record ID", "Subdomain"])
        rows.writeheader()
        for n in range(20):
            texts = {column: f"{n}, {place}\nm" for place, column in enumerate(OPTIONS)}
            rows.writerow({"Question": f"Which, {n}?", **texts, "Record ID": f"rec{n}", "Subdomain": "Optics"})
    return path


def test_gpqa_shuffles_by_id_and_seed_and_its_letter_is_that_of_the_correct_answer(gpqa: Path) -> None:
    options = preset("gpqa_diamond", gpqa)
    assert (options["samples"], options["temperature"], options["top_p"]) == (64, 0.6, 0.95)
    assert options["max_new_tokens"] == 32768
    found = problems(options["problems"])
    for n, problem in enumerate(found):
        assert f"\n{problem.reference}) {n}, 0\n" in problem.question
        assert all(f") {n}, {place}\n" in problem.question for place in range(4))
    assert {problem.reference for problem in found} == set("ABCD")
    assert found == problems(options["problems"])
    other = problems(options["problems"], seed=1)
    assert [p.reference for p in other] != [p.reference for p in found]
    lines = gpqa.read_text().split("\n")
    gpqa.write_text("\n".join([lines[0], *lines[-11:]]))  # fewer rows, the same order of each one's options
    assert problems(options["problems"]) == found[-len(problems(options["problems"])) :]


def test_gpqa_is_scored_by_the_last_box_whatever_is_explained_around_it(gpqa: Path) -> None:
    options = preset("gpqa_diamond", gpqa)
    problem, reward = problems(options["problems"])[0], made(options["reward"])
    right, wrong = problem.reference, next(label for label in "ABCD" if label != problem.reference)
    for box, value in ((right, 1.0), (wrong, 0.0), (rf"\text{{{right}}}", 1.0)):
        said = f"<think>so</think>Not {wrong} and not compound A: \\boxed{{{wrong}}} no, \\boxed{{{box}}}."
        assert reward.score(problem, Response.parse(said)).value == value, box
    unboxed = reward.score(problem, Response.parse(f"<think>so</think>{right}"))
    assert (unboxed.value, unboxed.reason) == (0.0, "no_choice")


def test_gpqa_rows_that_lack_a_column_are_named_all_at_once(gpqa: Path) -> None:
    gpqa.write_text("Question,Record ID\nx,1\ny,2\n")
    with pytest.raises(RecipeError, match="Correct Answer") as caught:
        problems(preset("gpqa_diamond", gpqa)["problems"])
    assert "gpqa_diamond.csv:2" in str(caught.value)
    assert "gpqa_diamond.csv:3" in str(caught.value)


def contest(**changes: Any) -> dict[str, Any]:
    test = {"input": "1 2\n", "output": "3\n", "testtype": "stdin"}
    return {
        "question_content": "Add two numbers.", "question_id": "abc_a", "contest_date": "2024-08-10T00:00:00",
        "starter_code": "", "public_test_cases": json.dumps([test]), "private_test_cases": json.dumps([test]),
        "metadata": "{}", "difficulty": "easy", **changes,
    }  # fmt: skip


def written(path: Path, *rows: dict[str, Any]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = preset("livecodebench", path)
    assert (options["samples"], options["reward"]) == (8, "code")
    return dict(options["problems"])


def test_livecodebench_reads_tests_of_programs_and_of_methods_within_the_papers_window(tmp_path: Path) -> None:
    call = {"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}
    method = contest(
        question_id="m", contest_date="2025-01-31T00:00:00", metadata=json.dumps({"func_name": "shift"}),
        starter_code="class Solution:\n    def shift(self, xs, by):\n        ",
        public_test_cases=json.dumps([call]), private_test_cases="[]",
    )  # fmt: skip
    early = contest(question_id="early", contest_date="2024-07-31T23:00:00")
    late = contest(question_id="late", contest_date="2025-02-01T00:00:00")
    program, called = problems(written(tmp_path / "lcb.jsonl", early, contest(), method, late))
    assert program.reference == {"entry_point": None, "tests": [{"stdin": "1 2\n", "output": "3\n"}] * 2}
    assert called.reference == {
        "entry_point": "Solution.shift",
        "tests": [{"input": [[1, 2], 3], "output": [4, 5]}],
    }
    assert "def shift(self, xs, by)" in called.question
    code = made("code")
    assert [code.refuses(problem) for problem in (program, called)] == ["", ""]


def test_livecodebench_never_unpickles_and_says_how_to_convert(tmp_path: Path) -> None:
    packed = base64.b64encode(zlib.compress(pickle.dumps(Canary()))).decode()
    with pytest.raises(AssertionError, match="it was unpickled"):  # the canary sings where it is read
        pickle.loads(zlib.decompress(base64.b64decode(packed)))
    with pytest.raises(RecipeError, match=r"packed pickle.*write them as JSON") as caught:
        problems(written(tmp_path / "lcb.jsonl", contest(), contest(question_id="b", private_test_cases=packed)))
    assert "lcb.jsonl:2" in str(caught.value)


def test_livecodebench_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no data on the hub") as caught:
        preset("livecodebench", None)
    assert "--data" in caught.value.fix
