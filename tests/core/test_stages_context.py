"""What a trainer asks of a stage: rollouts in rounds, greedy answers, what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import job_of
from toy_stages import Skill

from r1core.events import StageNote
from r1core.stages.context import Context
from r1core.stages.cost import Cost
from r1core.stages.legs import Legs
from r1core.stages.progress import Progress
from r1core.store import read_rows
from r1core.store.rollouts import RolloutsWriter
from r1core.types import At

STAGE = "  zero: {train: {use: Climb, rollouts: true}, model: {scratch: {skill: 0.5}}, data: {use: Numbers}, MORE}\n"
FIRST, SECOND = (At(step=step, position=step, length=2) for step in (0, 1))


@pytest.fixture
def context(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Context]:
    """A stage's, with a skill of one half."""
    more = getattr(request, "param", "problems: Numbers, rewards: [Exact]")
    job, events = job_of(tmp_path, STAGE.replace("MORE", more), "zero")
    policy = Skill(Skill.Config())
    policy.skill = 0.5
    with job.scoring() as scoring:
        record = RolloutsWriter(job.folder, keep="text", last=9)
        made = Context(job, policy, scoring, Legs(job), record, Progress(job), start=tmp_path)
        made.events: list[Any] = events  # type: ignore[attr-defined,misc]
        yield made


def test_a_second_round_of_a_step_goes_on_where_the_first_ended(context: Context, tmp_path: Path) -> None:
    one, two = (context.rollouts(FIRST, prompts=3, samples=2) for _ in range(2))
    assert [group.problem.id for group in (*one, *two)] == [f"{n}@0.{n}" for n in range(6)]
    keys = [rollout.key for group in (*one, *two) for rollout in group.rollouts]
    assert len(set(keys)) == 12
    rows = list(read_rows(tmp_path / "zero/rollouts"))
    assert [row["id"] for row in rows] == [f"{n}@0.{n}" for n in range(6) for _ in range(2)], "all are kept"
    (later,) = context.rollouts(SECOND, prompts=1, samples=1)
    assert later.problem.id == "6@1.0"


def test_the_answers_of_a_round_do_not_depend_on_how_rounds_were_cut(tmp_path: Path) -> None:
    seen = []
    for name, rounds in (("a", (4,)), ("b", (1, 3))):
        (tmp_path / name).mkdir()
        job, _ = job_of(tmp_path / name, STAGE.replace("MORE", "problems: Numbers, rewards: [Exact]"), "zero")
        with job.scoring() as scoring:
            record = RolloutsWriter(job.folder, keep="none", last=1)
            context = Context(job, Skill(Skill.Config()), scoring, Legs(job), record, Progress(job), start=tmp_path)
            groups = [group for count in rounds for group in context.rollouts(FIRST, prompts=count, samples=2)]
        seen.append([(rollout.key, rollout.response.text) for group in groups for rollout in group.rollouts])
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "context",
    ["problems: Numbers, rewards: [Exact, {use: Brief, down: ['1@0.1']}], scoring: {max_infrastructure_rate: 1}"],
    indirect=True,
)
def test_greedy_answers_are_scored_and_what_was_lost_is_not_a_number(context: Context) -> None:
    groups = context.rollouts(FIRST, prompts=3, samples=1)
    rewards = context.greedy(FIRST, [group.problem for group in groups])
    assert math.isnan(rewards[1])
    assert (rewards[[0, 2]] >= 1).all(), "greedily it is right from a skill of one half on"


def test_responses_know_their_tokens(context: Context) -> None:
    (group,) = context.rollouts(FIRST, prompts=1, samples=3)
    assert [r.response.tokens for r in group.rollouts] == [len(r.completion_ids) for r in group.rollouts]


def test_a_note_reaches_whoever_watches(context: Context) -> None:
    context.note("short of breath")
    assert [e.text for e in context.events if isinstance(e, StageNote)] == ["short of breath"]  # type: ignore[attr-defined]


def test_costs_are_counted_from_one_step_to_the_next(context: Context) -> None:
    (group,) = context.rollouts(FIRST, prompts=1, samples=3)
    cost = Cost()
    tokens = np.array([len(rollout.completion_ids) for rollout in group.rollouts], dtype=float)
    cost.add("rollouts", group.rollouts)
    assert cost.take() == {"rollouts/tokens": tokens.sum()}, "the trainer knows the rest itself"
    cost.add("rollouts", group.rollouts)
    cost.add("greedy", group.rollouts[:1])
    share = tokens[0] / (tokens.sum() + tokens[0])
    beside = {"greedy/answers": 1.0, "greedy/tokens": tokens[0], "greedy/token_share": share}
    assert cost.take() == {"rollouts/tokens": tokens.sum(), **beside}
    assert cost.take() == {}
