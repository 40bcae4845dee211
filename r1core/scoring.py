"""What answers are worth: rewards run in killable processes and end in one of three outcomes, never a silent zero.

    with ScoringService(specs, workers=2) as service:
        groups = service.score(groups, step=step, total=total)

combined value = sum over applicable rewards of weight * part; a part is worth the reward's `lowest`
where the answer broke the check (a time-out, a crash or an exception that repeats in a fresh worker),
and one infrastructure failure makes the whole score unknown (NaN, taken out before the estimator).
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from r1core.components import Reward
from r1core.errors import RecipeError, RefusedError
from r1core.recipe.measures import part_names
from r1core.schedules import Window
from r1core.scoring_here import ask_here, build_here
from r1core.scoring_pool import Pool, WorkerReward
from r1core.scoring_process import Question, launch_here
from r1core.scoring_python import Interpreter, launch
from r1core.scoring_worker import Outcome, Sees, encode_question, seen
from r1core.types import Group, Problem, Rollout, Score

WINDOW = 256
"""Least answers, those of earlier calls among them, over which the share lost to infrastructure is taken: one answer
of a small batch is no outage."""


@dataclass(frozen=True, kw_only=True)
class RewardSpec:
    """A reward of a stage as plain data, enough to rebuild it in another process.

    `name` is what the recipe says ("accuracy", "chem/smiles", "./mine.py:Mine"); `target` is where the
    class is ("package.module:Class" or "/abs/file.py:Class"). An answer whose problem does not match
    all of `only_for` (problem fields or meta keys), or a step outside `active`, gets no such part.
    """

    name: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    only_for: Mapping[str, str] = field(default_factory=dict)
    active: Window | None = None
    timeout_s: float = Reward.timeout_s
    lowest: float = Reward.lowest
    remote: bool = Reward.remote
    sees: Sees = "response"
    runs: Literal["worker", "stage"] = "worker"
    interpreter: Interpreter | None = None
    """The one that it runs in; None for one like this process's."""

    @classmethod
    def of(
        cls,
        reward: type[Reward],
        *,
        name: str,
        target: str,
        options: Mapping[str, Any],
        weight: float = 1.0,
        only_for: Mapping[str, str] | None = None,
        active: Window | None = None,
        interpreter: Interpreter | None = None,
    ) -> RewardSpec:
        """The spec of a reward class: what the class declares, and what the recipe says beside it.

        Where its `Config` has an option `sees`, the recipe decides what it is shown.
        """
        option = reward.Config.model_fields.get("sees")
        return cls(
            name=name,
            target=target,
            options=dict(options),
            weight=weight,
            only_for=dict(only_for or {}),
            active=active,
            timeout_s=reward.timeout_s,
            lowest=reward.lowest,
            remote=reward.remote,
            sees=reward.sees if option is None else options.get("sees", option.default),
            runs=reward.runs,
            interpreter=interpreter,
        )

    def applies(self, problem: Problem, *, step: int, total: int) -> bool:
        """Whether answers to `problem` get this part at `step` (from 0) of `total`."""
        if self.active is not None and not self.active.covers(step, total):
            return False
        return problem.matches(self.only_for)


