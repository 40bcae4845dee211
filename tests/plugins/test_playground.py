"""The tiny world's problems: right answers, stable streams, and a split that nothing crosses."""

from __future__ import annotations

import itertools
import re
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.playground import r1_rewards, r1_sources
from r1_plugins.playground.sources import Playground, PlaygroundCorpus
from r1_plugins.rules import Accuracy, Format, Language
from r1core.types import Problem, Response

CONTENT = re.compile(r"(?:compute|计算|let|设|sort|排序) ([-+=, 0-9a-p]+?)(?: (?:mod|模) 10.*)?")


def take(count: int, *, run_seed: int = 0, **options: Any) -> list[Problem]:
    source = Playground(Playground.Config.model_validate(options))
    return list(itertools.islice(source.problems(seed=run_seed), count))


def content(problem: Problem) -> str:
    """What is left of a question without its words."""
    match = CONTENT.fullmatch(problem.question)
    assert match is not None, problem.question
    return match[1]


def task(problem: Problem) -> str:
    return str(problem.meta["task"])


def solve(problem: Problem) -> str:
    """An independent solver that works on the text of the question."""
    text = content(problem)
    if task(problem) == "sort":
        return " ".join(sorted(text.split()))
    if task(problem) == "arith":
        return str(eval(text) % 10)
    values: dict[str, int] = {}
    for name, expression in (assignment.split(" = ") for assignment in text.split(" , ")):
        values[name] = eval(expression, {}, values) % 10
    return str(values[problem.question.split()[-1]])


def test_the_module_registers_its_sources_and_rewards() -> None:
    assert [source.name for source in r1_sources()] == ["playground", "playground_corpus"]
    assert [reward.name for reward in r1_rewards()] == ["playground_helpful", "playground_safe"]


@pytest.mark.parametrize("name", ["arith", "vars", "sort"])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_reference_is_the_answer_to_the_question(name: str, split: str) -> None:
    for problem in take(60, tasks=[name], split=split, operands=(2, 6)):
        assert problem.reference == solve(problem)
        assert (problem.domain, task(problem)) == ("reasoning", name)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_worked_solution_earns_every_rule_reward(language: str) -> None:
    rules = [Accuracy(Accuracy.Config()), Format(Format.Config(min_thinking_chars=1)), Language(Language.Config())]
    for problem in take(60, languages=[language], solved=True, limit=60, operands=(2, 6)):
        assert problem.completion is not None
        response = Response.parse(problem.completion)
        assert [rule.score(problem, response).value for rule in rules] == [1.0, 1.0, 1.0], problem


def test_worked_solutions_read_as_promised() -> None:
    by_task = {task(problem): problem for problem in take(30, languages=["en"], solved=True, limit=30, operands=(2, 2))}
    thinking = {name: Response.parse(p.completion or "").thinking or "" for name, p in by_task.items()}
    assert re.fullmatch(r"first \d [+-] \d is \d \.", thinking["arith"])
    assert re.fullmatch(r"first (\w) is \d \. then \w is \d [+-] \d is \d \.", thinking["vars"])
    assert re.fullmatch(r"smallest \w \. next \w \. next \w \.", thinking["sort"])


@given(seed=st.integers(0, 10**9), stream=st.integers(0, 10**9), split=st.sampled_from(["train", "held_out"]))
@settings(max_examples=25, deadline=None)
def test_any_prefix_of_a_stream_is_stable(seed: int, stream: int, split: str) -> None:
    options: dict[str, Any] = {"seed": stream, "split": split}
    assert take(4, run_seed=seed, **options) == take(12, run_seed=seed, **options)[:4]
    assert take(12, run_seed=seed, limit=4, **options) == take(4, run_seed=seed, **options)


def test_run_seed_and_stream_each_give_other_problems() -> None:
    streams = [take(20, run_seed=run, seed=stream) for run, stream in ((0, 0), (1, 0), (0, 1))]
    questions = [tuple(problem.question for problem in problems) for problems in streams]
    assert len(set(questions)) == 3


