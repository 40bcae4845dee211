"""What training looked like: the stages that learn from rewards side by side, then each stage with all its charts.

The numbers are those of `metrics.jsonl`; the thinking is measured on the stored answers (texts.py). A chart of which
there is nothing to see, all zeros, takes no place: its name stands in a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1_plugins.report import curves, texts
from r1_plugins.report.curves import Panel, Series
from r1_plugins.report.gather import RunFacts, Stage
from r1_plugins.report.glossary import meaning
from r1_plugins.report.lines import chart, key
from r1_plugins.report.svg import number

Told = Mapping[str, Sequence[tuple[float, float]]]
Batches = Mapping[str, Sequence[texts.Batch]]
LANGUAGE = "language"
"""What a reward is called that is the share of words in the question's language, and the metric of evaluations."""
IN_LANGUAGE, OF_THINKING = "Thinking in the question's language", "language of the thinking"


def batches_of(facts: RunFacts) -> dict[str, list[texts.Batch]]:
    """Of each train stage that kept rollouts: its batches."""
    return {stage.id: found for stage in facts.of("train") if (found := texts.batches(stage))}


def drawn(panel: Panel) -> dict[str, Any]:
    """A panel as the template shows it."""
    marked = any(series.marked for series in panel.series)
    return {
        "title": panel.title,
        "unit": panel.unit,
        "meaning": meaning(panel.metric),
        "svg": chart(panel),
        "key": key(panel.series) if len(panel.series) > 1 or marked else [],
        "left_out": panel.left_out,
    }


def shown(panels: Sequence[Panel]) -> dict[str, Any]:
    """The charts that have something to say, and the names of those that have not."""
    told = [panel for panel in panels if panel.series]
    return {
        "panels": [drawn(panel) for panel in told if not panel.is_silent],
        "nothing": number(curves.NOTHING),
        "zeros": [_plain(panel.title) for panel in told if panel.is_silent],
    }


def _plain(title: str) -> str:
    return title if title.isupper() else title[:1].lower() + title[1:]


# --- side by side --------------------------------------------------------------------------------------


def learning(facts: RunFacts, told: Mapping[str, Told], batches: Batches) -> dict[str, Any]:
    """What the stages that learn from rewards have in common."""
    ids = [stage.id for stage in facts.of("train") if "reward" in told.get(stage.id, {})][: curves.MOST_SERIES]
    stages = [facts.stages[name] for name in ids]
    return shown(
        [
            _accuracy(stages, told),
            _of_batches("Length of the thinking", "thinking", "characters", batches, ids),
            _beside("Length of answers", "completions/mean_length", "tokens", told, ids),
            _language(stages, told, batches),
            _beside("Entropy", "entropy", "nats per token", told, ids),
            _beside("Silent groups", "frac_reward_zero_std", "share", told, ids, share=True),
            _of_batches("Reflection words", "reflection", "per 1,000 words", batches, ids),
        ]
    )


def _accuracy(stages: Sequence[Stage], told: Mapping[str, Told]) -> Panel:
    """The first reward of each stage, and rings for what was measured on held-out problems meanwhile."""
    lines = [_line(told, stage.id, f"rewards/{_first_reward(stage)}/mean", i) for i, stage in enumerate(stages)]
    rings = [
        Series(name=f"{stage.id}, {name.removeprefix('eval/')} held out", points=tuple(points), marked=True, colour=i)
        for i, stage in enumerate(stages)
        if (name := _held_out(stage, told[stage.id])) and (points := told[stage.id][name])
    ]
    return Panel(
        title="Accuracy",
        metric="accuracy of answers",
        unit="share of sampled answers that are right",
        series=_some([*lines, *rings]),
        share=True,
    )


def _held_out(stage: Stage, told: Told) -> str:
    """The first share that a stage was measured by while it trained: a set of its own, not a detail of answers."""
    sets = (stage.body.get("evaluate") or {}).get("sets") or {}
    names = [name for name in (f"eval/{each}" for each in sets) if told.get(name)]
    others = [n for n in told if n.startswith("eval/") and n.count("/") == 1 and "_" not in n and "length" not in n]
    return next((name for name in [*names, *others] if all(0 <= value <= 1 for _, value in told[name])), "")


