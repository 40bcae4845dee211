"""Intervals over seeds and problems, and rank correlation, with numpy alone. S = seeds, P = problems.

Problems and seeds are crossed: every seed answers the same problems. Of the mean of x_SP

    Var = A + B - E      A = var_S(mean over P) / S      B = var_P(mean over S) / P
                         E = var(what neither explains) / (S P), which A and B both contain

(two-way random effects), with Satterthwaite's degrees of freedom for Student's t, and never narrower than
over seeds alone or over problems alone: it speaks of other seeds and other problems alike. One seed
leaves B (a paired t over problems), one problem A (over seeds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from r1core.types import Floats

LEVEL = 0.95
NORMAL = 1e5
"""Degrees of freedom from which on Student's t is the normal distribution to four digits."""
GRID = 40_001


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its 95 % interval; NaN where one sample says nothing of its spread."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def crossed(x_SP: Floats) -> Estimate:
    """The mean of a table of seeds by problems with its interval. A problem of which some seed knows nothing (NaN)
    is left out for all; NaN where none is left, and no interval where all numbers are the same."""
    x_SP = x_SP[:, ~np.isnan(x_SP).any(axis=0)]
    seeds, problems = x_SP.shape
    if not seeds * problems:
        return Estimate(mean=math.nan, low=math.nan, high=math.nan)
    mean, of_S, of_P = float(x_SP.mean()), x_SP.mean(axis=1), x_SP.mean(axis=0)
    if np.ptp(x_SP) == 0:  # one number, or many without a spread: they say nothing of others
        return Estimate(mean=mean, low=math.nan, high=math.nan)
    a, b = _variance(of_S), _variance(of_P)
    halves = [student_t(len(means) - 1) * math.sqrt(v) for means, v in ((of_S, a), (of_P, b)) if len(means) > 1]
    if seeds > 1 and problems > 1:
        rest = x_SP - of_S[:, None] - of_P[None, :] + mean
        e = float((rest**2).sum()) / ((seeds - 1) * (problems - 1)) / (seeds * problems)
        halves.append(student_t(_freedom(a, seeds, b, problems)) * math.sqrt(max(a + b - e, 0.0)))
    return Estimate(mean=mean, low=mean - max(halves), high=mean + max(halves))


def _variance(means: Floats) -> float:
    """That of the mean of these; 0 where one tells nothing."""
    return float(means.var(ddof=1)) / len(means) if len(means) > 1 else 0.0


def _freedom(a: float, seeds: int, b: float, problems: int) -> float:
    """Satterthwaite's degrees of freedom of a sum of two estimated variances."""
    parts = a**2 / (seeds - 1) + b**2 / (problems - 1)
    return (a + b) ** 2 / parts if parts else NORMAL


def student_t(freedom: float, level: float = LEVEL) -> float:
    """How many standard errors on each side of a mean hold `level`. `freedom` >= 1 need not be whole.

    With t = sqrt(n) tan(a), Student's density is cos(a)^(n-1) up to a factor: a smooth integral over 0 .. pi/2.
    """
    freedom = min(freedom, NORMAL)
    widest = min(math.pi / 2, 12 / math.sqrt(freedom))  # beyond is nothing
    angle = np.linspace(0.0, widest, GRID)
    density = np.cos(angle) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    found = float(np.interp(level, below / below[-1], angle))
    return math.sqrt(freedom) * math.tan(found)


def ranks(values: Floats) -> Floats:
    """The rank of each value, from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    shared: Floats = (last - (count - 1) / 2)[place]
    return shared


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's: the correlation of the ranks. NaN where either has no spread."""
    if len(one) < 2 or not np.ptp(one) or not np.ptp(other):
        return math.nan
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])
