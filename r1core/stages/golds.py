"""Golds are read before anything is computed: a problem that a reward cannot judge never reaches training.

Every problem of a finite source, and the first ENDLESS of an endless one. What needs another stage's
artifact, a source that reads its rows or a reward that asks its model, is asked when the stage starts.
With `scoring: {unreadable_golds: skip}` such problems are left out of the stage instead, told and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from r1core.choices import Use
from r1core.components import ProblemSource, Reward
from r1core.errors import RecipeError
from r1core.recipe.schema import RewardUse
from r1core.scoring import RewardSpec
from r1core.scoring.golds import Golds
from r1core.stages.base import spec_of
from r1core.types import Problem

if TYPE_CHECKING:
    from r1core.recipe.plan import Plan, StagePlan

ENDLESS = 256
MOST = 1_000_000
"""Problems of a source that are asked about at most: one that never ends may have forgotten to say so."""
UNREADABLE = "golds/unreadable"
"""The metric: problems that were left out."""
_TOLD = 20
_TOLD_LEFT_OUT = 3


class _Pair(NamedTuple):
    """A source of problems and a reward that judges answers to them, and may refuse some."""

    source: Use
    seed: int
    reward: RewardUse


@dataclass(kw_only=True)
class _Asked:
    """A source, how many of its problems were asked about, and what was refused: its number, and by whom and why."""

    source: Use
    where: Callable[[int], str]
    asked: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    def counted(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """The problems, counted as they pass."""
        for problem in problems:
            self.asked += 1
            yield problem

    @property
    def numbers(self) -> frozenset[int]:
        """The problems that are refused, by however many rewards."""
        return frozenset(number for number, _ in self.refused)

    def lines(self) -> Iterator[str]:
        """A sentence for each refusal."""
        for number, why in self.refused:
            yield f"source {self.source.use}, {self.where(number)}: {why}"


def check_golds(plan: Plan, stages: Sequence[StagePlan]) -> None:
    """Before a run. Raises one RecipeError with what is refused of all that can be asked by now."""
    strict = [stage for stage in stages if not _skips(stage)]
    pairs = [pair for stage in strict for pair in _pairs(plan, stage) if _is_ready(plan, pair)]
    found = _refused(plan, pairs, {}, workers=max((s.stage.scoring.workers for s in strict), default=1))
    _refuse([line for asked in found for line in asked.lines()])


def check_golds_of(
    plan: Plan, stage: StagePlan, artifacts: Mapping[str, Path], tell: Callable[[str], None]
) -> Mapping[str, frozenset[int]]:
    """When a stage starts: the same for what had to wait for other stages. Returns what is to be left out where the
    recipe says `skip`, of each source by its config as JSON; `tell` hears of it."""
    skips = _skips(stage)
    pairs = [pair for pair in _pairs(plan, stage) if skips or not _is_ready(plan, pair)]
    found = list(_refused(plan, pairs, artifacts, workers=stage.stage.scoring.workers))
    if not skips:
        _refuse([line for asked in found for line in asked.lines()])
    for asked in found:
        _tell_left_out(asked, tell)
    return {asked.source.model_dump_json(): asked.numbers for asked in found if asked.numbers}


def _skips(stage: StagePlan) -> bool:
    return stage.stage.scoring.unreadable_golds == "skip"


def _tell_left_out(asked: _Asked, tell: Callable[[str], None]) -> None:
    """How many, and the first few. Raises RecipeError where none is left."""
    if not asked.refused:
        return
    lines = list(asked.lines())
    more = [f"and {len(lines) - _TOLD_LEFT_OUT} more"] if len(lines) > _TOLD_LEFT_OUT else []
    told = "; ".join([*lines[:_TOLD_LEFT_OUT], *more])
    if len(asked.numbers) == asked.asked:
        raise RecipeError(
            f"no problem of source {asked.source.use} has a gold that its rewards can judge answers by: {told}",
            fix="mend the golds, or give the reward the option that reads them",
        )
    tell(f"{len(asked.numbers)} of {asked.asked} problems are left out, for their golds: {told}")


def _pairs(plan: Plan, stage: StagePlan) -> Iterator[_Pair]:
    may_refuse = [use for use in stage.stage.rewards if _may_refuse(plan, use)]
    evaluate = stage.stage.evaluate
    sets = [each.problems for each in evaluate.sets.values()] if evaluate is not None else []
    for source in [*stage.stage.asked(), *sets]:
        if isinstance(source, Use):
            yield from (_Pair(source, stage.seed, reward) for reward in may_refuse)


def _may_refuse(plan: Plan, use: RewardUse) -> bool:
    return cast(type[Reward], plan.loaded("reward", use).cls).refuses is not Reward.refuses


def _is_ready(plan: Plan, pair: _Pair) -> bool:
    """Whether neither needs what another stage has still to make."""
    try:
        plan.options("source", pair.source, {})
        plan.options("reward", pair.reward, {})
    except KeyError:
        return False
    return True


def _refused(plan: Plan, pairs: Sequence[_Pair], artifacts: Mapping[str, Path], *, workers: int) -> Iterator[_Asked]:
    """What is refused of each source. Every source is read once, every reward built once."""
    specs: dict[str, RewardSpec] = {}
    sources: dict[str, tuple[_Pair, list[str]]] = {}
    for pair in pairs:
        spec = spec_of(plan, pair.reward, artifacts)
        key = f"{spec.target} {spec.options} {spec.only_for} {spec.python}"
        specs.setdefault(key, spec)
        _, wanted = sources.setdefault(f"{pair.source} {pair.seed}", (pair, []))
        wanted += [] if key in wanted else [key]
    if not sources:
        return
    with Golds(list(specs.values()), workers=workers) as golds:
        for pair, wanted in sources.values():
            source: ProblemSource = plan.component("source", pair.source, artifacts)
            problems = islice(source.problems(seed=pair.seed), ENDLESS if source.endless else MOST)
            found = _Asked(source=pair.source, where=source.where)
            for number, name, reason in golds.refused(
                found.counted(problems), by=[list(specs).index(key) for key in wanted]
            ):
                found.refused.append((number, f"reward {name}: {reason}"))
            yield found


def _refuse(lines: Sequence[str]) -> None:
    if not lines:
        return
    more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    problems = "1 problem has" if len(lines) == 1 else f"{len(lines)} problems have"
    raise RecipeError(
        f"{problems} a gold that a reward cannot judge answers by:\n"
        + "\n".join(f"  {line}" for line in [*lines[:_TOLD], *more]),
        fix="mend or remove these rows, or give the reward the option that reads them; "
        "`scoring: {unreadable_golds: skip}` leaves them out",
    )
