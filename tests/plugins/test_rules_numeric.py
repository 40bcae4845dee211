"""The numeric rule: every way to write a number is read exactly, nothing is computed, and units convert."""

from __future__ import annotations

import subprocess
import sys
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_answers import ask, refusal

from r1_plugins.rules import Numeric
from r1_plugins.rules.reading import units
from r1_plugins.rules.reading.numerals import read_quantity


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_a_decimal_is_read_as_it_is_in_every_way_of_writing(number: Any) -> None:
    exactly = Fraction(number)
    ways = [f"{number:f}", f"{number:,f}", f"{number:,f}".replace(",", " "), f"{number:,f}".replace(",", "'")]
    ways += [f"{number:e}", f"${number:f}$", f"\\boxed{{{number:f}}}", f"x = {number:f}", f"**{number:f}**"]
    ways += [f"{number:,f}".replace(",", "{,}"), f"{number:f}".replace("-", "\u2212")]
    assert [read_quantity(way) for way in ways] == [(exactly, "")] * len(ways)
    comma = f"{number:,f}".replace(",", "_").replace(".", ",").replace("_", ".")
    assert read_quantity(comma, decimal_comma=True) == (exactly, "")


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(0, 99))
def test_fractions_are_exact(above: int, below: int, whole: int) -> None:
    exactly = Fraction(above, below)
    assert read_quantity(f"{above}/{below}") == (exactly, "")
    assert read_quantity(f"\\frac{{{abs(above)}}}{{{below}}}") == (abs(exactly), "")
    if 0 < above < below:
        assert read_quantity(f"{whole} {above}/{below}") == (whole + exactly, "")


@given(st.integers(1, 9999), st.integers(-99, 99))
def test_powers_of_ten_are_exact(number: int, power: int) -> None:
    exactly = number * Fraction(10) ** power
    raised = str(power).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    for times in (
        "e{0}",
        "E{0}",
        " \\times 10^{{{0}}}",
        " * 10^{0}",
        " x 10**{0}",
        "\u00b710^{{{0}}}",
        "\u00d710" + raised,
    ):
        assert read_quantity(f"{number}{times.format(power)}") == (exactly, ""), times


@pytest.mark.parametrize(
    "text",
    ["", "x", "1+1", "2*3", "5!", "2^10", "9**9**9**9", "1/2/3", "1.2.3", "1,2345", "41 or 42", "41, 42, 43",
     "42 and 43", "x = 41 = 42", "5 ± 1", "4$2", "4 2", "4`2", "4\\text{2}", "1/0", "--5", "0x10", "[1, 2]",
     "\\sqrt{4}", "\\sum_{k} k", "1e9999", "9" * 150, "9" * 100_000, "(1)(2)",
     "5 m 3", "1²", "10%%", "five", "NaN", "inf", "1_00", "\u2460", "٤٢", "४२", "\uff14\uff12"],
    ids=lambda text: ascii(text)[:20],
)  # fmt: skip
def test_what_is_not_literally_a_number_is_none(text: str) -> None:
    """Whatever a permissive reader might make of it."""
    ask(Numeric, 0, "")  # pint is imported before the clock starts
    started = time.perf_counter()
    for reference in (0, 1, 2, 3, 4, 5, 6, 10, 41, 42, 100, 120, 1024, 16, 99, 9999, 12, 0.5):
        assert ask(Numeric, reference, text).value == 0.0
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        ("1", "inch", "cm", "2.54"),
        ("1", "mile", "km", "1.609344"),
        ("1", "lb", "kg", "0.45359237"),
        ("36", "km/h", "m/s", "10"),
        ("1", "kWh", "MJ", "3.6"),
        ("1", "atm", "Pa", "101325"),
        ("1", "cal", "J", "4.184"),
        ("100", "°C", "°F", "212"),
        ("-40", "degrees Fahrenheit", "degrees Celsius", "-40"),
        ("0", "degC", "K", "273.15"),
        ("1", "kg m / s^2", "N", "1"),
        ("1", "J/(mol·K)", "J mol^-1 K^-1", "1"),
        ("4180", "J/(kg °C)", "kJ/kg/K", "4.18"),
        ("1", "cubic meter", "L", "1000"),
        ("5", "m²", "cm^2", "50000"),
        ("1", "µg per mL", "mg/L", "1"),
        ("50", "%", "", "0.5"),
    ],
)
def test_units_convert_exactly(value: str, unit: str, to: str, expected: str) -> None:
    found = units.convert(Fraction(value), unit, to) if to else Fraction(value) / 100
    assert found == Fraction(expected)
    if to:
        assert ask(Numeric, {"value": expected, "unit": to}, f"{value} {unit}").reason == "correct"


@pytest.mark.parametrize(
    "unit", ["apples", "", "m/", "(m", "m)", "m^10", "m^^2", "2", "m 2", "m**9**9", "m" * 1000, "m " * 50, "/", "per"]
)
def test_what_is_no_unit_is_none(unit: str) -> None:
    assert units.convert(Fraction(1), unit, "m") is None


