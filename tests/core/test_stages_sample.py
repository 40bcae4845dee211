"""A sample stage: what it asks, what the filters say, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import contents, job_of
from toy_stages import WEIGHTS

from r1core.components import DataFilter
from r1core.errors import RecipeError, RefusedError, SetupError
from r1core.events import StageNote, StageStarted, StepDone
from r1core.stages import run_stage
from r1core.stages.sample import fate, mark
from r1core.store import read_rows
from r1core.types import Group, Problem, Response, Rollout, Score, Verdict

STAGES = """\
  model: BASE
  traces:
    sample: {prompts: 10, samples: 3, chunk: 4}
    model: model
    problems: Numbers
    rewards: [Exact]
    filters: [Right]
"""


def sampled(folder: Path, stages: str = STAGES, skill: float = 0.5) -> tuple[dict[str, float], list[Any], Path]:
    """The stage's metrics, its events and its data folder."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / WEIGHTS).write_text(json.dumps({"skill": skill}))
    job, events = job_of(folder, stages, "traces", model=model)
    return run_stage(job), events, job.folder / "data"


def test_every_answer_stays_with_its_verdict(tmp_path: Path) -> None:
    metrics, events, data = sampled(tmp_path)
    rows = list(read_rows(data))
    assert [(row["id"], row["sample"]) for row in rows] == [(str(p), s) for p in range(10) for s in range(3)]
    assert {(row["score"], row["keep"], row["reason"]) for row in rows} == {(1.0, True, ""), (0.0, False, "wrong")}
    kept = sum(row["keep"] for row in rows)
    assert 0 < kept < 30
    assert metrics["filter/kept"] == kept
    assert metrics["filter/wrong"] == 30 - kept
    assert metrics["kept"] == kept / 30
    assert next(e.text for e in events if isinstance(e, StageNote)).startswith(f"kept {kept} of 30 answers (")


def test_each_chunk_is_a_unit_with_a_part_of_its_own(tmp_path: Path) -> None:
    _, events, data = sampled(tmp_path)
    assert [e.total_steps for e in events if isinstance(e, StageStarted)] == [3]
    assert [(e.step, e.total) for e in events if isinstance(e, StepDone)] == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in data.iterdir()) == [f"part-0000{n}.parquet" for n in range(3)]


def test_the_same_stage_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (contents(sampled(tmp_path / name)[2]) for name in ("one", "two"))
    assert one == two


def test_a_finite_source_is_not_repeated_and_says_so(tmp_path: Path) -> None:
    stages = STAGES.replace("problems: Numbers", "problems: {use: Numbers, count: 6}")
    _, events, data = sampled(tmp_path, stages)
    assert len(list(read_rows(data))) == 18
    assert any("has only 6 problems, 10 were asked for" in e.text for e in events if isinstance(e, StageNote))


def test_a_source_without_problems_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stages\.traces\.problems: .*has no problems"):
        sampled(tmp_path, STAGES.replace("problems: Numbers", "problems: {use: Numbers, count: 0}"))


def test_without_rewards_answers_have_no_score(tmp_path: Path) -> None:
    stages = STAGES.replace("    rewards: [Exact]\n    filters: [Right]\n", "")
    metrics, _, data = sampled(tmp_path, stages)
    assert metrics["filter/kept"] == 30
    assert {row["status"] for row in read_rows(data)} == {None}


def test_keeping_nothing_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"stages\.traces: the filters kept none of 30 answers \(wrong 30\)"):
        sampled(tmp_path, skill=-1.0)


def test_a_rejection_without_a_word_is_none_the_less_one(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"\(rejected 30\)"):
        sampled(tmp_path, STAGES.replace("filters: [Right]", "filters: [{use: Right, reason: ''}]"), skill=-1.0)


# --- filters -----------------------------------------------------------------------------------------


class Rule(DataFilter):
    """Keeps the samples for which the rule holds."""

    def __init__(self, reason: str, rule: Callable[[int], bool]) -> None:
        super().__init__(self.Config())
        self.reason, self.rule = reason, rule
        self.seen: list[int] = []

    def judge(self, group: Group) -> list[Verdict]:
        self.seen = [rollout.sample for rollout in group.rollouts]
        return [
            Verdict(keep=self.rule(sample), reason="" if self.rule(sample) else self.reason) for sample in self.seen
        ]


def group(*scores: Score) -> Group:
    asked, ids = Problem(id="p"), np.arange(1)
    rollouts = tuple(
        Rollout(problem=asked, sample=i, prompt_ids=ids, completion_ids=ids, logprobs=None, response=Response.parse(""))
        for i in range(len(scores))
    )
    return Group(problem=asked, rollouts=rollouts, scores=scores)


def test_the_first_filter_that_rejects_gives_the_reason_and_later_ones_do_not_see_the_answer() -> None:
    even, small = Rule("odd", lambda sample: sample % 2 == 0), Rule("large", lambda sample: sample < 3)
    verdicts = mark(group(*[Score(value=1.0)] * 6), [even, small])
    assert [fate(verdict) for verdict in verdicts] == ["kept", "odd", "kept", "odd", "large", "odd"]
    assert small.seen == [0, 2, 4]


def test_an_infrastructure_failure_is_no_filters_business() -> None:
    everything = Rule("never", lambda sample: True)
    verdicts = mark(group(Score(value=1.0), Score(value=float("nan"), status="infrastructure")), [everything])
    assert [fate(verdict) for verdict in verdicts] == ["kept", "infrastructure"]
    assert everything.seen == [0]


def test_filters_are_not_asked_about_nothing() -> None:
    nobody, later = Rule("all", lambda sample: False), Rule("later", lambda sample: True)
    assert [v.keep for v in mark(group(Score(value=1.0)), [nobody, later])] == [False]
    assert later.seen == []


# --- import ------------------------------------------------------------------------------------------


def imported(folder: Path, source: Path | str) -> tuple[dict[str, float], Path]:
    job, _ = job_of(folder, f"  base: {{import: {source}}}\n", "base")
    return run_stage(job), job.folder / "model"


def test_a_model_folder_is_taken_byte_for_byte_without_pickles_or_code(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    files = {"model.safetensors": b"\0weights", "config.json": b"{}", "tokenizer.json": b"{ }", "chat.jinja": b"x"}
    for name, data in {**files, "pytorch_model.bin": b"pickle", "modeling.py": b"code", "README.md": b"#"}.items():
        (source / name).write_bytes(data)
    metrics, model = imported(tmp_path, source)
    assert contents(model) == files
    assert metrics == {"files": 4.0}


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(SetupError, match=r"no \.safetensors weights\n.*never loaded"):
        imported(tmp_path, tmp_path / "pickles")


def test_a_folder_that_is_not_there_is_refused_when_the_plan_is_made(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml:6:\d+: stages\.base\.import: there is no folder"):
        imported(tmp_path, tmp_path / "nowhere")
