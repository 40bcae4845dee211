"""What training looked like: the stages that learn from rewards side by side (beside.py), then each by itself.

The numbers are those of `metrics.jsonl`; the thinking is measured on the stored answers (texts.py). A chart of which
there is nothing to see, all zeros, takes no place: its name stands in a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1_plugins.report import curves, texts
from r1_plugins.report.beside import IN_LANGUAGE, LANGUAGE, Arm, Batches, beside, language_of, learners, of_batches
from r1_plugins.report.curves import Panel
from r1_plugins.report.gather import RunFacts, Stage
from r1_plugins.report.glossary import meaning
from r1_plugins.report.lines import chart, key
from r1_plugins.report.rightness import Told
from r1_plugins.report.svg import number
from r1core.errors import R1Error
from r1core.store import read_json

BAND = (
    "Of stages that were made with several seeds, alike in all else, the line is the mean, and the band goes from "
    "the lowest seed's line to the highest's."
)


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
    """What the stages that learn from rewards have in common, and the arms for which there was no colour left."""
    found = learners(facts, told)
    drawn, left_out = found[: curves.MOST_SERIES], found[curves.MOST_SERIES :]
    return {
        **shown(beside(facts, told, batches, drawn)),
        "rule": BAND if any(len(arm.stages) > 1 for arm in drawn) else "",
        "left_out": [arm.label for arm in left_out],
    }


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
        "divergence": _divergence(stage),
    }


def _divergence(stage: Stage) -> dict[str, str]:
    """How the stage's loss measures the distance to its teacher, in the words of its record; empty without them."""
    try:
        found = read_json(stage.folder / "stage.json").get("divergence")
    except (R1Error, OSError, AttributeError):
        return {}
    told = found if isinstance(found, Mapping) else {}
    return {str(name): f"{words:g}" if isinstance(words, float) else str(words) for name, words in told.items()}


def _thinking(stage: Stage, batches: Batches) -> Iterator[Panel]:
    alone = Arm(label=stage.id, stages=(stage,), colour=0)
    for title, field, unit, share in (
        ("Length of the thinking", "thinking", "characters", False),
        (IN_LANGUAGE, "language", "share of words", True),
        ("Reflection words", "reflection", "per 1,000 words", False),
    ):
        if field != LANGUAGE or not language_of(stage):  # the reward is the better measure, and has its own line
            yield of_batches(title, field, unit, batches, [alone], share=share)
