"""One-step-off-policy: the next batch is sampled beside training, with weights that are one batch old."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from toy_runs import BASE, go, planned
from toy_stages import Climb, Exact, Guess

from r1core.errors import RecipeError, RefusedError
from r1core.events import StepDone
from r1core.store import read_metrics
from r1core.types import Rollout, Step

HERE = Path(__file__).resolve()
PATIENCE_S = 30.0


class Apart(Guess):
    """Has weights of its own, takes its time, and notes when it worked on which weights."""

    name = "apart"
    overlaps = True

    class Config(Guess.Config):
        where: str = Field(description="the file of what it did")
        lag: bool = Field(False, description="whether it forgets to take new weights")
        fail_after: int = Field(-1, description="the call that fails")
        calls: int = 0

    calls = 0
    skill = -1.0

    def sync(self, policy: Any) -> None:
        super().sync(policy)
        self.skill = policy.skill

    def generate(self, requests: Any) -> Iterator[Rollout]:
        longest = max(request.max_new_tokens for request in requests)
        begun = time.monotonic()
        if longest > 32:  # not a probe
            self.calls += 1
            if self.calls == self.config.fail_after:
                raise RefusedError("the server is gone", where="apart", fix="start it")
            time.sleep(0.2)
        yield from super().generate(requests)
        if longest > 32:
            noted(self.config.where, what="sampled", skill=self.skill, begun=begun, ended=time.monotonic())


class Elsewhere(Exact):
    """Judges in a process of its own."""

    name = "elsewhere"
    runs = "worker"


class Busy(Climb):
    """Learns for a while from each batch, and corrects for old weights."""

    name = "busy"
    off_policy = True

    class Config(Climb.Config):
        log: str = Field(description="the file of what it did")
        more: bool = Field(False, description="whether it asks for greedy answers and a second round, too")

    def run(self, context: Any) -> Iterator[Step]:
        for at in context.steps(self.config.steps):
            groups = context.rollouts(at, prompts=2, samples=3)
            if self.config.more:
                context.greedy(at, [group.problem for group in groups])
                groups += context.rollouts(at, prompts=1, samples=3)
            begun = time.monotonic()
            time.sleep(0.2)
            metrics = context.policy.update([], None, lr=self.config.gain)
            noted(self.config.log, what="learned", begun=begun, ended=time.monotonic())
            ids = [group.problem.id for group in groups]
            noted(self.config.log, what="got", step=at.step, ids=ids, answers=sum(len(g.rollouts) for g in groups))
            yield Step(metrics=metrics)


def noted(file: str, **row: Any) -> None:
    with Path(file).open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def stages(folder: Path, *, ahead: str = "true", steps: int = 6, sampler: str = "", trainer: str = "") -> str:
    log = folder / "log.jsonl"
    train = trainer or f"{{use: '{HERE}:Busy', steps: {steps}, rollouts: true, log: '{log}'}}"
    with_what = f"{{use: '{HERE}:Apart', where: '{log}'{sampler}}}"
    return (
        f"  base: {BASE}\n  zero: {{train: {train}, model: base, problems: Numbers, rewards: [Exact], "
        f"sampler: {with_what}, sampling: {{ahead: {ahead}, max_new_tokens: 64}}, checkpoint: {{every_s: 0}}}}\n"
    )


def rows(folder: Path, what: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row for row in found if row["what"] == what]


def test_a_batch_is_sampled_while_the_one_before_is_learned_from(tmp_path: Path) -> None:
    go(tmp_path, stages(tmp_path))
    sampled, learned = rows(tmp_path, "sampled"), rows(tmp_path, "learned")
    assert len(sampled) == len(learned) == 6, "none is sampled that nobody learns from"
    beside = [s for s in sampled for own in learned if s["begun"] < own["ended"] and own["begun"] < s["ended"]]
    assert len(beside) == 4, "all but the first two, whose distance is not known yet"
    skills = [round(row["skill"] - sampled[0]["skill"], 6) for row in sampled]
    assert skills == [0.0, 0.1, 0.1, 0.2, 0.3, 0.4], "from the third on, the weights of one batch before"


def test_without_it_every_batch_has_the_present_weights(tmp_path: Path) -> None:
    go(tmp_path, stages(tmp_path, ahead="false"))
    sampled = rows(tmp_path, "sampled")
    assert [round(row["skill"] - sampled[0]["skill"], 6) for row in sampled] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_every_problem_comes_once_and_in_order_also_after_a_stop(tmp_path: Path) -> None:
    """The batch that was under way when a run ended is sampled anew: none of its problems is skipped."""
    recipe = stages(tmp_path, sampler=", fail_after: 4")
    with pytest.raises(RefusedError, match="the server is gone"):
        go(tmp_path, recipe)
    ran = go(tmp_path, recipe)
    assert [event.step for event in ran.of(StepDone, "zero")] == [4, 5, 6]
    got = {row["step"]: row for row in rows(tmp_path, "got")}
    assert [name.split("@")[0] for step in range(6) for name in got[step]["ids"]] == [str(n) for n in range(12)]
    assert {row["answers"] for row in got.values()} == {6}


def test_what_is_asked_meanwhile_waits_for_the_batch_that_is_sampled(tmp_path: Path) -> None:
    """Rewards that have workers score one batch at a time."""
    recipe = stages(tmp_path, steps=4).replace("rollouts: true,", "rollouts: true, more: true,")
    recipe = recipe.replace("rewards: [Exact]", f"rewards: ['{HERE}:Elsewhere']")
    go(tmp_path, recipe)
    assert [row["answers"] for row in rows(tmp_path, "got")] == [9, 9, 9, 9]
    shares = list(read_metrics(tmp_path / "run" / "stages" / "zero" / "metrics.jsonl"))
    assert len(shares) == 4
    assert all(row.get("verifier/infra_rate", 0.0) == 0.0 for row in shares)


def test_a_failure_beside_training_stops_the_stage(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the server is gone"):
        go(tmp_path, stages(tmp_path, sampler=", fail_after: 5"))
    assert len(rows(tmp_path, "got")) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainer": "{use: Climb, rollouts: true}"}, "cannot learn from answers of older weights as it is set"),
        ({"sampler": None}, "cannot sample while the policy is trained"),
    ],
)
def test_what_cannot_work_ahead_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    recipe = stages(tmp_path, trainer=change.get("trainer", ""))
    if "sampler" in change:
        recipe = recipe.replace(f"{{use: '{HERE}:Apart', where: '{tmp_path / 'log.jsonl'}'}}", "Guess")
    with pytest.raises(RecipeError, match=words):
        planned(tmp_path, recipe)


def test_a_stage_that_trains_nothing_has_nothing_to_sample_beside(tmp_path: Path) -> None:
    traces = "{sample: {prompts: 2}, model: base, problems: Numbers, sampling: {ahead: true}}"
    recipe = f"  base: {BASE}\n  traces: {traces}\n"
    with pytest.raises(RecipeError, match="a sample stage trains nothing meanwhile"):
        planned(tmp_path, recipe)
