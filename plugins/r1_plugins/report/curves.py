"""The metrics of a train stage as the panels of the page, thinned and smoothed by a rule that the page says.

Dots are the numbers of `metrics.jsonl`; the line is their running mean over WINDOW. Evaluations within training are
few and drawn as they are. Names of metrics are TRL's, `eval/*` what was measured within training.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from r1_plugins.report.gather import Stage
from r1core.errors import R1Error
from r1core.store import read_metrics
from r1core.store.metrics import METRICS

POINTS = 120
WINDOW = 7
SMOOTHED = 24
RULE = (
    f"Each dot is a step; of more than {POINTS} steps, one of {POINTS} means of neighbouring steps. "
    f"The line is the mean of the {WINDOW} nearest dots, fewer at either end; "
    f"with fewer than {SMOOTHED} dots it goes through them."
)
MOST_SERIES = 7
NOTHING = 1e-6
"""What is nearer to 0 from its first step to its last gets no chart; the page says so in a line."""
FARTHEST = 1e300
"""What is farther from 0, finite as it may be, is drawn there."""
LAST_STEP = 2**53
EXACT = ("learning_rate",)
"""Never smoothed: there is no noise in it."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: its points by step. `marked` draws them as rings; `colour` is that of the line it goes with."""

    name: str
    points: tuple[tuple[float, float], ...]
    marked: bool = False
    colour: int | None = None
    exact: bool = False
    band: tuple[tuple[float, float, float], ...] = ()
    """(x, lowest, highest) of what the line is the mean of."""

    @property
    def line(self) -> tuple[tuple[float, float], ...]:
        """What the line goes through: the running mean where there are enough points for one."""
        return self.points if self.exact or self.marked or len(self.points) < SMOOTHED else smoothed(self.points)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small chart. `unit` is what its y axis counts; `share` says that it is one, 0..1, shown in percent."""

    title: str
    metric: str
    """The glossary's name."""
    unit: str
    series: tuple[Series, ...]
    share: bool = False
    left_out: tuple[str, ...] = ()
    """The names of lines for which there was no colour left."""

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to see: all of it is 0."""
        return all(abs(value) < NOTHING for series in self.series for _, value in series.points)


@dataclass(frozen=True)
class _Wanted:
    title: str
    metric: str
    unit: str
    names: tuple[str, ...]
    share: bool = False


WANTED = (
    _Wanted("Reward by component", "reward", "mean", ("reward", "rewards/*/mean")),
    _Wanted("Spread of reward", "reward_std", "within groups", ("reward_std",)),
    _Wanted("Length of answers", "completions/mean_length", "tokens", ("completions/mean_length",)),
    _Wanted("Cut off at the limit", "completions/clipped_ratio", "share", ("completions/clipped_ratio",), True),
    _Wanted("Silent groups", "frac_reward_zero_std", "share", ("frac_reward_zero_std",), True),
    _Wanted("Entropy", "entropy", "nats per token", ("entropy",)),
    _Wanted("KL", "kl", "nats per token", ("kl", "ppo_kl")),
    _Wanted("Clipped tokens", "clip_ratio", "share", ("clip_ratio/*",), True),
    _Wanted("Loss", "loss", "", ("loss", "*/loss")),
    _Wanted("Gradient norm", "grad_norm", "before clipping", ("grad_norm",)),
    _Wanted("Learning rate", "learning_rate", "", ("learning_rate",)),
    _Wanted("Preference accuracy", "accuracy", "share", ("accuracy", "eval_accuracy"), True),
    _Wanted("Agreement with the teacher", "agreement", "share", ("*/agreement",), True),
    _Wanted("Divergence from the teacher", "reverse_kl", "nats per token", ("reverse_kl*",)),
    _Wanted("Verifier failures", "verifier", "share", ("verifier/*/*_rate",), True),
    _Wanted("Judge failures", "judge", "share", ("judge/*rate",), True),
    _Wanted("Sampler against trainer", "sampler/logprob_gap", "nats", ("sampler/logprob_gap",)),
    _Wanted("Time of a step", "time/step_s", "s", ("time/step_s",)),
)


def columns(stage: Stage) -> dict[str, list[tuple[float, float]]]:
    """metric -> its finite values by step; empty where nothing was logged or the file is damaged before its end."""
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        for row in read_metrics(stage.folder / METRICS):
            step = _finite(row["step"])
            for name, value in row.items():
                known = _finite(value)
                if name != "step" and known is not None and step is not None and 0 <= step <= LAST_STEP:
                    found.setdefault(name, []).append((step, known))
    except (R1Error, KeyError, TypeError, AttributeError, OSError, UnicodeDecodeError):
        pass  # what was read is drawn
    return found


def _finite(value: Any) -> float | None:
    """The number, at most FARTHEST from 0, so that sums of many are numbers, too; None for what is none."""
    if not isinstance(value, int | float) or value != value or abs(value) == math.inf:
        return None
    return float(max(-FARTHEST, min(value, FARTHEST)))


def panels(told: Mapping[str, Sequence[tuple[float, float]]]) -> list[Panel]:
    """The charts of one stage, the evaluations within training first."""
    return [panel for panel in [*_evaluations(told), *(_panel(wanted, told) for wanted in WANTED)] if panel is not None]


def _evaluations(told: Mapping[str, Sequence[tuple[float, float]]]) -> list[Panel]:
    """Shares that were measured within training; lengths and the rest are in tokens and stand apart."""
    names = [name for name in told if name.startswith("eval/")]
    lengths = [name for name in names if name.endswith("length")]
    shares = [
        name
        for name in names
        if name not in lengths and "/" not in name.removeprefix("eval/") and _is_share(told[name])
    ]
    measured = Panel(
        title="Measured in training",
        metric="eval",
        unit="share",
        series=tuple(Series(name=name, points=tuple(told[name]), marked=True) for name in shares[:MOST_SERIES]),
        share=True,
        left_out=tuple(shares[MOST_SERIES:]),
    )
    return [measured] if shares else []


def _is_share(points: Sequence[tuple[float, float]]) -> bool:
    return all(0 <= value <= 1 for _, value in points)


def _panel(wanted: _Wanted, told: Mapping[str, Sequence[tuple[float, float]]]) -> Panel | None:
    names = [name for pattern in wanted.names for name in told if fnmatch.fnmatchcase(name, pattern)]
    names = list(dict.fromkeys(names))
    if not names:
        return None
    kept = sorted(names, key=lambda name: -_spread(told[name]))[:MOST_SERIES] if len(names) > MOST_SERIES else names
    return Panel(
        title=wanted.title,
        metric=wanted.metric,
        unit=wanted.unit,
        series=tuple(
            Series(name=_short(name), points=thinned(told[name]), exact=wanted.metric in EXACT) for name in kept
        ),
        share=wanted.share,
        left_out=tuple(_short(name) for name in names if name not in kept),
    )


def _spread(points: Sequence[tuple[float, float]]) -> float:
    values = [value for _, value in points]
    return max(values) - min(values)


def _short(name: str) -> str:
    """`rewards/format/mean` is `format` in a chart of rewards."""
    parts = name.split("/")
    return parts[1] if parts[0] == "rewards" and len(parts) == 3 else name.removeprefix("verifier/")


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> tuple[tuple[float, float], ...]:
    """At most so many points: means of runs of neighbours that are as long as each other, up to one."""
    count = len(points)
    if count <= most:
        return tuple(points)
    edges = [round(i * count / most) for i in range(most + 1)]
    runs = [points[start:end] for start, end in pairwise(edges)]
    return tuple((run[-1][0], math.fsum(value for _, value in run) / len(run)) for run in runs)


def smoothed(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The mean of the WINDOW nearest points at each; near an end, of those within half a window."""
    half = WINDOW // 2
    runs = ((x, points[max(0, i - half) : i + half + 1]) for i, (x, _) in enumerate(points))
    return tuple((x, math.fsum(value for _, value in run) / len(run)) for x, run in runs)


def health(told: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Reward or judge -> its worst and mean rates over the stage, for the table of verifiers."""
    found: dict[str, dict[str, float]] = {}
    for name, points in told.items():
        parts = name.split("/")
        if len(parts) == 3 and parts[0] in ("verifier", "judge") and parts[2].endswith("_rate"):
            values = [value for _, value in points]
            own = found.setdefault(parts[1], {})
            own[parts[2]] = math.fsum(values) / len(values)
        if len(parts) == 4 and parts[:2] == ["time", "verifier"] and parts[3] == "p99_ms":
            found.setdefault(parts[2], {})["p99_ms"] = max(value for _, value in points)
    return found
