"""The main figure as PNG, for a README or a slide: the models with their intervals, and what RL was rewarded with.

matplotlib draws it, imported here alone and never on a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from r1_plugins.report import curves, scores
from r1_plugins.report.beside import first_rewards, learners
from r1_plugins.report.gather import RunFacts
from r1_plugins.report.text import visible

COLOURS = ("#0f62ae", "#c8500a", "#0a8a6a", "#8a3f8f", "#3f9bd6", "#b98a00", "#5c5c5c")
INK, FAINT = "#1d1d1b", "#77746d"
DPI = 160
assert matplotlib.__version__


def figure(facts: RunFacts, models: Sequence[scores.Measured]) -> Figure | None:
    """The drawing; None where there is nothing to draw yet. `models` as `scores.measured` has them."""
    metric = scores.headline(models)
    known = [each for each in models if each.value(metric) is not None]
    learned = _learned(facts)
    if not known and learned is None:
        return None
    columns = [bool(known), learned is not None].count(True)
    drawing = Figure(
        figsize=(5.4 * columns, max(2.8, 0.34 * len(known) + 1.3)), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(drawing)
    axes = list(drawing.subplots(1, columns, squeeze=False)[0])
    if known:
        _models(axes.pop(0), known, metric)
    if learned is not None:
        _curves(axes.pop(0), learned)
    drawing.suptitle(_plain(facts.recipe), fontsize=11, color=INK, x=0.01, ha="left")
    return drawing


def save(drawing: Figure, path: Path) -> None:
    """As PNG, whatever the name of the file."""
    drawing.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def _learned(facts: RunFacts) -> curves.Panel | None:
    """The page's first chart of rewards: accuracy where a reward says what is right."""
    told = {stage.id: curves.columns(stage) for stage in facts.of("train")}
    found = first_rewards(facts, told, learners(facts, told)[: len(COLOURS)])
    return next((panel for panel in found if any(not each.marked for each in panel.series)), None)


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
    bars = " (bars: 95 %)" if any(each.interval(metric) for each in models) else ""
    axes.set_xlabel(f"solved, %{bars}", color=FAINT, fontsize=8)
    _tidy(axes, "x")
    axes.legend(fontsize=7.5, frameon=False, loc="best")


def _curves(axes: Any, panel: curves.Panel) -> None:
    styles = ("-", "--", "-.", ":", "-", "--", "-.")
    unit = 100 if panel.share else 1
    lines = [each for each in panel.series if not each.marked]
    for i, each in enumerate(lines):
        xs, ys = [x for x, _ in each.line], [unit * y for _, y in each.line]
        axes.plot(xs, ys, color=COLOURS[i], ls=styles[i], lw=1.6, label=_plain(each.name))
        if each.band:
            low, high = [unit * y for _, y, _ in each.band], [unit * y for _, _, y in each.band]
            axes.fill_between([x for x, _, _ in each.band], low, high, color=COLOURS[i], alpha=0.13, lw=0)
    if panel.share:
        axes.set_ylim(0, 100)
    told = "right answers in training, %" if panel.share else f"{_plain(panel.title)}, {panel.unit}"
    bands = "; bands: lowest to highest seed" if any(each.band for each in lines) else ""
    axes.set_xlabel("RL step", color=FAINT, fontsize=8)
    axes.set_ylabel(f"{told}\n(mean of {curves.WINDOW} steps{bands})", color=FAINT, fontsize=8)
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