class ScoringService:
    """A stage's rewards, ready to score. Enter it to start the workers; leave it to end them.

    Raises SetupError on entering when a reward cannot be built. `memory_mib` caps each worker's
    address space. Enter and use it in one thread.
    """

    def __init__(
        self,
        specs: Sequence[RewardSpec],
        *,
        workers: int = 1,
        max_infrastructure_rate: float = 0.05,
        memory_mib: int | None = None,
    ) -> None:
        self._specs = tuple(specs)
        self._names = part_names([spec.name for spec in specs])
        self._workers = workers
        self._max_infrastructure_rate = max_infrastructure_rate
        self._memory_mib = memory_mib
        self._pools: list[Pool] = []
        self._resident: dict[int, Reward] = {}
        self._counts: Counter[str] = Counter()
        self._recent: list[bool] = []
        self._time_s = 0.0

    @property
    def correct_part(self) -> str:
        """The first reward's metric name: it says whether an answer is correct."""
        return self._names[0]

    def __enter__(self) -> Self:
        for index, spec in enumerate(self._specs):
            if spec.runs == "stage":
                self._resident[index] = build_here(spec.name, spec.target, spec.options)
        try:
            for python in dict.fromkeys(self._python(spec) for spec in self._specs if spec.runs == "worker"):
                self._pools.append(self._pool(python))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for pool in self._pools:
            pool.close()
        self._pools = []
        self._resident = {}

    def _python(self, spec: RewardSpec) -> str:
        return spec.interpreter.python if spec.interpreter is not None else ""

    def _pool(self, python: str) -> Pool:
        """The workers of one interpreter."""
        own = [(i, s) for i, s in enumerate(self._specs) if s.runs == "worker" and self._python(s) == python]
        rewards = [
            WorkerReward(
                index=index,
                name=spec.name,
                target=spec.target,
                options=spec.options,
                sees=spec.sees,
                timeout_s=spec.timeout_s,
                remote=spec.remote,
                source=spec.interpreter.source if spec.interpreter is not None else None,
            )
            for index, spec in own
        ]
        interpreters = [spec.interpreter for _, spec in own if spec.interpreter is not None]
        how = launch(interpreters) if interpreters else launch_here()
        return Pool(rewards, how, workers=self._workers, memory_mib=self._memory_mib)

    def score(self, groups: Sequence[Group], *, step: int = 0, total: int = 1) -> list[Group]:
        """The groups with one score for each rollout, in order, whatever the number of workers.

        Raises RefusedError when a larger share of the answers than allowed is lost to infrastructure.
        """
        started = time.monotonic()
        answers = [rollout for group in groups for rollout in group.rollouts]
        outcomes = self._ask(answers, step=step, total=total)
        scores = [self._combine(found) for found in outcomes]
        self._time_s += time.monotonic() - started
        self._count(scores, outcomes)
        self._refuse_outage(outcomes)
        remaining = iter(scores)
        return [group.scored(tuple(next(remaining) for _ in group.rollouts)) for group in groups]

    def metrics(self) -> dict[str, float]:
        """Shares of the answers scored since the last call, and the seconds it took."""
        answers = max(1, self._counts["answers"])
        found = {
            "verifier/infra_rate": self._counts["infrastructure"] / answers,
            "verifier/failure_rate": self._counts["answer_failure"] / answers,
            "verifier/timeout_rate": self._counts["timeout"] / answers,
            "time/verifier_s": self._time_s,
        }
        self._counts.clear()
        self._time_s = 0.0
        return found

    def _ask(self, answers: Sequence[Rollout], *, step: int, total: int) -> list[dict[int, Outcome]]:
        found = [dict[int, Outcome]() for _ in answers]
        for index, own in self._judge_here(answers, step=step, total=total).items():
            for number, outcome in own.items():
                found[number][index] = outcome
        asked = []
        for number, rollout in enumerate(answers):
            applicable = [i for i, s in enumerate(self._specs) if s.applies(rollout.problem, step=step, total=total)]
            if not applicable:
                raise _unrewarded(rollout.problem, step)
            pending = [i for i in applicable if i not in self._resident]
            asked.append((number, pending, encode_question(rollout.problem, rollout.response) if pending else b""))
        if any(pending for _, pending, _ in asked) and not self._pools:
            raise RuntimeError("enter the scoring service before scoring")
        for pool in self._pools:  # one after the other, so that no more than `workers` are ever at work
            questions = [
                Question(number=n, pending=deque(i for i in pending if i in pool.rewards), body=body)
                for n, pending, body in asked
            ]
            pool.run(questions)
            for question in questions:
                found[question.number] |= question.outcomes
        return [dict(sorted(outcomes.items())) for outcomes in found]

    def _judge_here(self, answers: Sequence[Rollout], *, step: int, total: int) -> dict[int, dict[int, Outcome]]:
        """Reward -> answer -> outcome, for the rewards that run in this process: each is asked once for all of its."""
        found: dict[int, dict[int, Outcome]] = {}
        for index, reward in self._resident.items():
            spec = self._specs[index]
            numbers = [n for n, rollout in enumerate(answers) if spec.applies(rollout.problem, step=step, total=total)]
            asked = [(answers[n].problem, seen(answers[n].response, spec.sees)) for n in numbers]
            found[index] = dict(zip(numbers, ask_here(reward, asked), strict=True))
        return found

    def _combine(self, outcomes: Mapping[int, Outcome]) -> Score:
        parts = {self._names[index]: self._part(index, outcome) for index, outcome in outcomes.items()}
        value = math.fsum(self._specs[index].weight * parts[self._names[index]] for index in outcomes)
        for status in ("infrastructure", "answer_failure", "verdict"):
            reasons = [outcome.reason for outcome in outcomes.values() if outcome.status == status]
            if reasons:
                return Score(value=value, status=status, reason=reasons[0], parts=parts)
        raise AssertionError("an answer that no reward applies to is refused before it is scored")

    def _part(self, index: int, outcome: Outcome) -> float:
        if outcome.status == "infrastructure":
            return math.nan
        return outcome.value if outcome.status == "verdict" else self._specs[index].lowest

    def _count(self, scores: Sequence[Score], outcomes: Sequence[Mapping[int, Outcome]]) -> None:
        self._counts["answers"] += len(scores)
        for score, found in zip(scores, outcomes, strict=True):
            self._counts[score.status] += 1
            self._counts["timeout"] += any(outcome.reason == "verifier_timeout" for outcome in found.values())

    def _refuse_outage(self, outcomes: Sequence[Mapping[int, Outcome]]) -> None:
        failures = [
            (number, index, outcome.reason)
            for number, found in enumerate(outcomes)
            for index, outcome in found.items()
            if outcome.status == "infrastructure"
        ]
        broken = {number for number, _, _ in failures}
        window = max(WINDOW, len(outcomes))
        self._recent = [*self._recent, *(number in broken for number in range(len(outcomes)))][-window:]
        lost = sum(self._recent)
        if not failures or lost <= self._max_infrastructure_rate * len(self._recent):
            return
        worst, count = Counter(index for _, index, _ in failures).most_common(1)[0]
        last = [reason for _, index, reason in failures if index == worst][-1]
        raise RefusedError(
            f"{lost} of {len(self._recent)} answers were lost to infrastructure failures "
            f"(at most {self._max_infrastructure_rate:.1%} allowed); "
            f"{count} by reward {self._specs[worst].name!r}, the last: {last or 'no reason given'}",
            where="scoring",
            fix="mend what the reward depends on and run the same command again, "
            "or raise scoring.max_infrastructure_rate",
        )


def _unrewarded(problem: Problem, step: int) -> RecipeError:
    return RecipeError(
        f"no reward applies to problem {problem.id!r} (domain {problem.domain!r}) at step {step}",
        where="rewards",
        fix="check `for:` and `active:`; every problem needs a reward at every step",
    )
