"""Horizontal bars: where the time of a run went, stage by stage, and what each filter left of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from r1_plugins.report.gather import Stage
from r1_plugins.report.svg import drawing, element, fitted, line, number, text, ticks, title


@dataclass(frozen=True)
class Form:
    """Where things stand, in pixels: names before the bars on a wide page, above them on a narrow one."""

    width: float
    row: float
    left: float
    is_narrow: bool = False

    def name(self, words: str, y: float) -> Markup:
        """The row's name; `y` is the top of its bar."""
        if self.is_narrow:
            return text(0, y - 5, fitted(words, 40), "name small")
        return text(self.left - 12, y + 12, fitted(words, 24), "name small", "end")

    @property
    def kind(self) -> dict[str, str | float | int]:
        """The class of the drawing, by which the stylesheet shows one of the two."""
        return {"class": "narrow" if self.is_narrow else "broad"}


WIDE, NARROW = Form(900.0, 24.0, 170.0), Form(360.0, 40.0, 0.0, is_narrow=True)
BAR, LAST, NUMBERS = 15.0, 20.0, 150.0


def timeline(stages: Sequence[Stage], form: Form = WIDE) -> Markup | None:
    """When each finished stage ran, in seconds since the first began; None without any."""
    spans = [(stage, *span) for stage in stages if (span := _span(stage)) is not None]
    if not spans:
        return None
    first = min(start for _, start, _ in spans)
    last = max(max(end for _, _, end in spans) - first, 1.0)
    scale = (form.width - form.left - LAST) / last
    height = form.row * len(spans) + 34
    drawn = []
    for value in ticks(0, last, 4 if form.is_narrow else 6):
        x = form.left + value * scale
        drawn += [line(x, 4, x, height - 28, "grid"), text(x, height - 14, f"{number(value)} s", "tick", "middle")]
    for i, (stage, start, end) in enumerate(sorted(spans, key=lambda each: (each[1], each[2]))):
        y = i * form.row + form.row - BAR - 3
        width = max((end - start) * scale, 1.5)
        bar = {"x": form.left + (start - first) * scale, "y": y, "width": width, "height": BAR, "rx": 3}
        words = f"{stage.id}: {end - start:.1f} s, from {start - first:.0f} s on"
        drawn.append(form.name(f"{stage.id} · {end - start:.0f} s" if form.is_narrow else stage.id, y))
        drawn.append(element("rect", {**bar, "class": f"bar k-{stage.kind}"}, title(words)))
    return drawing(form.width, height, f"when the stages ran, {last:.0f} s in all", *drawn, more=form.kind)


def _span(stage: Stage) -> tuple[float, float] | None:
    """Start and end in seconds; the end is the start of the record and what its stage took, for clocks are coarse."""
    record = stage.record
    if record is None or not record.started or not record.wall_s:
        return None
    try:
        start = datetime.fromisoformat(record.started).timestamp()
    except ValueError:
        return None
    return start, start + record.wall_s


def funnel(report: Mapping[str, Any], form: Form = WIDE) -> Markup | None:
    """What is left of the rows after each filter, and what it rejected; None for a report without rows."""
    rows = int(report.get("rows") or 0)
    if not rows:
        return None
    steps: list[tuple[str, int, int, str]] = []
    filters = [each for each in report.get("filters") or () if isinstance(each, Mapping)]
    left = int(filters[0].get("seen", rows)) if filters else rows
    steps.append(("sampled", rows, rows - left, _reasons(report.get("before_filters") or {})))
    for each in filters:
        seen, rejected = int(each.get("seen", 0)), int(each.get("rejected", 0))
        steps.append((str(each.get("use", "")), seen - rejected, rejected, _reasons(each.get("reasons") or {})))
    scale = (form.width - form.left - (0 if form.is_narrow else NUMBERS)) / rows
    drawn = [_step(step, form.row * (i + 1) - BAR - 3, scale, form) for i, step in enumerate(steps)]
    label = "; ".join(f"{name}: {kept} left, {rejected} rejected {why}" for name, kept, rejected, why in steps)
    return drawing(form.width, form.row * len(steps) + 4, label, *drawn, more=form.kind)


def _reasons(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.items())


def _step(step: tuple[str, int, int, str], y: float, scale: float, form: Form) -> Markup:
    name, kept, rejected, why = step
    bar: dict[str, str | float | int] = {"y": y, "height": BAR, "rx": 2}
    after = f"\u2212{rejected:,}" if rejected and name != "sampled" else ""
    words = f"{name}: {kept:,} left" + (f", {rejected:,} rejected ({why})" if rejected else "")
    line_of = y - 5 if form.is_narrow else y + 12
    return element(
        "g",
        {},
        title(words),
        form.name(name, y),
        element("rect", {**bar, "x": form.left, "width": kept * scale, "class": "bar kept"}),
        element("rect", {**bar, "x": form.left + kept * scale, "width": rejected * scale, "class": "bar gone"}),
        text(form.width - 78, line_of, f"{kept:,}", "value", "end"),
        text(form.width, line_of, after, "tick", "end"),
    )