def _language(stages: Sequence[Stage], told: Mapping[str, Told], batches: Batches) -> Panel:
    """The reward for the language where a stage has one, else the same share counted on its stored answers."""
    counted = _of_batches("", "language", "", batches, [stage.id for stage in stages]).series
    by_stage = {series.name: series for series in counted}
    lines = [
        _line(told, stage.id, f"rewards/{name}/mean", i) if (name := _of(stage)) else by_stage.get(stage.id)
        for i, stage in enumerate(stages)
    ]
    return Panel(
        title=IN_LANGUAGE,
        metric=OF_THINKING,
        unit="share of words",
        series=_some([each for each in lines if each is not None]),
        share=True,
    )


def _of(stage: Stage) -> str:
    """What a stage's reward for the language is called; "" without one."""
    rewards = [each for each in stage.body.get("rewards") or () if LANGUAGE in (each.get("use"), each.get("as"))]
    return str(rewards[0].get("as") or rewards[0].get("use")) if rewards else ""


def _first_reward(stage: Stage) -> str:
    first: Mapping[str, Any] = next(iter(stage.body.get("rewards") or ()), {})
    return str(first.get("as") or first.get("use") or "")


def _beside(
    title: str, metric: str, unit: str, told: Mapping[str, Told], ids: Sequence[str], *, share: bool = False
) -> Panel:
    lines = [_line(told, name, metric, i) for i, name in enumerate(ids)]
    return Panel(title=title, metric=metric, unit=unit, series=_some(lines), share=share)


def _line(told: Mapping[str, Told], stage: str, metric: str, colour: int) -> Series:
    return Series(name=stage, points=curves.thinned(told[stage].get(metric, ())), colour=colour)


def _of_batches(
    title: str, field: str, unit: str, batches: Batches, ids: Sequence[str], *, share: bool = False
) -> Panel:
    lines = [
        Series(
            name=stage,
            points=tuple((b.step, v) for b in batches.get(stage, ()) if math.isfinite(v := getattr(b, field))),
            colour=i,
        )
        for i, stage in enumerate(ids)
    ]
    return Panel(
        title=title,
        metric=OF_THINKING if field == LANGUAGE else field,
        unit=unit,
        series=_some(lines),
        share=share,
    )


def _some(series: Sequence[Series]) -> tuple[Series, ...]:
    return tuple(each for each in series if each.points)


# --- stage by stage ------------------------------------------------------------------------------------


def training(facts: RunFacts, told: Mapping[str, Told], batches: Batches) -> list[dict[str, Any]]:
    """Each train stage with its charts and the health of its rewards; those that learn from rewards stand open."""
    return [_stage(stage, told.get(stage.id, {}), batches) for stage in facts.of("train")]


def _stage(stage: Stage, own: Told, batches: Batches) -> dict[str, Any]:
    last = stage.record.metrics if stage.record is not None else {}
    return {
        **shown([*curves.panels(own), *_thinking(stage, batches)]),
        "stage": stage,
        "steps": max((points[-1][0] for points in own.values()), default=0),
        "health": curves.health(own),
        "skipped": {n: last[n] for n in ("skipped_steps", "empty_steps", "empty_batch") if last.get(n)},
        "rl": "reward" in own,
    }


def _thinking(stage: Stage, batches: Batches) -> Iterator[Panel]:
    for title, field, unit, share in (
        ("Length of the thinking", "thinking", "characters", False),
        (IN_LANGUAGE, "language", "share of words", True),
        ("Reflection words", "reflection", "per 1,000 words", False),
    ):
        if field != LANGUAGE or not _of(stage):  # the reward is the better measure, and has its own line
            yield _of_batches(title, field, unit, batches, [stage.id], share=share)
