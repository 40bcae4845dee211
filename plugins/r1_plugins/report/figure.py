"""The main figure as PNG, for a README or a slide: the models with their intervals, and accuracy while learning.

matplotlib draws it, imported here alone and never on a screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from r1_plugins.report import curves, scores
from r1_plugins.report.gather import RunFacts
from r1_plugins.report.text import visible

COLOURS = ("#0f62ae", "#c8500a", "#0a8a6a", "#8a3f8f", "#3f9bd6", "#b98a00", "#5c5c5c")
INK, FAINT = "#1d1d1b", "#77746d"
DPI = 160
assert matplotlib.__version__


def figure(facts: RunFacts, path: Path) -> bool:
    """Draw it; False where there is nothing to draw yet."""
    models = scores.measured(facts)
    metric = scores.headline(models)
    known = [each for each in models if each.value(metric) is not None]
    lines = _accuracy(facts)
    if not known and not lines:
        return False
    columns = [bool(known), bool(lines)].count(True)
    drawing = Figure(
        figsize=(5.4 * columns, max(2.8, 0.34 * len(known) + 1.3)), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(drawing)
    axes = list(drawing.subplots(1, columns, squeeze=False)[0])
    if known:
        _models(axes.pop(0), known, metric)
    if lines:
        _curves(axes.pop(0), lines)
    drawing.suptitle(_plain(facts.recipe), fontsize=11, color=INK, x=0.01, ha="left")
    drawing.savefig(path, dpi=DPI, metadata={"Software": None})
    return True


def _accuracy(facts: RunFacts) -> dict[str, Sequence[tuple[float, float]]]:
    """The first reward of each stage that learns from rewards."""
    found = {}
    for stage in facts.of("train"):
        rewards = stage.body.get("rewards") or ()
        if rewards:
            told = curves.columns(stage)
            name = f"rewards/{rewards[0].get('as') or rewards[0].get('use')}/mean"
            if told.get(name):
                found[stage.id] = curves.Series(name=stage.id, points=curves.thinned(told[name])).line
    return dict(list(found.items())[: len(COLOURS)])


def _models(axes: Any, models: Sequence[scores.Measured], metric: str) -> None:
    for place, each in enumerate(models):
        value, limits = 100 * (each.value(metric) or 0.0), each.interval(metric)
        if limits:
            axes.plot([100 * limits[0], 100 * limits[1]], [place, place], color=COLOURS[0], lw=2, zorder=2)
        axes.plot(value, place, "o", color=COLOURS[0], ms=6.5, zorder=3, label=metric if not place else None)
        for name, mark, colour in (("greedy", "o", COLOURS[1]), ("hard", "D", COLOURS[2])):
            other = each.value(name)
            if other is not None and name != metric:
                options = {"mfc": "none", "mec": colour, "ms": 5.5, "mew": 1.4, "ls": "none"}
                axes.plot(100 * other, place, mark, label=name if not place else None, zorder=2, **options)
    axes.set_yticks(range(len(models)), [_plain(each.name) for each in models])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("solved, % (bars: 95 %)", color=FAINT, fontsize=8)
    _tidy(axes, "x")
    axes.legend(fontsize=7.5, frameon=False, loc="best")


def _curves(axes: Any, lines: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    styles = ("-", "--", "-.", ":", "-", "--", "-.")
    for i, (name, points) in enumerate(lines.items()):
        xs, ys = [x for x, _ in points], [100 * y for _, y in points]
        axes.plot(xs, ys, color=COLOURS[i], ls=styles[i], lw=1.6, label=_plain(name))
    axes.set_ylim(0, 100)
    axes.set_xlabel("RL step", color=FAINT, fontsize=8)
    axes.set_ylabel(f"right answers in training, % (mean of {curves.WINDOW} steps)", color=FAINT, fontsize=8)
    _tidy(axes, "y")
    axes.legend(fontsize=7.5, frameon=False, loc="best")


def _tidy(axes: Any, grid: str) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#c9c5bb")
    axes.grid(axis=grid, color="#e6e2d9", lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=INK, length=0)


def _plain(words: str) -> str:
    """A dollar sign would start a formula."""
    return visible(words).replace("$", r"\$")
