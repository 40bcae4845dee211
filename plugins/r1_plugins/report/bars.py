"""Horizontal bars: where the time of a run went, stage by stage, and what each filter left of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from r1_plugins.report.gather import Stage
from r1_plugins.report.svg import drawing, element, fitted, line, number, text, ticks, title

WIDTH, ROW, LABEL, RIGHT = 760.0, 24.0, 170.0, 14.0


def timeline(stages: Sequence[Stage]) -> Markup | None:
    """When each finished stage ran, in seconds since the first began; None without any."""
    spans = [(stage, *span) for stage in stages if (span := _span(stage)) is not None]
    if not spans:
        return None
    first = min(start for _, start, _ in spans)
    last = max(max(end for _, _, end in spans) - first, 1.0)
    scale = (WIDTH - LABEL - RIGHT) / last
    height = ROW * len(spans) + 34
    drawn = []
    for value in ticks(0, last, 6):
        x = LABEL + value * scale
        drawn += [line(x, 4, x, height - 28, "grid"), text(x, height - 14, f"{number(value)} s", "tick", "middle")]
    for i, (stage, start, end) in enumerate(sorted(spans, key=lambda each: (each[1], each[2]))):
        y = 6 + i * ROW
        bar = {
            "x": LABEL + (start - first) * scale,
            "y": y,
            "width": max((end - start) * scale, 1.5),
            "height": 15,
            "rx": 3,
        }
        words = f"{stage.id}: {end - start:.1f} s, from {start - first:.0f} s on"
        drawn.append(text(LABEL - 10, y + 12, fitted(stage.id, 24), "name small", "end"))
        drawn.append(element("rect", {**bar, "class": f"bar k-{stage.kind}"}, title(words)))
    return drawing(WIDTH, height, f"when the stages ran, {last:.0f} s in all", *drawn, more={"class": "wide"})


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


def funnel(report: Mapping[str, Any]) -> Markup | None:
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
    height = 27.0 * len(steps) + 8
    scale = (WIDTH - LABEL - 190) / rows
    drawn = [_step(step, 4 + 27.0 * i, scale) for i, step in enumerate(steps)]
    label = "; ".join(f"{name}: {kept} left, {rejected} rejected {why}" for name, kept, rejected, why in steps)
    return drawing(WIDTH, height, label, *drawn, more={"class": "wide"})


def _reasons(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.items())


def _step(step: tuple[str, int, int, str], y: float, scale: float) -> Markup:
    name, kept, rejected, why = step
    bar: dict[str, str | float | int] = {
        "x": LABEL,
        "y": y,
        "width": kept * scale,
        "height": 17,
        "rx": 2,
        "class": "bar kept",
    }
    gone: dict[str, str | float | int] = {
        "x": LABEL + kept * scale,
        "y": y,
        "width": rejected * scale,
        "height": 17,
        "class": "bar gone",
    }
    after = f"\u2212{rejected:,}" if rejected and name != "sampled" else ""
    words = f"{name}: {kept:,} left" + (f", {rejected:,} rejected ({why})" if rejected else "")
    return element(
        "g",
        {},
        title(words),
        text(LABEL - 10, y + 13, fitted(name, 24), "name small", "end"),
        element("rect", bar),
        element("rect", gone),
        text(WIDTH - 96, y + 13, f"{kept:,}", "value", "end"),
        text(WIDTH, y + 13, after, "tick", "end"),
    )
