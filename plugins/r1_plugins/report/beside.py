"""The stages that learn from rewards, side by side: one line for each arm, over its seeds.

Of several seeds the line is the mean, and the band goes from the lowest seed's own line to the highest's. A chart is
called accuracy only where the reward says what is right (rightness.py); any other goes by its own name and range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r1_plugins.report import curves, texts
from r1_plugins.report.arms import arms
from r1_plugins.report.curves import Panel, Series
from r1_plugins.report.gather import RunFacts, Stage
from r1_plugins.report.rightness import Told, rewards_of, right_reward

Points = Sequence[tuple[float, float]]
Batches = Mapping[str, Sequence[texts.Batch]]
LANGUAGE = "language"
"""What a reward is called that is the share of words in the question's language, and the metric of evaluations."""
IN_LANGUAGE, OF_THINKING = "Thinking in the question's language", "language of the thinking"
ACCURACY = "Accuracy"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of each chart: the stages that it is over. `colour` is its place."""

    label: str
    stages: tuple[Stage, ...]
    colour: int

    def line(self, of: Mapping[str, Points], *, also: str = "", marked: bool = False) -> Series:
        """The seeds' points by stage id, as one line; `also` is added to the name."""
        told = [points for stage in self.stages if (points := of.get(stage.id, ()))]
        name = f"{self.label}{also}" + (f", mean of {len(told)}" if len(told) > 1 else "")
        return over(told, name=name, colour=self.colour, marked=marked)


def over(told: Sequence[Points], *, name: str, colour: int, marked: bool = False) -> Series:
    """Lines of one kind as one: their mean as far as all of them have come, and the band that holds them."""
    if len(told) < 2:
        points = curves.thinned(told[0]) if told else ()
        return Series(name=name, points=points, colour=colour, marked=marked)
    shared = set.intersection(*({x for x, _ in points} for points in told))
    seeds = [curves.thinned([point for point in points if point[0] in shared]) for points in told]
    mean = [(own[0][0], math.fsum(y / len(own) for _, y in own)) for own in zip(*seeds, strict=True)]
    lines = [Series(name="", points=points, marked=marked).line for points in seeds]
    band = [(own[0][0], min(y for _, y in own), max(y for _, y in own)) for own in zip(*lines, strict=True)]
    return Series(name=name, points=tuple(mean), colour=colour, marked=marked, band=tuple(band))


def learners(facts: RunFacts, told: Mapping[str, Told]) -> list[Arm]:
    """The arms that learn from rewards, in the recipe's order."""
    found = arms(facts, (stage for stage in facts.of("train") if "reward" in told.get(stage.id, {})))
    return [Arm(label=label, stages=tuple(own), colour=i) for i, (label, own) in enumerate(found.items())]


def beside(facts: RunFacts, told: Mapping[str, Told], batches: Batches, drawn: Sequence[Arm]) -> list[Panel]:
    """What these arms have in common."""
    return [
        *first_rewards(facts, told, drawn),
        of_batches("Length of the thinking", "thinking", "characters", batches, drawn),
        _beside("Length of answers", "completions/mean_length", "tokens", told, drawn),
        _language(told, batches, drawn),
        _beside("Entropy", "entropy", "nats per token", told, drawn),
        _beside("Silent groups", "frac_reward_zero_std", "share", told, drawn, share=True),
        of_batches("Reflection words", "reflection", "per 1,000 words", batches, drawn),
    ]


