"""The reward `math`: one value in many forms, read with the question: units, degrees, shares, ratios, sets."""

from __future__ import annotations

import pytest
from math_scored import boxed


@pytest.mark.parametrize(
    ("answer", "gold", "question", "value"),
    [
        ("42 marbles", "42", "How many marbles are left?", 1.0),
        ("42 marbles", "42", "How many are left?", 0.0),
        ("72 cents", "72", "How many dollars?", 0.0),
        ("72 dollars", "72", "How many dollars?", 1.0),
        ("72 cents", "72", "How much?", 1.0),
        (r"50\%", "50", "What percent of them?", 1.0),
        (r"50\%", "50", "How many of them?", 0.0),
        (r"50\%", "0.5", "How likely is it?", 1.0),
        (r"0.5\%", "0.5", "What is 10 percent of 5?", 0.0),
        ("2:3", r"\frac{2}{3}", "Find the ratio of a to b.", 1.0),
        ("2:3", r"\frac{2}{3}", "Find a.", 1.0),
        ("2:3", r"\frac{2}{3}", "What is the probability?", 0.0),
        ("2:3", "0.667", "Find a.", 0.0),
        ("4:6", "2:3", "Find the ratio.", 1.0),
        ("4:6", "2:3", "What time is it?", 0.0),
        ("1 < x < 2", "(1, 2)", "Solve the inequality.", 1.0),
        ("1 < x < 2", "(1, 2)", "Find the point.", 0.0),
    ],
)
def test_units_percentages_and_ratios_are_read_with_the_question(
    answer: str, gold: str, question: str, value: float
) -> None:
    assert boxed(answer, gold, question).value == value


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        (r"\cos 20", r"\cos 20^\circ", 0.0),
        (r"\cos 20^\circ", r"\cos 20", 0.0),
        (r"\cos(20^{\circ})", r"\cos 20^\circ", 1.0),
        ("cos 20°", r"\cos \frac{\pi}{9}", 1.0),
        (r"\sin 70 \text{ degrees}", r"\cos 20^\circ", 1.0),
        (r"\cos(20)^\circ", r"\cos 20^\circ", 1.0),
        (r"\frac{\sqrt3}{2}", r"\cos 30^\circ", 1.0),
        (r"120^\circ", r"\frac{2\pi}{3}", 1.0),
        (r"\frac{2\pi}{3}", r"120^\circ", 1.0),
        ("120", r"\frac{2\pi}{3}", 0.0),
        (r"(\frac{2\pi}{3})^\circ", r"\frac{2\pi}{3}", 0.0),
        ("120", r"120^\circ", 1.0),
        ("2.0944", r"120^\circ", 0.0),
        (r"\frac{2\pi}{3} \text{ rad}", r"120^\circ", 1.0),
        (r"120 \text{ rad}", r"120^\circ", 0.0),
        (r"60^\circ + 360^\circ k", r"\frac{\pi}{3} + 2\pi k", 1.0),
        (r"90 - \alpha", r"90^\circ - \alpha", 1.0),
        (r"90 - \alpha", r"\frac{\pi}{2} - \alpha", 0.0),
        (r"0^\circ < x < 90^\circ", r"0 < x < \frac{\pi}{2}", 1.0),
        (r"(0^\circ, 90^\circ)", r"0^\circ < x < 90^\circ", 1.0),
    ],
)
def test_an_angle_in_degrees_is_what_it_is_in_radians_and_never_its_bare_number(
    answer: str, gold: str, value: float
) -> None:
    assert boxed(answer, gold).value == value


def test_a_question_for_radians_is_not_answered_in_degrees() -> None:
    assert boxed(r"90^\circ", r"\frac{\pi}{2}", "What is the angle in radians?").value == 0.0
    assert boxed(r"90^\circ", r"\frac{\pi}{2}", "What is the angle?").value == 1.0


@pytest.mark.parametrize("answer", [r"2 \cdot 60^\circ", r"90^\circ + 30^\circ"])
def test_a_sum_of_angles_is_a_task(answer: str) -> None:
    assert boxed(answer, r"120^\circ").reason == "unevaluated"


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("0.1", r"10\%", 1.0),
        (r"10\%", "0.1", 1.0),
        ("10", "0.1", 0.0),
        ("10", r"10\%", 1.0),
        ("0.01", r"10\%", 0.0),
        (r"0.1\%", r"10\%", 0.0),
        ("100", r"10\%", 0.0),
    ],
)
def test_a_share_and_its_percentage_are_one(answer: str, gold: str, value: float) -> None:
    assert boxed(answer, gold, "How large is it?").value == value


