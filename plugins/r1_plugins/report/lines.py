"""A line chart: one panel of a training stage, or one quantity of several stages side by side.

Lines differ by colour and by dash, so that no one needs to see colours; the points travel in `data-chart`, from which
the page's script makes its tooltip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from r1_plugins.report.curves import Panel, Series
from r1_plugins.report.svg import drawing, element, labels, line, number, path, text, ticks
from r1_plugins.report.text import visible

LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 32.0
COLOURS = 7
NO_SPREAD = 1e-5
"""Numbers whose spread is a smaller share of their size are one number: an axis could not tell them apart."""
LEAST = 1e-290
"""What is nearer to 0 is 0: beyond are numbers with fewer digits than the arithmetic of an axis needs."""


def chart(panel: Panel, *, width: float = 350.0, height: float = 190.0, along: str = "step") -> Markup:
    """The panel, whose numbers are finite and some there, as SVG. `along` is what the x axis counts."""
    low, high = _range(panel)
    xs = [x for series in panel.series for x, _ in series.points]
    first, last = min(xs), max(xs)
    place = _Place(width, height, first, last if last > first else first + 1, low, high)
    label = f"{panel.title}, {panel.unit}, by {along}: " + "; ".join(
        f"{s.name} from {number(s.points[0][1], share=panel.share)} to {number(s.points[-1][1], share=panel.share)}"
        for s in panel.series
    )
    told = [{"n": visible(s.name), "p": [[round(x, 3), float(f"{y:.5g}")] for x, y in s.points]} for s in panel.series]
    data = json.dumps(
        {"s": told, "share": panel.share, "x": along, "u": panel.unit, "box": place.box}, separators=(",", ":")
    )
    lines = [_band(series, index, place) for index, series in enumerate(panel.series) if series.band]
    lines += [_line(series, index, place) for index, series in enumerate(panel.series)]
    return drawing(
        width, height, label, _axes(panel, place, along), *lines, more={"class": "chart", "data-chart": data}
    )


def _range(panel: Panel) -> tuple[float, float]:
    """From 0 where that is near; what is a share within 0..1, never beyond."""
    values = [y for series in panel.series for _, y in series.points]
    values += [edge for series in panel.series for _, *edges in series.band for edge in edges]
    low, high = min(values), max(values)
    if panel.share and low >= 0 and high <= 1:
        return (0.0, 1.0) if high > 0.4 else (0.0, max(high * 1.15, 0.01))
    if 0 <= low < 0.5 * high:
        low = 0.0
    if high - low <= NO_SPREAD * max(abs(low), abs(high), LEAST):
        low, high = min(0.0, 2 * low), max(0.0, 2 * high)
        low, high = (low, high) if high - low > LEAST else (0.0, 1.0)
    return low, high + 0.06 * (high - low)


class _Place:
    """Where a value lies in the drawing."""

    def __init__(self, width: float, height: float, first: float, last: float, low: float, high: float) -> None:
        self.width, self.height = width, height
        self.first, self.last, self.low, self.high = first, last, low, high

    @property
    def box(self) -> list[float]:
        """What a script needs to find a step under a pointer: the plot's edges, and the steps there."""
        return [LEFT, self.width - RIGHT, TOP, self.height - BOTTOM, self.first, self.last, self.low, self.high]

    def x(self, value: float) -> float:
        return LEFT + (self.width - LEFT - RIGHT) * (value - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * share


def _axes(panel: Panel, place: _Place, along: str) -> Markup:
    drawn = []
    values = ticks(place.low, place.high)
    for value, words in zip(values, labels(values, share=panel.share), strict=True):
        y = place.y(value)
        drawn += [line(LEFT, y, place.width - RIGHT, y, "grid"), text(LEFT - 6, y + 3.5, words, "tick", "end")]
    steps = [value for value in ticks(place.first, place.last, 4) if value == int(value)] or [place.first]
    bottom = place.height - BOTTOM
    for value, words in zip(steps, labels(steps), strict=True):
        drawn.append(text(place.x(value), bottom + 14, words, "tick", "middle"))
    drawn.append(text(place.width - RIGHT, place.height - 4, along, "axis", "end"))
    drawn.append(line(LEFT, bottom, place.width - RIGHT, bottom, "base"))
    return element("g", {}, *drawn)


def _band(series: Series, index: int, place: _Place) -> Markup:
    """There along the highest values, and back along the lowest."""
    above = [(place.x(x), place.y(high)) for x, _, high in series.band]
    below = [(place.x(x), place.y(low)) for x, low, _ in reversed(series.band)]
    return element("path", {"d": f"{path([*above, *below])}Z", "class": f"band c{_colour(series, index)}"})


def _colour(series: Series, index: int) -> int:
    return (index if series.colour is None else series.colour) % COLOURS


def _line(series: Series, index: int, place: _Place) -> Markup:
    points = [(place.x(x), place.y(y)) for x, y in series.points]
    colour = _colour(series, index)
    if series.marked or len(points) == 1:
        marks = [element("circle", {"cx": x, "cy": y, "r": 4, "class": f"ring c{colour}"}) for x, y in points]
        joined = [element("path", {"d": path(points), "class": f"thin c{colour}"})] if len(points) > 1 else []
        return element("g", {}, *joined, *marks)
    drawn = [(place.x(x), place.y(y)) for x, y in series.line]
    dots = "".join(f"M{x:.1f},{y:.1f}h0" for x, y in points)
    faint = [element("path", {"d": dots, "class": f"raw c{colour}"})] if series.line != series.points else []
    line_of = element("path", {"d": path(drawn), "class": f"line c{colour} d{colour}"})
    return element("g", {}, *faint, line_of)


def key(series: Sequence[Series]) -> list[tuple[str, Markup]]:
    """The legend: each name with a short piece of its line, or its mark."""
    return [(each.name, _piece(each, i)) for i, each in enumerate(series)]


def _piece(series: Series, index: int) -> Markup:
    colour = _colour(series, index)
    shape = line(1, 5, 21, 5, f"line c{colour} d{colour}")
    if series.band and not series.marked:
        band = element("rect", {"x": 0, "y": 0, "width": 22, "height": 10, "class": f"band c{colour}"})
        shape = Markup("").join([band, shape])
    if series.marked or len(series.points) == 1:
        shape = element("circle", {"cx": 11, "cy": 5, "r": 4, "class": f"ring c{colour}"})
    return element("svg", {"width": 22, "height": 10, "aria-hidden": "true"}, shape)
