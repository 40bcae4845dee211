"""The chart of models: each one's headline share with its interval, greedy and hard beside it, line by line.

Drawn twice, and the stylesheet shows one: names before the rows on a wide page, above them on a narrow one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from r1_plugins.report.scores import Measured
from r1_plugins.report.svg import drawing, element, fitted, line, number, text, title


@dataclass(frozen=True)
class _Form:
    """Where things stand, in pixels of the drawing."""

    width: float
    row: float
    left: float
    right: float
    is_narrow: bool = False

    def x(self, share: float) -> float:
        return self.left + (self.width - self.right - self.left) * share


WIDE = _Form(width=900.0, row=34.0, left=170.0, right=70.0)
NARROW = _Form(width=360.0, row=46.0, left=8.0, right=12.0, is_narrow=True)
BETWEEN = 14.0
"""Room between two lines of models."""


def intervals(models: Sequence[Measured], metric: str, form: _Form = WIDE) -> Markup:
    """The drawing of models that all have the metric, a share."""
    beside = [name for name in ("greedy", "hard") if name != metric and any(m.value(name) is not None for m in models)]
    height = form.row * len(models) + BETWEEN * (len({m.root for m in models}) - 1) + 44
    drawn = []
    for tenth in range(0, 11, 2):
        x = form.x(tenth / 10)
        drawn += [line(x, 8, x, height - 30, "grid"), text(x, height - 14, f"{10 * tenth} %", "tick", "middle")]
    y, root = 8 + form.row / 2, models[0].root
    for each in models:
        if each.root != root:
            above = y - form.row / 2 + BETWEEN / 2
            drawn.append(line(0, above, form.width - form.right, above, "base"))
            y, root = y + BETWEEN, each.root
        drawn.append(_row(each, metric, beside, y, form))
        y += form.row
    label = "; ".join(f"{m.name} {number(m.value(metric) or 0, share=True)}" for m in models)
    kind = {"class": "narrow" if form.is_narrow else "broad"}
    return drawing(form.width, height, f"{metric} of each model: {label}", *drawn, more=kind)


def _row(each: Measured, metric: str, beside: Sequence[str], y: float, form: _Form) -> Markup:
    value, limits = each.value(metric), each.interval(metric)
    drawn = _names(each, value, y, form)
    y += 8 if form.is_narrow else 0
    for name, mark in zip(("greedy", "hard"), (_ring, _diamond), strict=True):
        other = each.value(name) if name in beside else None
        if other is not None and 0 <= other <= 1:
            drawn.append(mark(form.x(other), y, f"{each.name}: {name} {number(other, share=True)}"))
    if value is not None and limits is not None:
        low, high = form.x(max(limits[0], 0.0)), form.x(min(limits[1], 1.0))
        drawn += [
            line(low, y, high, y, "whisker"),
            line(low, y - 5, low, y + 5, "whisker"),
            line(high, y - 5, high, y + 5, "whisker"),
        ]
    if value is not None:
        told = f"{each.name}: {metric} {number(value, share=True)}"
        told += f" (95 %: {number(limits[0], share=True)} to {number(limits[1], share=True)})" if limits else ""
        circle: dict[str, str | float | int] = {"cx": form.x(value), "cy": y, "r": 6, "class": "dot c0 big"}
        drawn.append(element("circle", circle, title(told)))
    return element("g", {}, *drawn)


def _names(each: Measured, value: float | None, y: float, form: _Form) -> list[Markup]:
    shown = "" if value is None else f"{100 * value:.1f} %"
    if form.is_narrow:
        return [
            text(0, y - 8, fitted(each.name, 38), "name", "start"),
            text(form.width, y - 8, shown, "value", "end"),
        ]
    return [
        text(form.left - 14, y + 4, fitted(each.name, 22), "name", "end"),
        text(form.width, y + 4, shown, "value", "end"),
    ]


def _ring(x: float, y: float, words: str) -> Markup:
    return element("circle", {"cx": x, "cy": y, "r": 5, "class": "ring c1"}, title(words))


def _diamond(x: float, y: float, words: str) -> Markup:
    d = f"M{x:.1f},{y - 6:.1f}L{x + 6:.1f},{y:.1f}L{x:.1f},{y + 6:.1f}L{x - 6:.1f},{y:.1f}Z"
    return element("path", {"d": d, "class": "ring c2"}, title(words))
