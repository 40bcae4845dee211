"""`r1 advantages`: several estimators on stored answers, worked out by hand, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import called

from r1core.comparison.estimators import agreement, correlation, estimated, largest_differences
from r1core.comparison.stored import StoredGroup, read_batches
from r1core.components import AdvantageEstimator
from r1core.store.rollouts import RolloutsWriter
from r1core.types import Group, GroupSignals, Problem, Response, Rollout, Score

UNREADABLE = Path("/proc/self/mem")
"""Nothing lies at the address that a file begins with, and reading there is an error as of a broken disk."""

GROUPS = [
    {"id": "a", "question": "1 + 1", "rewards": [1, 0, 0.5], "lengths": [4, 2, 3]},
    {"id": "b", "rewards": [0, 0, 1], "lengths": [1, 4, 2]},
    {"id": "c", "rewards": [1, 1], "lengths": [3, 3]},
]
CODE = """\
import numpy as np
from r1core import AdvantageEstimator

class Mine(AdvantageEstimator):
    '''The reward, less one half, for every token.'''
    name = "mine"
    scope = "batch"
    def __call__(self, groups):
        return [[np.full(int(t), r - 0.5) for r, t in zip(g.rewards_G, g.lengths_G)] for g in groups]

class Short(AdvantageEstimator):
    name = "short"
    def __call__(self, groups):
        return [[np.zeros(1)] for g in groups]

class Wrong(AdvantageEstimator):
    name = "wrong"
    def __call__(self, groups):
        return [[np.zeros(99) for r in g.rewards_G] for g in groups]

class Valued(AdvantageEstimator):
    name = "valued"
    needs = frozenset({"rewards", "values"})
    def __call__(self, groups):
        return []
