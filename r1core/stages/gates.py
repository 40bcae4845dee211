"""`gate:` limits on what a stage measured. A stage that breaks one is finished and kept, and the run stops there
(exit 4): whoever loosens the gate goes on without running the stage again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from r1core.errors import RecipeError, RefusedError
from r1core.recipe.limits import Bound, Gate
from r1core.stages.earlier import check_regression


def check_gates(stage: str, gates: Sequence[Gate], metrics: Mapping[str, float], data: Path) -> None:
    """Refuse metrics outside their limits, those of earlier evaluations too; `data` has the stage's own results.
    A metric that nobody computed is a mistake, not a pass."""
    for gate in gates:
        value = value_of(gate, metrics, where=f"stages.{stage}.gate")
        if gate.violated(value):
            raise RefusedError(
                f"{gate.metric} is {value:.4g}, must be {limits(gate)}",
                where=f"stages.{stage}.gate",
                fix="look at the stage's metrics.jsonl; loosen the gate or change the stage",
            )
        if gate.results is not None:
            check_regression(stage, gate, data)


def value_of(bound: Bound, metrics: Mapping[str, float], *, where: str) -> float:
    """The metric that the bound is about. Raises RecipeError with those there are when it was not computed."""
    if bound.metric not in metrics:
        raise RecipeError(
            f"no metric {bound.metric!r}",
            where=where,
            fix=f"the stage computed {', '.join(sorted(metrics)) or 'none'}",
        )
    return metrics[bound.metric]


def limits(bound: Bound) -> str:
    """`at least 0.55 and at most 1`."""
    pairs = (("at least", bound.min), ("at most", bound.max))
    return " and ".join(f"{word} {limit:g}" for word, limit in pairs if limit is not None)
