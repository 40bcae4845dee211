"""The table of `r1 compare DIR --across`: the models of one run, each over its seeds, with what they cost.

             pass@1       vs rl         k=8   cons@8  greedy  trained  sampled  traces  budget
rl           0.21 ±0.03                 0.55    0.25    0.24     640k     640k             1.3M
sft          0.41 ±0.05   +0.20 ±0.06*  0.60    0.44    0.43     706k             414k     1.1M
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from r1core.cli.columns import columns
from r1core.comparison.arms import Arm, Arms
from r1core.comparison.statistics import Estimate

CURVE, VOTE = "k=", "cons="
SPENT = ("trained", "sampled", "traces", "graded", "budget")


def arm_lines(table: Arms) -> Iterator[str]:
    """The table with its head and foot."""
    base = table.rows[0].name
    seeds = f"{table.seeds} seeds" if table.seeds > 1 else "1 seed"
    beside = _beside(table)
    yield f"{table.metric} of {len(table.rows)} models, {seeds}"
    yield ""
    heads = [
        "",
        table.metric,
        f"vs {base}",
        *(_heading(name, table.metric) for name in beside),
        *SPENT,
        "wall s",
        "cpu s",
    ]
    rows = [heads, *(_cells(row, beside) for row in table.rows)]
    kept = [place for place in range(len(heads)) if place == 0 or any(row[place] for row in rows[1:])]
    yield from columns([[row[place] for place in kept] for row in rows], left=1)
    yield ""
    over = "over seeds and problems" if table.seeds > 1 else "over problems; another seed may differ by more"
    yield f"  ±: 95 %, Student's t {over}; differences are paired by problem and seed; * excludes 0"
    yield "  se: standard error of one seed; sampling: other answers to these problems; problem: other problems, too"
    yield "  tokens of answers, a seed: learned from (trained), written by the student (sampled), written by a teacher,"
    yield "  rejected ones too (traces), told by a teacher (graded); budget: trained + sampled + traces"
    if any(row.spent.estimated for row in table.rows):
        yield "  ~: of answers whose tokens the teacher's server did not count, a quarter of their bytes"
    if table.teaching.budget:
        told = f"{_count(table.teaching.trained)} trained, {_count(table.teaching.sampled)} sampled"
        yield f"  the teacher's own training, in no budget: {told}, {table.teaching.cpu_s:.0f} s of CPU"


def _beside(table: Arms) -> list[str]:
    """The other numbers that are shown: the set's error bars, curve and vote, and the other sets."""
    names = dict.fromkeys(name for row in table.rows for name in row.beside)
    return sorted((name for name in names if _shown(name, table.metric)), key=lambda name: _place(name, table.metric))


def _shown(name: str, metric: str) -> bool:
    cut = name.removeprefix(f"{metric}/")
    if cut != name:
        return cut.startswith((CURVE, VOTE)) and cut != f"{CURVE}1"
    return name != metric


def _place(name: str, metric: str) -> tuple[int, int]:
    """The error bars, the curve by its k, the vote, then the other sets."""
    cut = name.removeprefix(f"{metric}/")
    if "_se_" in name:
        return (0, 0)
    if cut == name:
        return (3, 0)
    return (1, int(cut.removeprefix(CURVE))) if cut.startswith(CURVE) else (2, 0)


def _heading(name: str, metric: str) -> str:
    cut = name.removeprefix(f"{metric}/")
    if cut.startswith(VOTE):
        return f"cons@{cut.removeprefix(VOTE)}"
    return cut.removeprefix(f"{metric}_").replace("_", " ")


def _cells(row: Arm, beside: Sequence[str]) -> list[str]:
    numbers = [_number(name, row.beside.get(name)) for name in beside]
    tokens = [("~" if row.spent.is_estimate(name) else "") + _count(getattr(row.spent, name)) for name in SPENT]
    seconds = [f"{value:.0f}" if value else "" for value in (row.spent.wall_s, row.spent.cpu_s)]
    return [row.name, _score(row.score), _difference(row.against), *numbers, *tokens, *seconds]


def _number(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.3f}" if "_se_" in name else f"{value:.2f}"


def _score(found: Estimate) -> str:
    return f"{found.mean:.2f}" if math.isnan(found.half) else f"{found.mean:.2f} ±{found.half:.2f}"


def _difference(found: Estimate | None) -> str:
    if found is None or math.isnan(found.mean):
        return ""
    interval = "" if math.isnan(found.half) else f" ±{found.half:.2f}{'*' if found.is_clear else ' '}"
    return f"{found.mean:+.2f}{interval}"


def _count(value: float) -> str:
    if not value:
        return ""
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:.0f}"