"""


@pytest.fixture
def advantages(tmp_path: Path) -> Callable[..., Any]:
    """advantages(estimator, ...) runs `r1 advantages` on the three groups."""

    def run(*names: str, groups: list[dict[str, Any]] = GROUPS, more: tuple[str, ...] = ()):
        (tmp_path / "groups.jsonl").write_text("".join(json.dumps(group) + "\n" for group in groups))
        (tmp_path / "mine.py").write_text(CODE)
        uses = [part for name in names for part in ("--use", name)]
        return called(tmp_path, "advantages", "groups.jsonl", *uses, *more)

    return run


def table(said: str, title: str) -> list[list[str]]:
    """The words of each row of the table that follows a line."""
    lines = said.splitlines()
    start = next(i for i, line in enumerate(lines) if title in line)
    rows = [line.split() for line in lines[start + 1 :]]
    first = next(i for i, row in enumerate(rows) if row)
    last = next((i for i, row in enumerate(rows) if i > first and not row), len(rows))
    return rows[first:last]


# --- what is said ----------------------------------------------------------------------------------


def test_scale_and_silent_groups(advantages) -> None:
    done = advantages("{use: grpo, normalize_std: false}", "./mine.py:Mine")
    assert done.returncode == 0, done.stderr
    assert "8 answers in 3 groups, 1 batch; in 33% of the groups all answers are worth the same" in done.stdout
    centred = [0.5, -0.5, 0, -1 / 3, -1 / 3, 2 / 3, 0, 0]
    mine = [0.5, -0.5, 0, -0.5, -0.5, 0.5, 0.5, 0.5]
    rows = [line.split() for line in done.stdout.splitlines()[3:5]]
    assert rows[0] == ["grpo", "normalize_std=false", "+0.000", f"{np.std(centred):.3f}", "0.667", "33%"]
    assert rows[1] == ["./mine.py:Mine", f"{np.mean(mine):+.3f}", f"{np.std(mine):.3f}", "0.500", "0%"]
    signs = table(done.stdout, "answers that both push the same way")
    assert signs[1][-2:] == ["1.00", "0.75"]  # two of eight: the group of equals


def test_where_they_differ_most_comes_first_with_the_problem_and_both(advantages) -> None:
    said = advantages("{use: grpo, normalize_std: false}", "./mine.py:Mine").stdout
    shown = said[said.index("where two differ most") :]
    centred, mine = np.std([0.5, -0.5, 0, -1 / 3, -1 / 3, 2 / 3, 0, 0]), np.std([0.5] * 4 + [-0.5] * 3 + [0])
    heads = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
    assert heads == ["c", "b", "a"]
    assert ["2", "1.00", "+0.00", f"{0.5 / mine:+.2f}"] in [line.split() for line in shown.splitlines()]
    assert "\n  a 1 + 1\n" in shown
    assert ["1", "1.00", f"{0.5 / centred:+.2f}", f"{0.5 / mine:+.2f}"] in [line.split() for line in shown.splitlines()]


def test_estimators_that_are_the_same_up_to_scale_say_so(advantages) -> None:
    groups = [{"rewards": [1, 0, 0, 1]}, {"rewards": [0, 1, 1, 0]}]
    said = advantages("rloo", "dr_grpo", groups=groups).stdout
    assert "they are the same up to scale on every group" in said
    assert table(said, "rank correlation")[1][-2:] == ["1.00", "1.00"]
    assert "lengths are not given: every answer counts as one token" in said


def test_one_estimator_is_shown_by_itself(advantages) -> None:
    said = advantages("grpo").stdout
    assert "groups without signal" in said
    assert "correlation" not in said


def test_all_advantages_are_written(advantages, tmp_path: Path) -> None:
    assert advantages("grpo", "rloo", more=("-o", "all.jsonl")).returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(row["id"], row["answer"], row["reward"]) for row in rows[:4]] == [
        ("a", 0, 1.0),
        ("a", 1, 0.0),
        ("a", 2, 0.5),
        ("b", 0, 0.0),
    ]
    assert [row["advantages"]["rloo"] for row in rows[:6]] == pytest.approx([0.75, -0.75, 0, -0.5, -0.5, 1.0])
    assert [row["advantages"]["grpo"] for row in rows[:2]] == pytest.approx([0.999998, -0.999998], abs=1e-6)


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gprpo", "no advantage 'gprpo'\n  did you mean 'grpo'?"),
        ("{use: grpo, normalise_std: false}", "did you mean 'normalize_std'?"),
        ("./mine.py:Valued", "./mine.py:Valued needs 'values', which are made while a model trains and not stored"),
        ("./mine.py:Short", "it gave 1 advantages for the 3 answers of 'a'"),
        ("./mine.py:Wrong", "it gave an advantage of shape (99,), or not finite, for 4 tokens"),
        ("3", "--use '3' names no estimator"),
    ],
)
def test_what_cannot_be_asked_is_exit_2(advantages, name: str, said: str) -> None:
    done = advantages("rloo", name)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_estimator_is_given_once(advantages) -> None:
    assert "'rloo' is given twice" in advantages("rloo", "rloo").stderr


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"rewards": []}, "groups.jsonl:2: rewards: "),
        ({"reward": [1]}, "groups.jsonl:2: rewards: field required"),
        ({"rewards": [1], "lenghts": [1]}, "groups.jsonl:2: lenghts: "),
        ({"rewards": [1, 0], "lengths": [1]}, "groups.jsonl:2: 1 lengths for 2 rewards"),
        ({"rewards": [1, 0], "components": {"x": [1]}}, "groups.jsonl:2: 1 x for 2 rewards"),
    ],
)
def test_a_bad_line_is_said_with_its_number(advantages, group: dict[str, Any], said: str) -> None:
    done = advantages("rloo", groups=[GROUPS[0], group])
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_stored_is_said(r1, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty: no scored answers" in r1("advantages", "empty", "--use", "rloo").stderr
    assert "nowhere: there is nothing" in r1("advantages", "nowhere", "--use", "rloo").stderr


# --- what is stored --------------------------------------------------------------------------------


def group(name: str, scores: list[Score]) -> Group:
    problem = Problem(id=name, messages=({"role": "user", "content": f"what is {name}?"},))
    response = Response.parse("<think>a</think>b")
    rollouts = tuple(
        Rollout(
            problem=problem,
            sample=i,
            prompt_ids=np.array([1]),
            completion_ids=np.arange(i + 1),
            logprobs=None,
            response=response,
        )
        for i in range(len(scores))
    )
    return Group(problem=problem, rollouts=rollouts, scores=tuple(scores))


def test_a_stages_rollouts_are_read_batch_by_batch_without_what_has_no_verdict(tmp_path: Path) -> None:
    lost = Score(value=float("nan"), status="infrastructure")
    parts = {"accuracy": 1.0, "format": 0.5}
    writer = RolloutsWriter(tmp_path, keep="text", last=9)
    writer.add(
        0, [group("x", [Score(value=1.5, parts=parts), lost, Score(value=0.0, parts=dict.fromkeys(parts, 0.0))])]
    )
    writer.add(1, [group("y", [Score(value=1.0)]), group("z", [lost])])
    writer.close()
    batches = read_batches(tmp_path)
    assert [[each.id for each in batch] for batch in batches] == [["x"], ["y"]]
    (x,) = batches[0]
    assert x.question == "what is x?"
    np.testing.assert_array_equal(x.signals.rewards_G, [1.5, 0.0])
    np.testing.assert_array_equal(x.signals.lengths_G, [1, 3])
    assert x.signals.components is not None
    np.testing.assert_array_equal(x.signals.components["format"], [0.5, 0.0])


# --- arithmetic ------------------------------------------------------------------------------------


class Scaled(AdvantageEstimator):
    """The rewards, times a number for each group."""

    name = "scaled"

    def __init__(self, *factors: float) -> None:
        self.factors = iter(factors)

    def __call__(self, groups: Any) -> Any:
        factor = next(self.factors)
        return [[np.array([reward * factor]) for reward in group.rewards_G] for group in groups]


def stored(*rewards: list[float]) -> list[StoredGroup]:
    return [
        StoredGroup(id=str(i), question="", signals=GroupSignals(rewards_G=np.array(r), lengths_G=np.ones(len(r))))
        for i, r in enumerate(rewards)
    ]


def test_agreement_and_correlation_by_hand() -> None:
    groups = stored([1.0, -1.0, 0.0], [2.0, -2.0, 0.5])
    one = estimated("one", Scaled(1, 1), [groups])
    same = estimated("same", Scaled(3, 3), [groups])
    turned = estimated("turned", Scaled(1, -1), [groups])
    assert (agreement(one, same), correlation(one, same)) == (1.0, 1.0)
    assert agreement(one, turned) == 0.5
    a, b = [5, 2, 3, 6, 1, 4], [5, 2, 4, 1, 6, 3]  # ranks of 1 -1 0 2 -2 .5 and of 1 -1 0 -2 2 -.5
    assert correlation(one, turned) == pytest.approx(np.corrcoef(a, [5, 2, 4, 1, 6, 3])[0, 1])
    assert sorted(a) == sorted(b)
    (found,) = largest_differences([one, turned], groups, 5)
    assert (found.group, found.alike) == (1, 0)
    assert largest_differences([one, same], groups, 5) == []


def test_groups_of_the_same_rewards_are_shown_once() -> None:
    groups = stored([1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.5])
    pair = [estimated("one", Scaled(1, 1, 1, 1), [groups]), estimated("two", Scaled(1, 1, 2, 5), [groups])]
    found = largest_differences(pair, groups, 5)
    assert [(each.group, each.alike) for each in found] == [(0, 2), (3, 0)]


def test_a_file_that_is_no_text_or_does_not_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "groups.jsonl").write_bytes(b'{"rewards": [1, 0], "id": "\xff"}\n')
    done = called(tmp_path, "advantages", "groups.jsonl", "--use", "grpo", "--use", "rloo")
    assert (done.returncode, "groups.jsonl: it is no text in UTF-8: invalid start byte at byte 27" in done.stderr) == (
        2,
        True,
    ), done.stderr


@pytest.mark.skipif(not UNREADABLE.is_file(), reason="needs a file that opens and does not read")
@pytest.mark.parametrize("line", [["recipe", "FILE"], ["ablate", "FILE"], ["advantages", "FILE", "--use", "grpo"]])
def test_a_file_that_opens_and_does_not_read_is_the_machines_fault(tmp_path: Path, line: list[str]) -> None:
    done = called(tmp_path, *(str(UNREADABLE) if word == "FILE" else word for word in line))
    assert (done.returncode, f"{UNREADABLE}: it cannot be read: Input/output error" in done.stderr) == (3, True)