def test_where_a_percentage_was_asked_for_a_bare_share_is_ambiguous_and_not_paid() -> None:
    assert boxed("0.1", r"10\%", "What percentage is it?").value == 0.0
    assert boxed("10", r"10\%", "What percentage is it?").value == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"0.\overline{3}", "1/3"), (r"0.\bar 3", "1/3"), (r"0.\dot{3}", "1/3"), (r"0.\dot3", "1/3"),
        (r".\overline{3}", "1/3"), (r"0.1\overline{6}", "1/6"), (r"0.\dot{1}4285\dot{7}", "1/7"),
        (r"0.\dot{3}\dot{6}", "4/11"), (r"1.\overline{36}", "15/11"), (r"-0.\overline{3}", "-1/3"),
        (r"0.\overline{9}", "1"), (r"33.\overline{3}\%", "1/3"), (r"0.\overline{142\,857}", "1/7"),
    ],
)  # fmt: skip
def test_a_decimal_that_repeats_is_its_fraction_exactly(text: str, value: str) -> None:
    assert boxed(text, value).value == 1.0
    assert boxed(value, text).value == 1.0
    assert boxed(text, "0.3").value == 0.0


@pytest.mark.parametrize(
    "text",
    [r"3\overline{3}", r"0.\overline{3}6", r"0.\overline{a}", r"0.\bar", r"0.\dot{3}4", r"0.\overline{}", "0.333..."],
)
def test_what_is_no_repeating_decimal_is_not_read_as_one(text: str) -> None:
    assert boxed(text, r"\frac13").value == 0.0
    assert boxed(text, r"\frac{10}{3}").value == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "question", "value"),
    [
        ("3:2", r"\frac{3}{2}", "Find AB : BC.", 1.0),
        ("3/2", "3:2", "Find AB : BC.", 1.0),
        ("2:3", "3/2", "Find AB : BC.", 0.0),
        ("3:2", "1.5", "Find AB : BC.", 0.0),
        ("1.5", "3:2", "Find AB : BC.", 0.0),
        ("1.5", "3:2", "Find the ratio.", 1.0),
        ("3:5", r"\frac{3}{5}", "What is the probability?", 0.0),
        ("12/30", "12:30", "When does it leave?", 0.0),
        ("2/5", "2:05", "When does it leave?", 0.0),
        (r"\frac{3}{2}\%", "3:2", "Find AB : BC.", 0.0),
        ("3:2", r"\frac{3}{2} \text{ cm}", "Find it.", 0.0),
    ],
)
def test_a_ratio_is_a_quotient_and_neither_odds_nor_a_time(answer: str, gold: str, question: str, value: float) -> None:
    assert boxed(answer, gold, question).value == value


LINE = [
    r"(-\infty, \infty)", r"\mathbb{R}", "\u211d", r"x \in \mathbb{R}", r"\text{for all } x \in \mathbb{R}",
    "all real numbers",
    r"\text{all real values of } x", r"\forall x \in \mathbb{R}", r"-\infty < x < \infty", "x ∈ R",
    r"\{x \mid x \in \mathbb{R}\}", "any real number",
]  # fmt: skip


@pytest.mark.parametrize("gold", LINE)
def test_all_real_numbers_are_one_set_however_they_are_named(gold: str) -> None:
    assert [answer for answer in LINE if boxed(answer, gold, "Solve.").value != 1.0] == []
    others = ["(0, \\infty)", r"\mathbb{Q}", r"\mathbb{R}^2", r"\mathbb{R} \setminus \{0\}", "no real number", "r",
              "all integers", r"[-\infty, \infty]", "all real numbers except 0", r"\emptyset"]  # fmt: skip
    assert [answer for answer in others if boxed(answer, gold, "Solve.").value != 0.0] == []


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("x > 2", r"(2, \infty)", 1.0),
        (r"(2, \infty)", "x > 2", 1.0),
        ("2 < x", r"(2, \infty)", 1.0),
        (r"\{x \mid x > 2\}", r"(2, \infty)", 1.0),
        (r"x \ge 2", r"(2, \infty)", 0.0),
        (r"[2, \infty)", "x > 2", 0.0),
        ("x < 2", r"(-\infty, 2)", 1.0),
        (r"(\infty, 2)", "x > 2", 0.0),
        (r"(-\infty, -1) \text{ and } (1, \infty)", "x < -1 or x > 1", 1.0),
        (r"(-\infty, 3) \text{ and } (1, \infty)", "(1, 3)", 0.0),
        (r"\{x \mid y > 2\}", r"(2, \infty)", 0.0),
    ],
)
def test_an_interval_without_end_is_never_a_point(answer: str, gold: str, value: float) -> None:
    """Whatever the question says: a point has no infinite coordinate."""
    for question in ("Find it.", "Find the ordered pair.", "Solve the inequality."):
        assert boxed(answer, gold, question).value == value
