"""`reasoning_gym`: every generator that is let in pays its own answer and no other, and runs none."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from r1_plugins.gym import GymReward, GymSource, r1_rewards, r1_sources
from r1_plugins.gym.answers import LONGEST, spelled
from r1_plugins.gym.generators import Generator, examined, generators, lacking, make
from r1core.errors import RecipeError, SetupError
from r1core.types import Problem, Response

SEEDS = 5
FIT = [name for name, generator in generators().items() if not generator.unfit]


def source(**options: Any) -> GymSource:
    return GymSource(GymSource.Config.model_validate({"tasks": ["chain_sum"], **options}))


def first(number: int, *, seed: int = 0, **options: Any) -> list[Problem]:
    return list(islice(source(**options).problems(seed=seed), number))


def answered(answer: str | None) -> Response:
    return Response(text="", thinking=None, answer=answer, tagged=True)


ASKED = GymReward(GymReward.Config())
"""One for all tests: it keeps the scorers that it has made."""


def worth(problem: Problem, answer: str | None) -> float:
    return ASKED.score(problem, answered(answer)).value


def gold(problem: Problem) -> str:
    return str(problem.reference["entry"]["answer"])


def hedges(answer: str, other: str) -> list[str]:
    """The answer, and another one to be safe."""
    return [
        f"{answer} or {other}",
        f"{other} or {answer}",
        f"{answer}\n{other}",
        f"{other}\n{answer}",
        f"{answer}, {other}",
    ]


def sent(problem: Problem) -> Problem:
    """As a worker gets it."""
    told = json.loads(json.dumps(vars(problem)))
    return Problem(**{**told, "messages": tuple(told["messages"])})


def test_the_module_registers_a_source_and_a_reward() -> None:
    assert [each.name for each in (*r1_sources(), *r1_rewards())] == ["reasoning_gym", "reasoning_gym"]


# --- the examination ------------------------------------------------------------------------------


def test_the_table_has_every_generator_and_few_are_unfit() -> None:
    from reasoning_gym.factory import DATASETS

    assert list(generators()) == sorted(set(DATASETS) - {"composite"})  # which mixes others
    unfit = [name for name, generator in generators().items() if generator.unfit]
    assert 0 < len(unfit) <= 0.15 * len(generators())
    assert all(generators()[name].unfit for name in unfit)
    assert lacking() == []


@pytest.mark.parametrize("task", FIT)
def test_a_generator_pays_its_answer_and_no_other(task: str) -> None:
    problems = [sent(problem) for problem in first(SEEDS, tasks=[task])]
    for number, problem in enumerate(problems):
        assert worth(problem, gold(problem)) == 1.0
        for wrong in ("", None, "  ", problem.question):
            assert worth(problem, wrong) < 1.0, wrong
        others = {gold(other) for other in problems[number + 1 :] + problems[:number]} - {gold(problem)}
        if not generators()[task].several:
            asked = [*others, *(hedge for other in others for hedge in hedges(gold(problem), other))]
            assert [wrong for wrong in asked if worth(problem, wrong) >= 1.0] == []


@pytest.mark.parametrize(
    ("task", "wrong"),
    [("game_of_life_halting", " "), ("puzzle24", "10*(8 - 5) - 6"), ("gsm_symbolic", None), ("boxnet", None)],
)
def test_what_was_found_unfit_is(task: str, wrong: str | None) -> None:
    scorer = make(task, {}, seed=0, size=1)
    entry = scorer[0]
    if task == "boxnet":
        assert entry["answer"] is None
    elif task == "gsm_symbolic":
        assert scorer.score_answer(f"{entry['answer']} or any other number, such as 12345", entry) == 1.0
    else:
        assert scorer.score_answer(wrong, entry) == 1.0


# --- nothing that a model writes is run ------------------------------------------------------------

EVALUATING = {"eval", "exec", "parse_expr", "sympify", "__import__"}


def evaluating_modules() -> set[str]:
    """Modules of the library with a call of something that runs text."""
    import reasoning_gym

    root = Path(reasoning_gym.__file__).parent
    found = set()
    for file in root.rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in calls}
        if names & EVALUATING:
            found.add(file.stem)
    return found


def test_every_scorer_that_runs_text_is_in_the_table() -> None:
    marked = {name for name, g in generators().items() if g.evaluates or g.evaluates_own} | {"codeio"}
    alone = {"basic_arithmetic", "generators_00_49", "generators_50_99", "propositional_logic"}
    assert evaluating_modules() - alone == marked  # the others run only what they have made themselves


def payloads(path: Path) -> Iterator[str]:
    write = f"__import__('pathlib').Path({str(path)!r}).touch()"
    yield from (
        write,
        f"[{write}]",
        f"(lambda: {write})()",
        f"Symbol({write!r})",
        f"x + {write}",
        f"sympify({write!r})",
    )
    yield f"''.join([str({write})])"
    yield f"().__class__.__bases__[0].__subclasses__() or {write}"


@pytest.mark.parametrize("task", [name for name, g in generators().items() if g.evaluates])
def test_an_answer_is_never_run(task: str, tmp_path: Path) -> None:
    reached = tmp_path / "reached"
    (problem,) = first(1, tasks=[task], unfit="allow")
    for payload in payloads(reached):
        assert worth(sent(problem), payload) == 0.0
        assert not reached.exists(), payload


def test_without_the_check_an_answer_is_run(tmp_path: Path) -> None:
    """The fault is there: in a process of its own, the library's scorer runs what it is given."""
    reached = tmp_path / "reached"
    code = (
        "import sys; from reasoning_gym.factory import create_dataset as make\n"
        "for task in ('string_insertion', 'simple_integration'):\n"
        "    scorer = make(task, seed=0, size=1); scorer.score_answer(sys.argv[1], scorer[0])\n"
    )
    payload = next(payloads(reached))
    subprocess.run([sys.executable, "-c", code, payload], check=True, capture_output=True)
    assert reached.exists()


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("3*(4 + 5)/2.5", "arithmetic", True),
        ("-4*(-2*x - 8)**(3/2)/3 + C", "calculus", True),
        ("x*sin(2*x)*exp(-x) + log(x) + E**x", "calculus", True),
        ("x", "arithmetic", False),
        ("Integral(x)", "calculus", False),
        ("x**2, x**3", "calculus", False),
        ("x**2\nx**3", "calculus", False),
        ("x.diff", "calculus", False),
        ("1.real", "calculus", False),
        ("x_", "calculus", False),
        ("x['a']", "calculus", False),
        ("xy", "calculus", False),
        ("factorial(9)", "calculus", False),
        ("(0x1a + 0xff) << 2", "hexadecimal", True),
        ("open(0)", "hexadecimal", False),
        ("1+" * LONGEST + "1", "arithmetic", False),
    ],
)
def test_an_expression_is_spelled_in_numbers_operators_and_few_names(text: str, kind: str, expected: bool) -> None:
    assert spelled(text, kind) is expected


