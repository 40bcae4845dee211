"""SVG as text, in elements whose attributes and contents are escaped; nothing is drawn here.

Colours are classes of the stylesheet (`c0` .. `c6`, `ink`, `faint`), so one drawing serves light, dark and print; no
`style` attribute, which the page's policy forbids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from r1_plugins.report.text import visible

Attributes = Mapping[str, str | float | int]


def element(name: str, attributes: Attributes, *contents: str | Markup) -> Markup:
    """`<name a="1">contents</name>`; strings become visible and are escaped."""
    told = Markup("").join(Markup(' {}="{}"').format(key, _value(value)) for key, value in attributes.items())
    inner = Markup("").join(each if isinstance(each, Markup) else escape(visible(each)) for each in contents)
    return Markup("<{}{}>{}</{}>").format(Markup(name), told, inner, Markup(name))


def _value(value: str | float | int) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def drawing(width: float, height: float, label: str, *contents: Markup, more: Attributes | None = None) -> Markup:
    """The `<svg>`: as wide as its place, never wider than `width`; `label` is what a screen reader says."""
    box: dict[str, str | float | int] = {
        "viewBox": f"0 0 {_value(width)} {_value(height)}",
        "width": width,
        "height": height,
        "role": "img",
    }
    return element("svg", {**box, "aria-label": visible(label), **(more or {})}, *contents)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> Markup:
    """A line of text."""
    return element("text", {"x": x, "y": y, "class": kind, "text-anchor": anchor}, words)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": kind})


def title(words: str) -> Markup:
    """What the browser shows for the element around it when a pointer rests on it."""
    return element("title", {}, words)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that lie in low..high, about so many."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    start = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(start, math.floor(high / step + 1e-9) + 1)]


def number(value: float, *, share: bool = False) -> str:
    """As short as an axis needs it: 12 %, 0.003, 4.2k, 1e-05."""
    if share:
        return f"{100 * value:.4g} %"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}" if size == 0 or size >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def fitted(words: str, most: int) -> str:
    """The words, cut in their middle where they are too long."""
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}…{words[len(words) - (most - 1 - head) :]}"


def path(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