def test_ids_are_unique_within_and_across_streams() -> None:
    options: tuple[dict[str, Any], ...] = (
        {},
        {"seed": 1},
        {"split": "held_out"},
        {"operands": (5, 6)},
        {"tasks": ["chat", "harm"]},
    )
    ids = [problem.id for each in options for problem in take(300, **each)]
    assert len(set(ids)) == len(ids)


@given(seed=st.integers(0, 10**6), operands=st.sampled_from([(2, 4), (2, 2), (5, 6)]))
@settings(max_examples=20, deadline=None)
def test_the_split_is_decided_by_content_alone(seed: int, operands: tuple[int, int]) -> None:
    for split, held_out in (("train", False), ("held_out", True)):
        for problem in take(20, seed=seed, split=split, operands=operands):
            assert (crc32(content(problem).encode()) % 10 == 0) == held_out


def test_translations_of_held_out_problems_are_held_out_too() -> None:
    held_out = {content(p) for p in take(600, split="held_out", tasks=["arith"], operands=(2, 3))}
    seen = {(content(p), p.language) for p in take(2500, tasks=["arith"], operands=(2, 3))}
    assert len(seen) > 900
    assert not {text for text, _ in seen} & held_out


def test_the_first_thousand_held_out_problems_are_distinct() -> None:
    questions = [problem.question for problem in take(1000, split="held_out")]
    assert len(set(questions)) == 1000


def test_a_space_that_runs_out_repeats_instead_of_hanging() -> None:
    questions = [p.question for p in take(60, split="held_out", tasks=["arith"], operands=(2, 2))]
    distinct = len(set(questions))
    assert len(questions) == 60
    assert distinct < 60
    assert len(set(questions[:distinct])) == distinct


def test_operands_set_the_size_of_every_task() -> None:
    for problem in take(200, operands=(5, 6)):
        size = problem.meta["operands"]
        counted = {"arith": r"\d", "vars": "=", "sort": "[a-p]"}[task(problem)]
        assert size in (5, 6)
        assert len(re.findall(counted, content(problem))) == size + (task(problem) == "sort")


def test_an_opener_starts_the_worked_solution_of_the_same_problem() -> None:
    plain, opened = take(60, solved=True, limit=60), take(60, solved=True, limit=60, opener=True)
    for problem, started in zip(plain, opened, strict=True):
        assert started.messages[0] == problem.messages[0]
        assert started.messages[1]["role"] == "assistant"
        assert (problem.completion or "").startswith(started.messages[1]["content"] + " ")
    starts = {problem.messages[1]["content"] for problem in opened}
    assert starts == {"<think> first", "<think> 首先", "<think> smallest", "<think> 最小"}


def test_tasks_and_languages_are_respected_and_all_used() -> None:
    problems = take(200, tasks=["vars", "chat"], languages=["zh"])
    assert {(p.domain, task(p), p.language) for p in problems} == {
        ("reasoning", "vars", "zh"),
        ("general", "chat", "zh"),
    }
    assert {(task(p), p.language) for p in take(200)} == set(itertools.product(["arith", "vars", "sort"], ["en", "zh"]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"operands": (4, 2)}, "got [4, 2]"),
        ({"operands": (1, 2)}, "2 <= fewest"),
        ({"operands": (2, 16)}, "most < 16"),
        ({"tasks": ["sort", "chat"], "opener": True}, "leave chat out of tasks"),
        ({"tasks": ["chat", "harm"], "opener": True}, "which chat and harm lack"),
        ({"languages": []}, "at least 1 item"),
        ({"langauges": ["en"]}, "Extra inputs"),
    ],
)
def test_impossible_options_are_refused_with_the_value(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        Playground.Config.model_validate(options)


def test_corpus_shares_must_fit() -> None:
    with pytest.raises(ValidationError, match=re.escape("got 1.2")):
        PlaygroundCorpus.Config(clean_short=0.7, clean=0.5)


def test_solved_problems_are_data_and_data_must_end() -> None:
    with pytest.raises(ValidationError, match="give a limit"):
        Playground.Config(solved=True)
    assert len(list(Playground(Playground.Config(solved=True, limit=3)).problems(seed=0))) == 3