def test_a_reference_that_would_be_run_is_refused() -> None:
    (problem,) = first(1, tasks=["bitwise_arithmetic"])
    reward = GymReward(GymReward.Config())
    assert reward.refuses(problem) == ""
    problem.reference["entry"]["metadata"]["problem"] = "__import__('os')"
    assert "would be evaluated" in reward.refuses(problem)
    assert reward.score(problem, answered("0x0")).status == "infrastructure"


# --- the reward -----------------------------------------------------------------------------------


def test_partial_credit_counts_only_where_it_is_asked_for() -> None:
    (problem,) = first(1, tasks=["countdown"])
    assert worth(problem, "1 + 1") == 0.0
    partial = GymReward(GymReward.Config(partial=True))
    assert partial.score(problem, answered("1 + 1")).value == pytest.approx(0.05)


def test_what_a_scorer_raises_is_worth_nothing() -> None:
    (problem,) = first(1, tasks=["prime_factorization"])
    score = GymReward(GymReward.Config()).score(problem, answered("two times three"))
    assert (score.value, score.reason) == (0.0, "unreadable: ValueError")


@pytest.mark.parametrize("reference", [None, "7", {"task": "chain_sum"}, {"task": "no", "config": {}, "entry": {}}])
def test_another_sources_reference_is_refused(reference: Any) -> None:
    problem = Problem(id="x", messages=({"role": "user", "content": "?"},), reference=reference)
    assert GymReward(GymReward.Config()).refuses(problem)