@pytest.mark.parametrize("written", ["Nm", "N m", "N·m", "N*m", "N-m", "newton meter", "newton-meter", "J"])
def test_newton_metres_are_written_in_many_ways_and_are_joules_to_pint(written: str) -> None:
    for unit in ("Nm", "N m"):
        assert ask(Numeric, {"value": 5, "unit": unit}, f"5 {written}").reason == "correct"
    if written[0] in "NJ":
        assert ask(Numeric, {"value": 5000, "unit": "Nm"}, f"5 k{written}").reason == "correct"
    assert units.factors("kNm/s") == (("kN", 1), ("m", 1), ("s", -1))
    assert units.factors("Nm²/kg²") == (("N", 1), ("m", 2), ("kg", -2))


def test_the_count_of_a_yarn_is_not_what_nm_says() -> None:
    assert ask(Numeric, {"value": 5, "unit": "Nm"}, "5 km/kg").reason == "wrong_unit"
    assert ask(Numeric, {"value": 5, "unit": "number_meter"}, "5 km/kg").reason == "correct"
    assert ask(Numeric, {"value": 5, "unit": "nm"}, "5 Nm").reason == "wrong_unit"


@pytest.mark.parametrize("unit", ["%", "percent"])
def test_a_share_needs_no_unit_and_a_percentage_does(unit: str) -> None:
    said = {text: ask(Numeric, {"value": 10, "unit": unit}, text).value for text in ("10 %", "0.1", "1/10", "10", "1")}
    assert said == {"10 %": 1, "0.1": 1, "1/10": 1, "10": 0, "1": 0}
    loose = {text: ask(Numeric, {"value": 10, "unit": unit}, text, unit="optional").value for text in ("10", "0.1")}
    assert loose == {"10": 1, "0.1": 0}, "where the unit may be left out, a bare number is in it"
    assert [ask(Numeric, 0.1, text).value for text in ("10 %", "10", "0.1")] == [1, 0, 1]


def test_a_tolerance_is_relative_or_absolute_and_its_edge_belongs_to_it() -> None:
    relative = {"value": 200, "tolerance": {"relative": 0.01}}
    absolute = {"value": 200, "unit": "kPa", "tolerance": {"absolute": 1}}
    assert [ask(Numeric, relative, text).value for text in ("198", "202", "197.9", "202.1")] == [1, 1, 0, 0]
    assert [ask(Numeric, absolute, text).value for text in ("1.99 bar", "201 kPa", "1.98 bar")] == [1, 1, 0]
    assert [ask(Numeric, 200, text, absolute=0.5, relative=0.001).value for text in ("200.5", "200.6")] == [1, 0]


def test_a_bare_number_will_do_where_the_recipe_says_so() -> None:
    reference = {"value": 5, "unit": "km"}
    assert (ask(Numeric, reference, "5").reason, ask(Numeric, reference, "5", unit="optional").value) == (
        "no_unit",
        1.0,
    )
    assert ask(Numeric, reference, "5 m", unit="optional").value == 0.0


def test_a_share_may_be_percent() -> None:
    assert (ask(Numeric, 0.05, "5%").value, ask(Numeric, 5, "5%").value) == (1.0, 0.0)
    assert (
        ask(Numeric, {"value": 5, "unit": "%"}, "5\\%").value,
        ask(Numeric, {"value": 5, "unit": "%"}, "0.05").value,
    ) == (1, 1)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (None, "give a number"),
        (True, "give a number"),
        ("about five", "give a number"),
        ("5 km", "give a number"),
        (float("nan"), "give a number"),
        ([1], "give a number"),
        ({"value": 1, "units": "m"}, "give a number, or {value, unit, tolerance}"),
        ({"value": 1, "unit": "apples"}, "'apples', which is not known"),
        ({"value": 1, "unit": 3}, "3, which is not known"),
        ({"value": 1, "tolerance": 0.1}, "give {relative: share} or {absolute: number}"),
        ({"value": 1, "tolerance": {"relative": -1}}, "give {relative: share}"),
        ({"value": 1, "tolerance": {"relative": 0.1, "absolute": 1}}, "give {relative: share}"),
    ],
)
def test_a_reference_that_cannot_be_read_is_refused(reference: Any, said: str) -> None:
    assert said in refusal(Numeric, reference)
    assert ask(Numeric, reference, "1").status == "infrastructure"


def test_an_endless_tolerance_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Numeric.Config(relative=float("inf"))


def test_without_pint_numbers_are_judged_and_units_are_refused() -> None:
    """In an interpreter of its own, where the package cannot be found."""
    code = (
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pint' else find(name, *rest)\n"
        "from r1_plugins.rules import Numeric\n"
        "from r1core.types import Problem, Response\n"
        "rule = Numeric(Numeric.Config())\n"
        "right = Response.parse('<think>x</think><answer>5</answer>')\n"
        "print(rule.score(Problem(id='p', reference=5), right).reason)\n"
        "print(rule.refuses(Problem(id='p', reference={'value': 5, 'unit': 'km'})))\n"
        "import sys; print('pint' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["correct", "the reference has the unit 'km', but " + units.MISSING, "False"]
