"""What a finished run leaves on the screen: the table of models, the breakdowns, and whom to talk to.

Metrics that break another down are named `<metric>/<field>=<value>` (`hard/task=sorting`): each
(metric, field) is a small table of its own, and `<metric>_ci95` stands beside its metric as half
the width of the interval. Standard errors (`<metric>_se_<of what>`) are in results.json.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

from r1core.cli.progress import number
from r1core.events import StageRow
from r1core.untrusted import untrusted

Row: TypeAlias = Mapping[str, Any]
ORDER = ("pass@1", "greedy", "hard", "format", "language", "general", "helpful", "safe", "length")
CI = "_ci95"
ERRORS = (CI, "_se_sampling", "_se_problem")
QUIET = 0.005
PAGE = "report.html"
"""What shows a run in its folder, where something wrote it."""
"""A share below this reads as 0.00."""


def tables(rows: Sequence[Row]) -> list[Table]:
    """The table of models by metrics, then a small one for what only some models were measured on, and for each
    breakdown."""
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"] if not name.endswith(ERRORS)))
    plain = [name for name in names if "/" not in name and not _is_quiet(name, rows)]
    shared = [name for name in plain if all(name in row["metrics"] for row in rows)]
    known = [name for name in ORDER if name in shared]
    if not rows:
        return []
    drawn = [_table("", rows, [(name, name) for name in [*known, *(name for name in shared if name not in known)]])]
    some = {name: [(name, name)] for name in plain if name not in shared}
    for title, columns in {**some, **_breakdowns(names)}.items():
        measured = [row for row in rows if any(name in row["metrics"] for _, name in columns)]
        drawn.append(_table(title, measured, columns))
    return drawn


def _is_quiet(name: str, rows: Sequence[Row]) -> bool:
    """Whether nothing is to be said of it: no answer of any model was cut off."""
    return name == "clipped_ratio" and all(row["metrics"].get(name, 0.0) < QUIET for row in rows)


def look_at(folder: Path) -> str:
    """The page that shows the run; empty where nothing has written one."""
    page = folder / PAGE
    return shlex.quote(str(page)) if page.is_file() else ""


def talk_to(folder: Path, rows: Sequence[Row], plan: Sequence[StageRow]) -> str:
    """The command to talk to the best student, else the last model made; empty when there is none."""
    students = [row for row in rows if "student" in row["model"]]
    best = max(students, key=lambda row: float(row["metrics"].get("pass@1", 0.0)), default=None)
    made = [row.stage for row in plan if row.kind == "train"]
    stages = [best["model"]] if best else [*reversed(made)]
    models = (folder / "stages" / stage / "model" for stage in stages)
    return next((f"r1 chat {shlex.quote(str(model))}" for model in models if _speaks(model)), "")


def _speaks(model: Path) -> bool:
    """Whether it is a language model by its config: not one that scores answers, nor one made to test plugins."""
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return any("LM" in name for name in config.get("architectures") or ())


def _breakdowns(names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Title -> (heading, metric) of its columns."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        metric, slash, cut = name.partition("/")
        field, _, value = cut.rpartition("=")
        if slash:
            found.setdefault(f"{metric} by {field}" if field else metric, []).append((value, name))
    return {title: sorted(columns, key=_place) if _counts(columns) else columns for title, columns in found.items()}


def _counts(columns: Sequence[tuple[str, str]]) -> bool:
    """Whether what is broken down by is a number, such as the k of pass@k."""
    return all(value.isdecimal() for value, _ in columns)


def _place(column: tuple[str, str]) -> int:
    return int(column[0])


def _table(title: str, rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=Text(untrusted(title)) if title else None, title_justify="left")
    table.add_column("model", no_wrap=True)
    for heading, _ in columns:
        table.add_column(Text(untrusted(heading)), justify="right", no_wrap=True)
    for row in rows:
        cells = [Text(_cell(row["metrics"], metric)) for _, metric in columns]
        table.add_row(Text(untrusted(row["model"])), *cells)
    return table


def _cell(metrics: Mapping[str, Any], name: str) -> str:
    value = metrics.get(name)
    if not isinstance(value, int | float):
        return "" if value is None else untrusted(str(value))
    interval = metrics.get(name + CI)
    return f"{_share(value)} ±{_share((interval[1] - interval[0]) / 2)}" if interval else _share(value)


def _share(value: float) -> str:
    return f"{value:.2f}" if abs(value) <= 1 else number(value)