def test_options_that_the_generator_does_not_take_are_refused_at_load() -> None:
    (problem,) = first(1)
    problem.reference["config"]["no_such"] = 1
    assert "no option 'no_such'" in GymReward(GymReward.Config()).refuses(problem)


def test_the_sentinels_are_worth_what_they_say() -> None:
    reward = GymReward(GymReward.Config())
    said = [(reward.score(each.problem, each.response).value, each.value) for each in reward.sentinels()]
    assert said == [(1.0, 1.0), (0.0, 0.0)]


# --- the source -----------------------------------------------------------------------------------


def test_it_is_endless_unless_it_has_a_size() -> None:
    assert source().endless
    assert not source(size=3).endless
    assert len(list(source(size=3).problems(seed=0))) == 3


def test_weights_are_shares() -> None:
    problems = first(40, tasks=["gcd", "lcm"], weights={"gcd": 3})
    assert [p.meta["task"] for p in problems].count("gcd") == 30


def test_neighbouring_seeds_have_other_problems() -> None:
    """The library's own seeds overlap."""
    mine, library = [{p.question for p in first(50, seed=seed)} for seed in (0, 1)], []
    for seed in (0, 1):
        dataset = make("chain_sum", {}, seed=seed, size=50)
        library.append({dataset[number]["question"] for number in range(50)})
    assert len(library[0] & library[1]) == 49
    assert len(mine[0] & mine[1]) < 5


def test_options_reach_the_generator_and_the_prompt_is_written_around_its_question() -> None:
    (problem,) = first(1, config={"chain_sum": {"min_terms": 9, "max_terms": 9}}, prompt="{question} Tag it.")
    assert sum(problem.question.count(sign) for sign in "+-") >= 8
    assert problem.question.endswith(" Tag it.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tasks": ["chain_sums"]}, "did you mean 'chain_sum'"),
        ({"tasks": ["puzzle24"]}, "any expression that is worth 24"),
        ({"tasks": []}, "tasks is empty"),
        ({"tasks": ["gcd", "gcd"]}, "names 'gcd' twice"),
        ({"weights": {"gcd": 1}}, "weights names 'gcd', which is not drawn from"),
        ({"weights": {"chain_sum": 0}}, "the weight of chain_sum is 0"),
        ({"prompt": "think"}, "prompt has no {question}"),
        ({"size": 0}, "greater than or equal to 1"),
    ],
)
def test_slips_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("{", r"\{")):
        source(**options)


def test_an_option_that_a_generator_does_not_have_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="'max_term'") as caught:
        first(1, config={"chain_sum": {"max_term": 3}})
    assert "did you mean 'max_terms'" in str(caught.value)
    with pytest.raises(RecipeError, match="refuses its options"):
        first(1, config={"chain_sum": {"min_terms": 9, "max_terms": 3}})


def test_all_means_those_that_are_fit() -> None:
    assert source(tasks="all").config.chosen() == FIT
    assert len(source(tasks="all", unfit="allow").config.chosen()) == len(generators())
    assert source(tasks="all").fields["task"] == frozenset(FIT)


def test_another_version_was_not_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1_plugins.gym.generators.version", lambda _: "9.9")
    assert lacking() == [f"reasoning-gym 9.9 has not been examined, {examined()} has: pip install 'r1core[gym]'"]
    with pytest.raises(SetupError, match="has not been examined"):
        first(1)


def test_the_table_is_read_without_the_library() -> None:
    code = "import sys, r1_plugins.gym as g; g.GymSource.Config(tasks='all'); assert 'reasoning_gym' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
    assert isinstance(generators()["gcd"], Generator)
