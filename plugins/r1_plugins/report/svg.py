"""SVG as text, in elements whose attributes and contents are escaped; nothing is drawn here.

Colours are classes of the stylesheet (`c0` .. `c6`, `ink`, `faint`), so one drawing serves light, dark and print; no
`style` attribute, which the page's policy forbids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup, escape

from r1_plugins.report.text import visible

DIGITS = 3
"""Of a number that stands alone."""
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
    raw = (high - low) / count
    if not 0 < raw < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    start = math.ceil(low / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(start, math.floor(high / step + 1e-9) + 1)]


def labels(found: Sequence[float], *, share: bool = False) -> list[str]:
    """The numbers of one axis, with as many digits as tell each from the next."""
    gaps = [after - before for before, after in pairwise(found) if after > before]
    size = max(map(abs, found), default=0.0)
    digits = math.floor(math.log10(size / min(gaps))) + DIGITS if gaps and size else DIGITS
    return [number(value, share=share, digits=max(DIGITS, digits)) for value in found]


def number(value: float, *, share: bool = False, digits: int = DIGITS) -> str:
    """As short as so many digits are: 12 %, 0.003, 4.2k, 2.5e-4."""
    if share:
        return f"{100 * value:.{digits + 1}g} %"
    size = abs(float(f"{value:.{digits}g}"))  # 999,999 is a million
    if size >= 1e9 or 0 < size < 1e-3:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if size >= 1e6:
        return f"{value / 1e6:.{digits}g}M"
    if size >= 1e4:
        return f"{value / 1e3:.{digits}g}k"
    return f"{value:.{max(digits, 4) if size >= 1e3 else digits}g}"


def fitted(words: str, most: int) -> str:
    """The words, cut in their middle where they are too long."""
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}…{words[len(words) - (most - 1 - head) :]}"


def path(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
