"""The table of models as the page tells it: the lines that models descend in, their shares and breakdowns.

A line is a root (a measured model that no measured one precedes) and those trained from it, in the table's order. A
model with several seeds is their mean; its interval is over seeds and problems, as in all tables (over_seeds.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1_plugins.report.arms import arms
from r1_plugins.report.gather import RunFacts
from r1_plugins.report.over_seeds import over_seeds
from r1core.comparison.statistics import Estimate

ORDER = ("pass@1", "greedy", "hard", "format", "language", "general", "helpful", "safe", "length")
BESIDE = ("_ci95", "_se_sampling", "_se_problem")
UNKNOWN = "\u2013"
CONSENSUS = "cons="


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One model: its metrics by name, the headline among them with its interval."""

    name: str
    root: str
    metrics: Mapping[str, Any]
    variants: int = 1
    """How many seeds it is the mean of."""

    def value(self, metric: str) -> float | None:
        """The number, None where it is unknown."""
        found = self.metrics.get(metric)
        return float(found) if isinstance(found, int | float) and math.isfinite(found) else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval, where there is one."""
        found = self.metrics.get(f"{metric}_ci95")
        if not isinstance(found, list | tuple) or len(found) != 2 or not all(_is_number(each) for each in found):
            return None
        return float(found[0]), float(found[1])


def measured(facts: RunFacts) -> list[Measured]:
    """The models of `results.json`, line by line; those that differ by their seeds alone as one."""
    by_model = {str(row["model"]): row["metrics"] for row in facts.rows}
    known = arms(facts, (facts.stages[model] for model in by_model if model in facts.stages))
    replicates = {name: [stage.id for stage in own] for name, own in known.items()}
    replicates |= {model: [model] for model in by_model if model not in facts.stages}
    names = {model: name for name, own in replicates.items() for model in own}
    estimates = over_seeds(facts, replicates)
    found = [
        Measured(
            name=name,
            root=_root(facts, own[0], names),
            metrics=_of_all([by_model[model] for model in own], estimates.get(name, {})),
            variants=len(own),
        )
        for name, own in replicates.items()
    ]
    roots = list(dict.fromkeys(each.root for each in found))
    return sorted(found, key=lambda each: (roots.index(each.root), each.name != each.root))


def _root(facts: RunFacts, model: str, names: Mapping[str, str]) -> str:
    """The first measured model on the way back from a model, by its name on the page."""
    root, seen = names[model], set()
    while model in facts.stages and model not in seen:
        seen.add(model)
        root = names.get(model, root)
        model = facts.stages[model].base
    return root


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _of_all(rows: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate]) -> Mapping[str, Any]:
    """One model's numbers as they are; of several seeds the means, with the intervals that are over seeds, too."""
    if len(rows) == 1:
        return dict(rows[0])
    names = dict.fromkeys(name for row in rows for name in row if not name.endswith(BESIDE))
    told = {name: [row.get(name) for row in rows] for name in names}
    means = {name: math.fsum(each / len(v) for each in v) for name, v in told.items() if all(map(_is_number, v))}
    over = {name: each.mean for name, each in estimates.items() if name in means}
    return {**means, **over, **{f"{name}_ci95": [estimates[name].low, estimates[name].high] for name in over}}


def headline(models: Sequence[Measured]) -> str:
    """The metric that the page leads with: the first known one, else the first with an interval."""
    names = list(dict.fromkeys(name for each in models for name in each.metrics))
    first = [name for name in ORDER if name in names]
    ranked = [*first, *(name.removesuffix("_ci95") for name in names if name.endswith("_ci95")), *names]
    return ranked[0] if ranked else ""


def plain(models: Sequence[Measured]) -> list[str]:
    """The columns of the table: every metric that breaks down no other, the known ones first."""
    names = dict.fromkeys(
        name for each in models for name in each.metrics if "/" not in name and not name.endswith(BESIDE)
    )
    known = [name for name in ORDER if name in names]
    return [*known, *(name for name in names if name not in known)]


def breakdowns(models: Sequence[Measured]) -> dict[str, list[tuple[str, str]]]:
    """title -> (heading, metric) columns, for each (metric, field) that was broken down, curves by k among them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in dict.fromkeys(name for each in models for name in each.metrics if not name.endswith(BESIDE)):
        metric, slash, rest = name.partition("/")
        field, equals, value = rest.partition("=")
        if slash and equals:
            kind = "pass@k and cons@k" if field in ("k", CONSENSUS.removesuffix("=")) else f"by {field}"
            heading = {"k": f"k = {value}", "cons": f"cons@{value}"}.get(field, value)
            found.setdefault(f"{metric} {kind}", []).append((heading, name))
    return {title: sorted(columns, key=_by_k) for title, columns in found.items()}


def _by_k(column: tuple[str, str]) -> tuple[str, int]:
    """pass@k before cons@k, each by its number; what counts nothing keeps its order."""
    head, _, value = column[0].replace("cons@", "l = ").partition(" = ")
    return (head, int(value)) if value.isdecimal() else ("", 0)


def is_share(models: Sequence[Measured], metric: str) -> bool:
    """Whether all values lie in 0..1."""
    values = [value for each in models if (value := each.value(metric)) is not None]
    return bool(values) and all(0 <= value <= 1 for value in values)


def shown(value: float | None, *, share: bool) -> str:
    """A cell: percent with one digit, else three significant ones."""
    if value is None:
        return UNKNOWN
    if share:
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if 10 <= abs(value) < 1e6 else f"{value:.3g}"
