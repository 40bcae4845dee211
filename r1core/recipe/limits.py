"""Limits on metrics: `gate:` stops a run, `extend: {until: ...}` lets training go on.

    gate:
    - {metric: r1/pass@1, min: 0.55}
    - {metric: r1/pass@1, results: baseline/results.json, by: 0.02}     # not lower than there, less 0.02
    - {metric: r1/pass@1, results: runs/last}                           # not significantly lower than there

The last two hold a model against an earlier evaluation, which must have been measured in the same way.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from r1core.choices import Options


class Bound(Options):
    """A metric and its limits."""

    metric: str = Field(description="a metric of the stage")
    min: float | None = Field(None, description="lowest value allowed")
    max: float | None = Field(None, description="highest value allowed")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError(f"nothing limits {self.metric!r}: give `min`, `max` or both")
        return self

    def violated(self, value: float) -> bool:
        """Whether `value` lies outside, or is not a number."""
        too_low = self.min is not None and not value >= self.min
        too_high = self.max is not None and not value <= self.max
        return too_low or too_high


class Gate(Bound):
    """A metric and its limits, some of which an earlier evaluation may set."""

    results: str | None = Field(
        None,
        min_length=1,
        description="an earlier evaluation that the metric must not fall below: a run, or a results.json with its "
        "manifest.json beside it",
    )
    by: float | None = Field(
        None, ge=0, description="how much lower it may be; absent: as much as the two intervals leave in doubt"
    )
    than: str | None = Field(
        None, description="the model of `results` to compare with; the one of the same name, or the only one, if absent"
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.results is None and (self.by is not None or self.than is not None):
            raise ValueError("`by` and `than` belong to `results`: say which earlier evaluation is meant")
        if self.results is None and self.min is None and self.max is None:
            raise ValueError(f"nothing limits {self.metric!r}: give `min`, `max` or `results`")
        return self

    @property
    def model(self) -> str:
        """The model that the metric of an evaluation is about."""
        return self.metric.partition("/")[0]

    @property
    def value(self) -> str:
        """The metric without its model."""
        return self.metric.partition("/")[2]
