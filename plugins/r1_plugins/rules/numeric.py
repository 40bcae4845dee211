"""The numeric rule: a number, with its unit and a tolerance where the reference has them, compared exactly.

    {"reference": 72}                                               72, 72.0, 144/2, 7.2e1, 7200 %
    {"reference": {"value": 9.81, "unit": "m/s^2", "tolerance": {"relative": 0.01}}}     9.8 m/s², 980 cm/s^2
    {"reference": {"value": 20, "unit": "degC", "tolerance": {"absolute": 0.5}}}         68 °F, 293 K
    {"reference": {"value": 10, "unit": "%"}}                       10 %, 0.1, 1/10; 10 alone is 1000 %

Fractions and decimals are exact; a tolerance says where rounding is fine, in shares of the reference or in
its unit. Reasons: correct, wrong, not_a_number, no_unit, wrong_unit, and those of every answer rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import Field

from r1_plugins.rules.answers import AnswerRule, GoldError, known
from r1_plugins.rules.reading import units
from r1_plugins.rules.reading.numerals import read_quantity
from r1core.types import Problem, Score, Sentinel


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A reference: the value, its unit ("" for none), and how far off an answer may be, in that unit."""

    value: Fraction
    unit: str
    slack: Fraction


class Numeric(AnswerRule[Quantity]):
    """1 for the reference's number, in any unit of its kind and within the tolerance, else 0."""

    name = "numeric"
    reads_boxes = True
    gold_form: ClassVar[str] = (
        "a number, or a text that is one; or {value, unit, tolerance: {relative: share} or {absolute: number}}, "
        "the last two where there are any"
    )

    class Config(AnswerRule.Config):
        relative: float = Field(
            0.0, ge=0, allow_inf_nan=False, description="tolerance, a share of the reference; its own `tolerance` wins"
        )
        absolute: float = Field(
            0.0, ge=0, allow_inf_nan=False, description="tolerance in the reference's unit; the larger of both counts"
        )
        unit: Literal["required", "optional"] = Field(
            "required", description="where the reference has a unit: whether a bare number is right, too"
        )
        decimal_comma: bool = Field(False, description="whether answers write 1.234,5 for one thousand and some")

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if units.installed():
            units.registry()  # half a second that no answer's deadline should pay

    def gold(self, problem: Problem) -> Quantity:
        """The reference, read."""
        given = problem.reference
        parts = dict(given) if isinstance(given, Mapping) else {"value": given}
        unknown = parts.keys() - {"value", "unit", "tolerance"}
        value = number_of(parts.get("value"))
        if value is None or unknown:
            raise GoldError(f"the reference is {given!r:.200}: give a number, or {{value, unit, tolerance}}")
        unit = check_unit(parts.get("unit"))
        return Quantity(value=value, unit=unit, slack=self._slack(parts.get("tolerance"), value))

    def verdict(self, gold: Quantity, answer: str) -> Score:
        """1 or 0."""
        found = read_quantity(answer, decimal_comma=self.config.decimal_comma)
        if found is None:
            return Score(value=0.0, reason="not_a_number")
        value = self._in_unit_of(gold, *found)
        if isinstance(value, str):
            return Score(value=0.0, reason=value)
        right = abs(value - gold.value) <= gold.slack
        return Score(value=float(right), reason="correct" if right else "wrong")

    def vote(self, gold: Quantity, answer: str) -> str:
        """The value in the reference's unit; what is within the tolerance is one value."""
        found = read_quantity(answer, decimal_comma=self.config.decimal_comma)
        value = self._in_unit_of(gold, *found) if found is not None else ""
        if isinstance(value, str):
            return " ".join(answer.split())
        return str(gold.value if abs(value - gold.value) <= gold.slack else value)

    def sentinels(self) -> Sequence[Sentinel]:
        """A number is right written as a fraction and wrong when it is far off, whatever the options."""
        far = 1000 + 1000 * (self.config.relative + self.config.absolute)
        return known(0.5, [("1/2", 1.0), (f"{far:.0f}", 0.0)])

    def _slack(self, tolerance: Any, value: Fraction) -> Fraction:
        if tolerance is None:
            return max(Fraction(self.config.relative) * abs(value), Fraction(self.config.absolute))
        kind, size = (
            next(iter(tolerance.items())) if isinstance(tolerance, Mapping) and len(tolerance) == 1 else ("", 0)
        )
        size = number_of(size)
        if kind not in ("relative", "absolute") or size is None or size < 0:
            raise GoldError(f"tolerance is {tolerance!r:.200}: give {{relative: share}} or {{absolute: number}}")
        return size * abs(value) if kind == "relative" else size

    def _in_unit_of(self, gold: Quantity, value: Fraction, unit: str) -> Fraction | str:
        """The answer's value in the reference's unit, or why there is none."""
        if unit == gold.unit:
            return value
        if not unit and self.config.unit == "optional":
            return value
        if not unit:  # a share needs no unit
            return 100 * value if gold.unit in ("%", "percent") else "no_unit"
        if not gold.unit:  # a share may be written in percent; anything else the reference does not say
            return value / 100 if unit == "%" else "wrong_unit" if units.factors(unit) else "not_a_number"
        found = units.convert(value, unit, gold.unit)
        return "wrong_unit" if found is None else found


def number_of(value: Any) -> Fraction | None:
    """A JSON number or a text that is nothing but a number, exactly as it is written: 0.1 is a tenth."""
    if isinstance(value, str):
        found = read_quantity(value)
        return found[0] if found is not None and not found[1] else None
    if isinstance(value, float):
        return Fraction(repr(value)) if math.isfinite(value) else None
    return Fraction(value) if isinstance(value, int) and not isinstance(value, bool) else None


def check_unit(unit: Any) -> str:
    """A reference's unit, "" for none. Raises GoldError where it cannot be read here."""
    if unit in (None, ""):
        return ""
    if not units.installed():
        raise GoldError(f"the reference has the unit {unit!r}, but {units.MISSING}")
    if not isinstance(unit, str) or units.convert(Fraction(1), unit, unit) is None:
        raise GoldError(f"the reference has the unit {unit!r:.100}, which is not known: write it as pint does")
    return unit
