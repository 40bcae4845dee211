"""`from_data`: a dataset's rows become problems through a template, and a template is nothing but names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from r1_plugins.datasets import FromData
from r1core.plugins import PluginHost
from r1core.preflight import check_sources
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve
from r1core.store import problem_of, rollout_row, write_rows
from r1core.types import Problem, Response, Rollout, Verdict


def row(number: int, text: str, *, keep: bool = True, prefilled: str = "", **problem: Any) -> dict[str, Any]:
    asked = {"messages": ({"role": "user", "content": f"what is {number}?"},), "reference": str(number), **problem}
    rollout = Rollout(
        problem=Problem(id=f"p{number}", meta={"operands": 2}, **asked),
        sample=3,
        prompt_ids=np.array([1]),
        completion_ids=np.array([1]),
        logprobs=None,
        response=Response.parse(text, prefilled=prefilled),
    )
    return rollout_row(rollout, None, Verdict(keep=keep))


ROWS = [
    row(1, "<think>one</think><answer>1</answer>", language="zh", domain="arith"),
    row(2, "<think>two</think><answer>2</answer>", keep=False),
    row(3, "no thinking"),
    row(4, "four</think><answer>4</answer>", prefilled="<think>", reference=[4, "four"]),
]


def problems(folder: Path, rows: list[dict[str, Any]], **options: Any) -> list[Problem]:
    write_rows(folder, rows)
    source = FromData(FromData.Config.model_validate({"data": str(folder), **options}))
    found = list(source.problems(seed=0))
    assert found == list(source.problems(seed=1)), "the run's seed changes nothing"
    return found


def test_a_row_becomes_a_problem(tmp_path: Path) -> None:
    (problem, *_) = problems(tmp_path, ROWS, prompt="Rewrite: {thinking} ({question}, {{{language}}})")
    assert problem == Problem(
        id="p1.3",
        messages=({"role": "user", "content": "Rewrite: one (what is 1?, {zh})"},),
        reference="1",
        domain="arith",
        language="zh",
        meta={"operands": 2, "from": "p1", "from_question": "what is 1?"},
    )


def test_every_field_can_be_named(tmp_path: Path) -> None:
    template = "{question}|{original}|{text}|{thinking}|{answer}|{reference}|{language}"
    said = [problem.question for problem in problems(tmp_path, ROWS, prompt=template)]
    assert said == [
        "what is 1?|what is 1?|<think>one</think><answer>1</answer>|one|1|1|zh",
        'what is 4?|what is 4?|<think>four</think><answer>4</answer>|four|4|[4, "four"]|en',
    ]


def test_what_was_rejected_comes_only_when_it_is_asked_for(tmp_path: Path) -> None:
    assert [p.meta["from"] for p in problems(tmp_path, ROWS)] == ["p1", "p3", "p4"]
    assert [p.meta["from"] for p in problems(tmp_path, ROWS, only_kept=False)] == ["p1", "p2", "p3", "p4"]


def test_a_row_that_lacks_what_is_needed_is_left_out(tmp_path: Path) -> None:
    assert [p.meta["from"] for p in problems(tmp_path, ROWS, prompt="{answer}")] == ["p1", "p4"]
    assert [p.meta["from"] for p in problems(tmp_path, ROWS, completion="thinking")] == ["p1", "p4"]
    assert [p.meta["from"] for p in problems(tmp_path, [row(1, "x", reference=None)], prompt="{reference}")] == []


def test_a_completion_is_given_where_it_is_asked_for(tmp_path: Path) -> None:
    def completions(column: str | None) -> list[str | None]:
        return [problem.completion for problem in problems(tmp_path, [ROWS[0], ROWS[3]], completion=column)]

    assert completions(None) == [None, None]
    assert completions("thinking") == ["one", "four"]
    assert completions("answer") == ["1", "4"]
    assert completions("text") == [problem_of(ROWS[0]).completion, problem_of(ROWS[3]).completion]


def test_the_start_of_an_answer_that_the_new_question_lacks_comes_back(tmp_path: Path) -> None:
    messages = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>first"})
    started = row(5, " so</think>5", prefilled="<think>first", messages=messages)
    (problem,) = problems(tmp_path, [started], completion="text")
    assert problem.question == "x"
    assert problem.completion == "<think>first so</think>5"


def test_what_a_rewrite_answered_can_be_learned_as_the_answer_to_the_first_question(tmp_path: Path) -> None:
    (asked,) = problems(tmp_path / "first", [ROWS[0]], prompt="Rewrite: {text}")
    rewritten = row(1, "<think>better</think>1", messages=asked.messages)
    rewritten |= {"id": asked.id, "meta": dict(asked.meta)}
    (problem,) = problems(tmp_path / "second", [rewritten], prompt="{original}", completion="text")
    assert (problem.question, problem.completion) == ("what is 1?", "<think>better</think>1")
    assert (problem.meta["from"], problem.meta["from_question"]) == ("p1.3", "what is 1?")


def test_text_with_braces_is_text(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, [row(1, "{question.__class__} {0}")], prompt="{text}")
    assert problem.question == "{question.__class__} {0}"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{qestion}", "{qestion} is no field; fields: question, original, text, thinking, answer, reference, language"),
        ("{}", "{} is no field"),
        ("{0}", "{0} is no field"),
        ("{question.__class__}", "{question.__class__} is no field"),
        ("{question[0]}", "{question[0]} is no field"),
        ("{question!r}", "{question!r} is no field"),
        ("{question:>99999999999}", "{question:>99999999999} is no field"),
        ("{question:{text}}", "{question:{text}} is no field"),
        ("{{ question }", "single '}' encountered in format string; a brace that is no field is written {{ or }}"),
        ("{question", "a brace that is no field is written {{ or }}"),
        ("", "at least 1 character"),
    ],
)
def test_a_template_is_names_and_nothing_more(prompt: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FromData.Config(data="samples", prompt=prompt)
    assert said in str(caught.value)


RECIPE = """\
r1: 1
name: rewriting
profile: none
engines: {policy: transformers, sampler: native}
stages:
  base: {import: org/model}
  samples:
    sample: {prompts: 2}
    model: base
    problems: {use: jsonl, path: PATH}
  rewrites:
    sample: {prompts: 2}
    model: base
    problems: {use: from_data, data: DATA, prompt: "Rewrite: {thinking}"}
  student: {train: sft, model: base, data: {use: from_data, data: rewrites, prompt: "{original}", completion: text}}
"""


def planned(folder: Path, data: str) -> Plan:
    questions = folder / "questions.jsonl"
    questions.write_text(json.dumps({"prompt": "x"}) + "\n")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("PATH", str(questions)).replace("DATA", data))
    return make_plan(resolve(path), PluginHost.discover())


def test_it_waits_for_the_stage_whose_rows_it_reads(tmp_path: Path) -> None:
    plan = planned(tmp_path, "samples")
    assert plan.stage("rewrites").inputs == ("base", "samples")
    assert plan.stage("student").inputs == ("base", "rewrites")
    check_sources(plan, plan.stages)  # the rows are not there yet, and that is no fault


def test_a_stage_without_data_is_refused_where_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="'base' is not data") as caught:
        planned(tmp_path, "base")
    assert "recipe.yaml:14" in str(caught.value)
