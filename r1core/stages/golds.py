"""Golds are read before anything is computed: a problem that a reward cannot judge never reaches training.

Every problem of a finite source, and the first ENDLESS of an endless one. What needs another stage's
artifact, a source that reads its rows or a reward that asks its model, is asked when the stage starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

if TYPE_CHECKING:
    from r1core.recipe.plan import Plan, StagePlan

ENDLESS = 256
MOST = 1_000_000
"""Problems of a source that are asked about at most: one that never ends may have forgotten to say so."""
_TOLD = 20


class _Pair(NamedTuple):
    """A source of problems and a reward that judges answers to them, and may refuse some."""

    source: Use
    seed: int
    reward: RewardUse


def check_golds(plan: Plan, stages: Sequence[StagePlan]) -> None:
    """Before a run. Raises one RecipeError with what is refused of all that can be asked by now."""
    pairs = [pair for stage in stages for pair in _pairs(plan, stage) if _is_ready(plan, pair)]
    _refuse(list(_refused(plan, pairs, {}, workers=max((s.stage.scoring.workers for s in stages), default=1))))


def check_golds_of(plan: Plan, stage: StagePlan, artifacts: Mapping[str, Path]) -> None:
    """When a stage starts: the same for what had to wait for other stages."""
    pairs = [pair for pair in _pairs(plan, stage) if not _is_ready(plan, pair)]
    _refuse(list(_refused(plan, pairs, artifacts, workers=stage.stage.scoring.workers)))


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


def _refused(plan: Plan, pairs: Sequence[_Pair], artifacts: Mapping[str, Path], *, workers: int) -> Iterator[str]:
    """A line for each problem that is refused. Every source is read once, every reward built once."""
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
            for number, name, reason in golds.refused(problems, by=[list(specs).index(key) for key in wanted]):
                yield f"source {pair.source.use}, {source.where(number)}: reward {name}: {reason}"


def _refuse(lines: Sequence[str]) -> None:
    if not lines:
        return
    more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    problems = "1 problem has" if len(lines) == 1 else f"{len(lines)} problems have"
    raise RecipeError(
        f"{problems} a gold that a reward cannot judge answers by:\n"
        + "\n".join(f"  {line}" for line in [*lines[:_TOLD], *more]),
        fix="mend or remove these rows, or give the reward the option that reads them",
    )
