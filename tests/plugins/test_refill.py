"""Rollout batches that the filters leave short: how they are filled, and what happens to what is left over."""

from __future__ import annotations

import json
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_rl import BUILT, stage, train, used
from toy_training import LOST, ToyContext, group

from r1_plugins.rl import Rl
from r1_plugins.rl.waiting import packed, unpacked
from r1core.testing.stages import bytes_of, launch
from r1core.types import At, Group

FLAT, TELLING = (1.0, 1.0), (0.0, 1.0)


class Asking(ToyContext):
    """Gives as many groups as it is asked for, in order: those that pass are worth 0 and their number, others are flat.
    After `passes` all do."""

    def __init__(self, *passes: bool) -> None:
        super().__init__(built=BUILT)
        self._passes = enumerate(chain(passes, repeat(True)), start=1)

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        self.asked.append((at, prompts, samples))
        given_ = [next(self._passes) for _ in range(prompts)]
        return [group(f"{n}", 0.0, float(n)) if passes else group(f"{n}", *FLAT) for n, passes in given_]


def refilled(context: Asking, *, times: int, prompts: int, steps: int = 1) -> list[Any]:
    return train(context, filters=["zero_variance"], refill={"times": times}, prompts=prompts, steps=steps)


def learned(context: ToyContext) -> list[list[int]]:
    """The numbers of the groups of each update."""
    return [[int(value) for value in used(batch) if value] for batch in context.policy.updates]


def rounds(context: ToyContext) -> list[tuple[int, int]]:
    """(step, problems asked for) of each round of sampling."""
    return [(at.step, prompts) for at, prompts, _ in context.asked]


def test_without_refill_a_batch_is_what_the_filters_leave() -> None:
    context = Asking(True, False, False, True)
    (step,) = refilled(context, times=0, prompts=4)
    assert rounds(context) == [(0, 4)]
    assert learned(context) == [[1, 4]]
    assert not [name for name in step.metrics if name.startswith("refill/")]


def test_a_short_batch_is_filled_by_sampling_more() -> None:
    context = Asking(True, False, True, False, True, False, True, False)
    refilled(context, times=3, prompts=4)
    assert rounds(context) == [(0, 4), (0, 4)], "two were missing, and half had passed"
    assert learned(context) == [[1, 3, 5, 7]]


def test_no_more_is_asked_for_than_should_be_needed() -> None:
    context = Asking(*[True] * 3, False)
    refilled(context, times=3, prompts=4)
    assert rounds(context) == [(0, 4), (0, 2)]


def test_where_nothing_passed_a_whole_batch_is_asked_for_again() -> None:
    context = Asking(*[False] * 4, *[True] * 4)
    refilled(context, times=3, prompts=4)
    assert rounds(context) == [(0, 4), (0, 4)]


