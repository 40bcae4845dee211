"""Several advantage estimators on the same stored answers: their scale, where they agree, where they differ most.

An answer's advantage is the mean over its tokens. An estimator whose scope is the batch sees a batch as
it was in training. Scales differ (a standard deviation more or less is only another learning rate), so
differences are taken in units of each estimator's own deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from r1core.comparison.statistics import rank_correlation
from r1core.comparison.stored import STORED, StoredGroup
from r1core.components import AdvantageEstimator
from r1core.errors import RecipeError
from r1core.types import Floats

NONE = 1e-9
"""An advantage below this is none."""
SAME = 1e-6
"""A difference below this many deviations is rounding."""


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """What one estimator says of every answer: `groups` has a (G,) array for each group."""

    name: str
    groups: tuple[Floats, ...]

    @property
    def all(self) -> Floats:
        """All answers' advantages."""
        found: Floats = np.concatenate(self.groups)
        return found

    @property
    def silent(self) -> float:
        """The share of groups that it learns nothing from."""
        return float(np.mean([np.abs(group_G).max() < NONE for group_G in self.groups]))

    @property
    def deviation(self) -> float:
        """The standard deviation over all answers; 1 where there is none, to divide by."""
        return float(self.all.std()) or 1.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A group on which two estimators differ, and by how many deviations at most; `alike` counts further groups of the
    same rewards on which the two differ most."""

    group: int
    one: Estimated
    other: Estimated
    most: float
    alike: int = 0


def check_needs(name: str, estimator: AdvantageEstimator) -> None:
    """Raise RecipeError where stored answers do not have what the estimator reads."""
    lacking = sorted(estimator.needs - STORED)
    if lacking:
        raise RecipeError(
            f"{name} needs {', '.join(map(repr, lacking))}, which are made while a model trains and not stored",
            where="r1 advantages",
            fix=f"compare estimators that need no more than {', '.join(sorted(STORED))}",
        )


def estimated(name: str, estimator: AdvantageEstimator, batches: Sequence[Sequence[StoredGroup]]) -> Estimated:
    """The estimator's advantages of every answer, group by group. Raises RecipeError for what is no advantage."""
    found: list[Floats] = []
    for batch in batches:
        signals = [group.signals for group in batch]
        whole = estimator.scope == "batch"
        advantages = estimator(signals) if whole else [estimator([each])[0] for each in signals]
        if len(advantages) != len(batch):
            raise _wrong(name, f"{len(advantages)} groups for {len(batch)}")
        found += [_checked(name, group, own) for group, own in zip(batch, advantages, strict=True)]
    return Estimated(name=name, groups=tuple(found))


def _checked(name: str, group: StoredGroup, advantages: Sequence[Floats]) -> Floats:
    lengths_G = group.signals.lengths_G
    if len(advantages) != len(lengths_G):
        raise _wrong(name, f"{len(advantages)} advantages for the {len(lengths_G)} answers of {group.id!r}")
    for advantage, length in zip(advantages, lengths_G, strict=True):
        if advantage.shape not in ((1,), (int(length),)) or not np.isfinite(advantage).all():
            raise _wrong(name, f"an advantage of shape {advantage.shape}, or not finite, for {length} tokens")
    return np.array([float(advantage.mean()) if advantage.size else 0.0 for advantage in advantages])


def _wrong(name: str, what: str) -> RecipeError:
    fix = "for each group and each answer an estimator gives a finite (1,) or (T,) array; see AdvantageSuite"
    return RecipeError(f"it gave {what}", where=f"advantage {name}", fix=fix)


def agreement(one: Estimated, other: Estimated) -> float:
    """The share of answers that both push the same way: up, down or not at all."""
    signs = [np.where(np.abs(each.all) < NONE, 0, np.sign(each.all)) for each in (one, other)]
    return float(np.mean(signs[0] == signs[1]))


def correlation(one: Estimated, other: Estimated) -> float:
    """Spearman's rank correlation over all answers; NaN where one has no spread."""
    return rank_correlation(_flattened(one), _flattened(other))


def _flattened(each: Estimated) -> Floats:
    """The advantages with what only rounding tells apart made equal."""
    return np.round(each.all / each.deviation, 9)


def largest_differences(all_of: Sequence[Estimated], groups: Sequence[StoredGroup], count: int) -> list[Difference]:
    """The groups on which some two differ most, each with the two that differ most there; one of each pattern of
    rewards."""
    best: dict[int, Difference] = {}
    for one, other in combinations(all_of, 2):
        for group, (a_G, b_G) in enumerate(zip(one.groups, other.groups, strict=True)):
            most = float(np.abs(a_G / one.deviation - b_G / other.deviation).max())
            if most > (best[group].most if group in best else SAME):
                best[group] = Difference(group=group, one=one, other=other, most=most)
    found: dict[object, Difference] = {}
    for each in sorted(best.values(), key=lambda each: (-each.most, each.group)):
        key = _alike(each, groups[each.group])
        found[key] = replace(found[key], alike=found[key].alike + 1) if key in found else each
    return list(found.values())[:count]


def _alike(each: Difference, group: StoredGroup) -> tuple[object, ...]:
    """What a group looks like, whichever problem it is of."""
    return (each.one.name, each.other.name, *sorted(np.round(group.signals.rewards_G, 6).tolist()))
