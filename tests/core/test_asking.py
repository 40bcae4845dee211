"""Where the answers of a sample stage come from: how a model is asked, given answers, thinking added to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import go, job_of
from toy_stages import WEIGHTS

from r1core.errors import RecipeError
from r1core.stages import run_stage
from r1core.store import read_rows

STAGES = (
    "  base: BASE\n  traces: {sample: {prompts: 5, chunk: 2, SPEC}, model: base, problems: Numbers, rewards: [Exact]}\n"
)


def rows_of(tmp_path: Path, spec: str, patch: pytest.MonkeyPatch, skill: float = 1.0) -> tuple[list[Any], list[Any]]:
    """The rows of the stage, and the messages that the policy was asked with."""
    (tmp_path / WEIGHTS).write_text(f'{{"skill": {skill}}}')
    job, _ = job_of(tmp_path, STAGES.replace("SPEC", spec), "traces", base=tmp_path)
    heard: list[Any] = []

    def prompt_ids(self: Any, messages: Sequence[Any]) -> Any:
        heard.append([dict(message) for message in messages])
        return np.array([1], dtype=np.int64)

    patch.setattr(type(job.policy()), "prompt_ids", prompt_ids)
    run_stage(job)
    return list(read_rows(job.folder / "data")), heard


def test_an_instruction_and_worked_examples_are_asked_with_and_stay_out_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = "instruction: 'check yourself: ', shots: [{question: say 7, answer: <think>x</think> 7}]"
    rows, heard = rows_of(tmp_path, spec, monkeypatch)
    assert heard[1] == [
        {"role": "user", "content": "say 7"},
        {"role": "assistant", "content": "<think>x</think> 7"},
        {"role": "user", "content": "check yourself: say 1"},
    ]
    assert rows[1]["messages"] == [{"role": "user", "content": "say 1"}]
    assert rows[1]["answer"] == "1"


def test_given_answers_need_no_model(tmp_path: Path) -> None:
    go(tmp_path, STAGES.replace("SPEC", "answers: given").replace(" model: base,", ""))
    rows = list(read_rows(tmp_path / "run" / "stages" / "traces" / "data"))
    assert [row["text"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [(row["tokens"], row["thinking"]) for row in rows] == [(0, None)] * 5


def test_a_model_adds_thinking_to_given_answers_but_for_trivial_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, heard = rows_of(tmp_path, "answers: given_with_thinking, trivial_chars: 0", monkeypatch, skill=0.0)
    assert len(heard) == 5
    for number, row in enumerate(rows):
        assert row["text"] == f"<think> {row['thinking']}</think>{number}"
        assert int(row["thinking"]) > 0  # the toy thinks of its key
    (tmp_path / "again").mkdir()
    rows, _ = rows_of(tmp_path / "again", "answers: given_with_thinking, trivial_chars: 5", monkeypatch)
    assert {row["text"] for row in rows} == {f"<think></think>{number}" for number in range(5)}


def test_thinking_that_was_refused_or_cut_off_makes_no_answer(tmp_path: Path) -> None:
    far = f"sampler: {{use: '{Path(__file__).parent / 'toy_far.py'}:Far', log: {tmp_path / 'log'}, cuts: '5'}}"
    text = STAGES.replace("SPEC", "answers: given_with_thinking, trivial_chars: 0").replace("prompts: 5", "prompts: 10")
    go(tmp_path, text.replace("model: base", far).replace("  base: BASE\n", ""))
    rows = list(read_rows(tmp_path / "run" / "stages" / "traces" / "data"))
    assert len((tmp_path / "log").read_text().splitlines()) == len(rows) == 10
    assert {row["id"]: (row["reason"], row["text"]) for row in rows if not row["keep"]} == {
        "5": ("refused: thinking was cut off", ""),
        "7": ("refused: too odd", ""),
    }
    assert all(row["text"] == f"<think> {row['thinking']}</think>{row['id']}" for row in rows if row["keep"])


def test_a_source_without_completions_gives_no_answers_and_is_refused_before_any_compute(tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text(
        "from itertools import count\n"
        "from r1core import Problem, ProblemSource\n"
        "class Asked(ProblemSource):\n"
        "    name = 'asked'\n"
        "    def problems(self, *, seed):\n"
        "        return (Problem(id=str(n), messages=({'role': 'user', 'content': '?'},)) for n in count())\n"
    )
    text = STAGES.replace("SPEC", "answers: given").replace("Numbers, rewards", "./asked.py:Asked, rewards")
    with pytest.raises(RecipeError, match="a stage takes its answers, but its problems have no completion"):
        go(tmp_path, text)
    assert not (tmp_path / "run").exists()
