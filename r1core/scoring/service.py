"""What answers are worth: rewards run in killable processes and end in one of three outcomes, never a silent zero.

    with ScoringService(specs, workers=2) as service:
        groups = service.score(groups, step=step, total=total)

or, while they are being sampled (batch.py): `with service.batch(sizes) as batch: batch.add(...); batch.finish(...)`.
combined value = sum over applicable rewards of weight * part; a part is worth the reward's `lowest`
where its `gate` is shut, or the answer broke the check (a time-out, a crash, a lack of memory that repeats in
a fresh worker, or an exception), and one infrastructure failure makes the whole score unknown (NaN, taken out
before the estimator).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from types import TracebackType
from typing import Self

from r1core.components import Reward
from r1core.contexts import RewardContext
from r1core.errors import RefusedError
from r1core.recipe.measures import part_names
from r1core.scoring.batch import Batch
from r1core.scoring.engine import Engine
from r1core.scoring.here import Asking, AskingMeanwhile, NoStages, build_here, prepare_here
from r1core.scoring.pool import Pool
from r1core.scoring.process import launch_here
from r1core.scoring.python import launch
from r1core.scoring.spec import RewardSpec
from r1core.scoring.tally import Tally
from r1core.scoring.wire import Outcome
from r1core.types import Group, Score
from r1core.world import Alone, World

WINDOW = 256
"""Least answers, those of earlier calls among them, over which the share lost to infrastructure is taken: one answer
of a small batch is no outage."""
BATCH_TIMEOUT_S = 60.0
TIMES = "time/"


class ScoringService:
    """A stage's rewards, ready to score. Enter it to start the workers; leave it to end them.

    Raises SetupError on entering when a reward cannot be built. `memory_mib` caps each worker's address space, by
    default at what its rewards declare; `batch_timeout_s` is what scoring may take from the last answer of a batch on.
    `contexts` gives the context that the reward of a part is prepared with. Works in any thread, one batch at a time,
    in the process that entered it.
    """

    def __init__(
        self,
        specs: Sequence[RewardSpec],
        *,
        workers: int = 1,
        max_infrastructure_rate: float = 0.05,
        memory_mib: int | None = None,
        batch_timeout_s: float = BATCH_TIMEOUT_S,
        contexts: Callable[[str], RewardContext] | None = None,
        sentinels: bool = True,
    ) -> None:
        self.specs = tuple(specs)
        self.names = part_names([spec.name for spec in specs])
        self.batch_timeout_s = batch_timeout_s
        self._workers = workers
        self._max_infrastructure_rate = max_infrastructure_rate
        self._memory_mib = memory_mib
        self._contexts = contexts or NoStages()
        self._sentinels = sentinels
        self.engine: Engine | None = None
        """The worker processes, where a reward needs them."""
        self._is_entered = False
        self._unprepared: dict[int, Reward] = {}
        self._resident: dict[int, Reward] = {}
        self.tally = Tally(self.names, [spec.remote for spec in specs])
        self._recent: list[bool] = []

    @property
    def correct_part(self) -> str:
        """The first reward's metric name: it says whether an answer is correct."""
        return self.names[0]

    @property
    def form_parts(self) -> frozenset[str]:
        """The metric names of rewards that judge how an answer is written."""
        return frozenset(name for name, spec in zip(self.names, self.specs, strict=True) if spec.judges_form)

    def __enter__(self) -> Self:
        self._resident = {
            index: build_here(spec.name, spec.target, spec.options)
            for index, spec in enumerate(self.specs)
            if spec.runs == "stage"
        }
        self._unprepared = {i: r for i, r in self._resident.items() if type(r).prepare is not Reward.prepare}
        pythons = dict.fromkeys(spec.python for spec in self.specs if spec.runs == "worker")
        if pythons:
            late = f"scoring.batch_timeout_s, {self.batch_timeout_s:g} s, was over"
            makers = [lambda python=python: self._pool(python) for python in pythons]
            self.engine = Engine(makers, workers=self._workers, late=late)
        self._is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.engine is not None:
            self.engine.close()
        self.engine, self._resident, self._is_entered = None, {}, False
        if isinstance(self._contexts, NoStages):
            self._contexts.close()

    def _pool(self, python: str) -> Pool:
        """The workers of one interpreter."""
        own = {i: s for i, s in enumerate(self.specs) if s.runs == "worker" and s.python == python}
        interpreters = [spec.interpreter for spec in own.values() if spec.interpreter is not None]
        return Pool(
            [spec.for_worker(index) for index, spec in own.items()],
            launch(interpreters) if interpreters else launch_here(),
            workers=self._workers,
            memory_mib=self._memory_mib or max(spec.memory_mib for spec in own.values()),
            sentinels=self._sentinels,
        )

    def score(self, groups: Sequence[Group], *, step: int = 0, total: int = 1) -> list[Group]:
        """The groups with one score for each rollout, in order, whatever the number of workers.

        Raises RefusedError when a larger share of the answers than allowed is lost to infrastructure, or a sentinel
        says that a grader is broken.
        """
        with self.batch([len(group.rollouts) for group in groups], step=step, total=total) as batch:
            return batch.finish(groups)

    def batch(self, sizes: Sequence[int], *, step: int = 0, total: int = 1) -> Batch:
        """A batch of groups of these sizes, to be scored while they are sampled."""
        if not self._is_entered:
            raise RuntimeError("enter the scoring service before scoring")
        for index in list(self._unprepared):
            reward = self._unprepared.pop(index)
            prepare_here(self.specs[index].name, reward, self._contexts(self.names[index]))
        return Batch(self, sizes, step=step, total=total)

    def asking(self) -> dict[int, Asking]:
        """How each reward that runs in this process is asked in a batch."""
        return {
            index: AskingMeanwhile(reward) if self.specs[index].remote else Asking(reward)
            for index, reward in self._resident.items()
        }

    def metrics(self, world: World | None = None) -> dict[str, float]:
        """Shares of the answers scored since the last call, the seconds it took, and what rewards here measured: of
        all ranks, where several score. Nothing where nothing was scored."""
        world = world or Alone()
        found = self.tally.take(world)
        if not found:
            return {}
        for index, reward in self._resident.items():
            told = world.gather(reward.metrics())
            for key in dict.fromkeys(key for own in told for key in own):
                prefix = TIMES if key.startswith(TIMES) else ""
                values = [own[key] for own in told if key in own]
                value = math.fsum(values) if key in reward.totals else fmean(values)
                found[f"{prefix}verifier/{self.names[index]}/{key.removeprefix(TIMES)}"] = value
        return found

    # --- from outcomes to scores -----------------------------------------------------------------

    def scores(self, outcomes: Sequence[Mapping[int, Outcome]], seconds: Sequence[Mapping[int, float]]) -> list[Score]:
        """One score for each answer's outcomes, counted. Raises RefusedError when too many are lost."""
        scores = [self._combine(found) for found in outcomes]
        for score, found, spent in zip(scores, outcomes, seconds, strict=True):
            self.tally.add(score, found, spent)
        self._refuse_outage(outcomes)
        return scores

    def _combine(self, outcomes: Mapping[int, Outcome]) -> Score:
        said = {self.names[index]: self._part(index, outcome) for index, outcome in outcomes.items()}
        parts = {self.names[index]: self._gated(index, said) for index in outcomes}
        extracts = {self.names[index]: outcome.extracted for index, outcome in outcomes.items() if outcome.extracted}
        value = math.fsum(self.specs[index].weight * parts[self.names[index]] for index in outcomes)
        for status in ("infrastructure", "answer_failure", "verdict"):
            reasons = [outcome.reason for outcome in outcomes.values() if outcome.status == status]
            if reasons:
                return Score(value=value, status=status, reason=reasons[0], parts=parts, extracts=extracts)
        raise AssertionError("an answer that no reward applies to is refused before it is scored")

    def _gated(self, index: int, said: Mapping[str, float]) -> float:
        """A part where its gates are open; gates ask what was said, not what other gates have made of it."""
        spec, value = self.specs[index], said[self.names[index]]
        shut = any(said[name] < least for name, least in spec.gate.items() if name in said)
        return spec.lowest if shut and not math.isnan(value) else value

    def _part(self, index: int, outcome: Outcome) -> float:
        if outcome.status == "infrastructure":
            return math.nan
        return outcome.value if outcome.status == "verdict" else self.specs[index].lowest

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
            f"{count} by reward {self.specs[worst].name!r}, the last: {last or 'no reason given'}",
            where="scoring",
            fix="mend what the reward depends on and run the same command again, "
            "or raise scoring.max_infrastructure_rate",
        )