def first_rewards(facts: RunFacts, told: Mapping[str, Told], drawn: Sequence[Arm]) -> list[Panel]:
    """Accuracy, with rings for what was measured on held-out problems meanwhile; then each other first reward."""
    right = {stage.id: right_reward(stage, facts, told[stage.id]) for arm in drawn for stage in arm.stages}
    lines: dict[str, list[Series]] = {ACCURACY: []}
    rings = []
    for arm in drawn:
        first = arm.stages[0]
        if all(right[stage.id] for stage in arm.stages):
            lines[ACCURACY].append(arm.line(_means(arm, told, right)))
            if name := _held_out(first, told[first.id], right[first.id]):
                held = {stage.id: told[stage.id].get(name, ()) for stage in arm.stages}
                rings.append(arm.line(held, also=f", {name.removeprefix('eval/')} held out", marked=True))
        elif name := next(iter(rewards_of(first.body)), ""):
            means = _means(arm, told, {stage.id: name for stage in arm.stages})
            lines.setdefault(name, []).append(arm.line(means))
    accuracy = Panel(
        title=ACCURACY,
        metric="accuracy of answers",
        unit="share of sampled answers that are right",
        series=_some([*lines.pop(ACCURACY), *rings]),
        share=True,
    )
    others = [
        Panel(title=f"Reward {name}", metric="", unit="mean over the sampled answers", series=_some(own))
        for name, own in lines.items()
    ]
    return [accuracy, *others]


def _means(arm: Arm, told: Mapping[str, Told], names: Mapping[str, str]) -> dict[str, Points]:
    return {stage.id: told[stage.id].get(f"rewards/{names[stage.id]}/mean", ()) for stage in arm.stages}


def _held_out(stage: Stage, told: Told, right: str) -> str:
    """The first share of right answers that a stage was measured by while it trained: a set of its own, not a detail
    of answers."""
    sets = (stage.body.get("evaluate") or {}).get("sets") or {}
    first = next(iter(rewards_of(stage.body)), "")
    judged = [f"eval/{name}" for name, asked in sets.items() if ((asked or {}).get("reward") or first) == right]
    others = [n for n in told if n.startswith("eval/") and n.count("/") == 1 and "_" not in n and "length" not in n]
    names = judged if sets else others
    return next((name for name in names if told.get(name) and all(0 <= y <= 1 for _, y in told[name])), "")


def _language(told: Mapping[str, Told], batches: Batches, drawn: Sequence[Arm]) -> Panel:
    """The reward for the language where a stage has one, else the same share counted on its stored answers."""
    points = _by_stage(batches, LANGUAGE)
    for stage in (stage for arm in drawn for stage in arm.stages):
        if name := language_of(stage):
            points[stage.id] = told[stage.id].get(f"rewards/{name}/mean", ())
    return Panel(
        title=IN_LANGUAGE,
        metric=OF_THINKING,
        unit="share of words",
        series=_some([arm.line(points) for arm in drawn]),
        share=True,
    )


def language_of(stage: Stage) -> str:
    """What a stage's reward for the language is called; "" without one."""
    return next((name for name, use in rewards_of(stage.body).items() if LANGUAGE in (use, name)), "")


def _beside(
    title: str, metric: str, unit: str, told: Mapping[str, Told], drawn: Sequence[Arm], *, share: bool = False
) -> Panel:
    points = {stage.id: told[stage.id].get(metric, ()) for arm in drawn for stage in arm.stages}
    series = _some([arm.line(points) for arm in drawn])
    return Panel(title=title, metric=metric, unit=unit, series=series, share=share)


def of_batches(
    title: str, field: str, unit: str, batches: Batches, drawn: Sequence[Arm], *, share: bool = False
) -> Panel:
    """What was counted on the stored answers, for each arm."""
    points = _by_stage(batches, field)
    return Panel(
        title=title,
        metric=OF_THINKING if field == LANGUAGE else field,
        unit=unit,
        series=_some([arm.line(points) for arm in drawn]),
        share=share,
    )


def _by_stage(batches: Batches, field: str) -> dict[str, Points]:
    return {
        stage: [(float(each.step), v) for each in own if math.isfinite(v := getattr(each, field))]
        for stage, own in batches.items()
    }


def _some(series: Sequence[Series]) -> tuple[Series, ...]:
    return tuple(each for each in series if each.points)