def test_the_bound_leaves_the_batch_short_and_says_so_once() -> None:
    context = Asking(*[True, False, False, False] * 8)
    steps = refilled(context, times=1, prompts=4, steps=3)
    assert rounds(context) == [(n // 2, 4) for n in range(6)]
    assert learned(context) == [[1, 5], [9, 13], [17, 21]]
    assert [step.metrics["refill/missing_groups"] for step in steps] == [2.0] * 3
    assert [step.metrics["refill/rounds"] for step in steps] == [1.0] * 3
    assert [step.note for step in steps] == [""] * 3, "there was something to learn from"
    assert context.notes == ["step 1: the filters left 2 of 4 groups in 2 rounds of sampling (refill.times: 1)"]


def test_what_is_left_over_is_learned_from_first_in_the_next_batch() -> None:
    context = Asking(True, *[False] * 3, *[True] * 20)
    steps = refilled(context, times=2, prompts=4, steps=3)
    # Three were missing and a quarter had passed: four more were asked for, of which one waits.
    assert rounds(context) == [(0, 4), (0, 4), (1, 3), (2, 4)]
    assert learned(context) == [[1, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert [step.metrics["refill/waiting_groups"] for step in steps] == [1.0, 0.0, 0.0]
    assert [step.metrics["refill/sampled_groups"] for step in steps] == [8.0, 3.0, 4.0]
    assert steps[0].metrics["refill/passed_share"] == 5 / 8


@given(st.lists(st.booleans(), min_size=200, max_size=200), st.integers(1, 5), st.integers(0, 3))
def test_every_group_that_passes_is_learned_from_once_and_in_order(
    passes: list[bool], prompts: int, times: int
) -> None:
    context = Asking(*passes)
    steps = refilled(context, times=times, prompts=prompts, steps=8)
    taken = sum(asked for _, asked in rounds(context))
    waiting = int(steps[-1].metrics.get("refill/waiting_groups", 0))
    passed = [n for n, ok in enumerate(passes[:taken], start=1) if ok]
    assert [number for own in learned(context) for number in own] == passed[: len(passed) - waiting]
    assert all(len(batch) <= prompts for batch in learned(context))
    assert waiting < prompts
    for number in range(8):
        assert sum(step == number for step, _ in rounds(context)) <= 1 + times


def test_a_group_whose_answers_were_lost_does_not_count() -> None:
    given_ = iter([[group("a", LOST, LOST), group("b", *TELLING)], [group("c", *TELLING)]])
    context = stage(lambda at: next(given_))
    (step,) = train(context, refill={"times": 1}, prompts=2)
    assert len(context.policy.updates[0]) == 4
    assert step.metrics["refill/missing_groups"] == 0


def test_shuffled_rewards_are_shuffled_within_each_round() -> None:
    given_ = iter([[group("a", 0.0, 1.0), group("b", 5.0, 5.0)], [group("c", *[9.0] * 2)]] * 2)
    first, second = (stage(lambda at: next(given_)) for _ in range(2))
    for context in (first, second):
        train(context, refill={"times": 1}, prompts=3, shuffle_rewards=True)
    assert used(first.policy.updates[0]) == [0.0, 1.0, 5.0, 5.0, 9.0, 9.0] == used(second.policy.updates[0])


# --- what waits survives a kill --------------------------------------------------------------------


def trainer() -> Rl:
    config = {"advantage": "echo", "filters": ["zero_variance"], "refill": {"times": 2}, "prompts": 4, "steps": 3}
    return Rl(Rl.Config.model_validate(config))


def test_a_new_process_goes_on_with_the_groups_that_wait() -> None:
    killed = trainer()
    next(iter(killed.run(Asking(True, *[False] * 3, *[True] * 4))))
    heir = trainer()
    heir.load(json.loads(json.dumps(killed.state())))
    context = Asking(*[True] * 3)
    next(iter(heir.run(context)))
    assert rounds(context) == [(0, 3)]
    assert learned(context) == [[1, 2, 3, 8]]


def test_groups_survive_json_bit_for_bit() -> None:
    made = group("a", 0.1, 1 / 3, tokens=[(5, 2**40), ()])
    lived = unpacked(json.loads(json.dumps(packed([made]))))[0]
    assert lived.problem == made.problem
    assert lived.scores == made.scores
    for mine, theirs in zip(lived.rollouts, made.rollouts, strict=True):
        assert (mine.response, mine.sample, mine.key) == (theirs.response, theirs.sample, theirs.key)
        for name in ("prompt_ids", "completion_ids", "logprobs"):
            ours, own = getattr(mine, name), getattr(theirs, name)
            assert (ours.dtype, ours.tobytes()) == (own.dtype, own.tobytes())
            ours.flags.writeable = True  # an array of its own
    unmeasured = group("b", 1.0)
    (rollout,) = unmeasured.rollouts
    bare = Group(problem=unmeasured.problem, rollouts=(rollout.__class__(**{**vars(rollout), "logprobs": None}),))
    assert unpacked(packed([bare]))[0].rollouts[0].logprobs is None


RECIPE = """\
r1: 1
name: refilled
engines: {policy: echo, sampler: echo}
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 4}, model: {scratch: {model_type: echo}}, data: {use: echo}}
  zero:
    train: {use: rl, steps: 4, prompts: 7, samples: 4, lr: 0.1, filters: [zero_variance], refill: {times: 3}}
    model: base
    problems: echo
    rewards: [accuracy]
    rollouts: {keep: ids+logprobs}
"""


def test_a_stage_killed_while_groups_wait_leaves_the_same_bytes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    whole = launch(recipe, tmp_path / "whole", "zero")
    waiting = [step.step for step in whole.steps if step.metrics["refill/waiting_groups"]]
    assert waiting, "or this would show nothing"
    launch(recipe, tmp_path / "killed", "zero", kill_at=waiting[0] + 1)
    assert launch(recipe, tmp_path / "killed", "zero").gone_on
    assert bytes_of(tmp_path / "killed", "zero") == bytes_of(tmp_path / "whole", "zero")


def test_every_answer_of_every_round_is_kept_with_an_id_of_its_own(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    seen = launch(recipe, tmp_path / "run", "zero")
    for step in seen.steps:
        rows = parquet.read_table(tmp_path / f"run/stages/zero/rollouts/part-{step.step - 1:05d}.parquet").to_pylist()
        assert len(rows) == 4 * step.metrics["refill/sampled_groups"]
        places = {(row["id"], row["sample"]) for row in rows}
        assert len(places) == len(rows)
        assert len({row["id"].rpartition("@")[0] for row in rows}) == step.metrics["refill/sampled_groups"]
    assert any(step.metrics["refill/rounds"] for step in seen.steps)
