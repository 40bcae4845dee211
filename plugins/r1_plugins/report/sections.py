"""A run as the page's parts: what each section of the template is given. No markup here but the drawings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from r1_plugins.report import bars, curves, graph, samples, scores, texts
from r1_plugins.report.curves import Panel, Series
from r1_plugins.report.gather import RESOLVED, RunFacts, Stage, log_tail
from r1_plugins.report.glossary import meaning
from r1_plugins.report.lines import chart, key
from r1_plugins.report.svg import number
from r1_plugins.report.teaching import Teaching
from r1core.errors import R1Error
from r1core.store import read_json

LOWER = ("clipped_ratio",)
"""Shares of which less is better, or nothing is best."""
Told = Mapping[str, Sequence[tuple[float, float]]]


def drawn(panel: Panel) -> dict[str, Any]:
    """A panel as the template shows it."""
    names = [series.name for series in panel.series]
    return {
        "title": panel.title,
        "unit": panel.unit,
        "meaning": meaning(panel.metric),
        "svg": chart(panel),
        "key": key(names) if len(names) > 1 or panel.metric == "eval" else [],
        "left_out": panel.left_out,
    }


# --- what the run is about -----------------------------------------------------------------------------


def story(models: Sequence[scores.Measured]) -> dict[str, Any] | None:
    """The headline: each line of models from its root to its best, and a card for each model."""
    metric = scores.headline(models)
    known = [each for each in models if each.value(metric) is not None]
    if not known:
        return None
    share = scores.is_share(known, metric)
    lines = []
    for root in dict.fromkeys(each.root for each in known):
        own = [each for each in known if each.root == root]
        best = max(own, key=lambda each: each.value(metric) or 0.0)
        lines.append({"root": own[0], "best": best, "cards": [_card(each, own[0], metric, share) for each in own]})
    return {
        "metric": metric,
        "meaning": meaning(metric),
        "share": share,
        "lines": lines,
        "chart": scores.intervals(known, metric) if share else None,
        "beside": [n for n in ("greedy", "hard") if n != metric and any(m.value(n) is not None for m in known)],
    }


def _card(each: scores.Measured, root: scores.Measured, metric: str, share: bool) -> dict[str, Any]:
    value, limits, before = each.value(metric), each.interval(metric), root.value(metric)
    gain = None if each is root or value is None or before is None else value - before
    return {
        "name": each.name,
        "value": scores.shown(value, share=share),
        "limits": [scores.shown(limit, share=share) for limit in limits] if limits else None,
        "gain": "" if gain is None else f"{100 * gain:+.1f}" if share else f"{gain:+.3g}",
        "variants": each.variants,
    }


def table(models: Sequence[scores.Measured]) -> list[dict[str, Any]]:
    """The table of models, then the breakdowns: title, headings with their meanings, rows of (value, interval)."""
    plain = [(name, name) for name in scores.plain(models)]
    found = [("", plain), *scores.breakdowns(models).items()] if plain else []
    return [_table(title, columns, models) for title, columns in found]


def _table(title: str, columns: Sequence[tuple[str, str]], models: Sequence[scores.Measured]) -> dict[str, Any]:
    own = [each for each in models if any(each.value(name) is not None for _, name in columns)]
    shares = {name: scores.is_share(own, name) and name != "length" for _, name in columns}
    best = {name: max((v for m in own if (v := m.value(name)) is not None), default=math.nan) for _, name in columns}
    rows = [
        {
            "name": each.name,
            "root": each.root,
            "cells": [_cell(each, name, shares[name], best[name]) for _, name in columns],
        }
        for each in own
    ]
    heads = [{"name": head, "unit": "%" if shares[name] else "", "meaning": meaning(name)} for head, name in columns]
    return {"title": title, "heads": heads, "rows": rows, "meaning": meaning(title.partition(" by ")[0])}


def _cell(each: scores.Measured, name: str, share: bool, best: float) -> dict[str, Any]:
    value, limits = each.value(name), each.interval(name)
    return {
        "value": scores.shown(value, share=share),
        "half": f"±{100 * (limits[1] - limits[0]) / 2:.1f}" if limits and share else "",
        "limits": " to ".join(scores.shown(limit, share=share) for limit in limits) if limits else "",
        "best": share and value == best and name not in LOWER,
        "bar": round(100 * value) if share and value is not None else 0,
    }


# --- stages --------------------------------------------------------------------------------------------


def steps(facts: RunFacts, told: Mapping[str, Told]) -> dict[str, tuple[str, ...]]:
    """The lines of each stage's box: what went in, what came out."""
    return {stage.id: tuple(filter(None, _lines(stage, told.get(stage.id, {})))) for stage in facts.stages.values()}


def _lines(stage: Stage, told: Told) -> list[str]:
    wall = f"{stage.record.wall_s:.0f} s" if stage.record is not None and stage.record.wall_s else ""
    if stage.kind == "train":
        done = max((points[-1][0] for points in told.values()), default=0)
        count = f"{done:,.0f} steps" if done else ""
        return [" · ".join(filter(None, (count, wall, _size(stage)))), _inputs(stage)]
    if stage.kind == "sample":
        report = report_of(stage)
        rows = f"{report['rows']:,} answers, {report['kept']:,} kept" if report.get("rows") else ""
        return [rows, wall]
    if stage.kind == "evaluate":
        sets = (stage.body.get("evaluate") or {}).get("sets") or {}
        return [f"{len(stage.body.get('models') or ())} models on {len(sets)} sets", wall]
    return [wall]


def _size(stage: Stage) -> str:
    files = stage.record.files if stage.record is not None else {}
    size = sum(mark.size for name, mark in files.items() if name.endswith(".safetensors"))
    return f"{number(size / 1e6)} MB" if size else ""


def _inputs(stage: Stage) -> str:
    rewards = [str(each.get("as") or each.get("use")) for each in stage.body.get("rewards") or ()]
    return ", ".join(rewards) if stage.body.get("problems") else ""


def report_of(stage: Stage) -> dict[str, Any]:
    """The sample stage's `report.json`; empty where there is none that can be read."""
    try:
        found = read_json(stage.folder / "report.json")
    except (R1Error, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "rows" in found else {}


# --- learning ------------------------------------------------------------------------------------------


def batches_of(facts: RunFacts) -> dict[str, list[texts.Batch]]:
    """Of each train stage that kept rollouts: its batches."""
    return {stage.id: found for stage in facts.of("train") if (found := texts.batches(stage))}


def learning(
    facts: RunFacts, told: Mapping[str, Told], batches: Mapping[str, Sequence[texts.Batch]]
) -> list[dict[str, Any]]:
    """What the stages that learn from rewards have in common, side by side."""
    ids = [stage.id for stage in facts.of("train") if "reward" in told.get(stage.id, {})][: curves.MOST_SERIES]
    right = [_of_columns(told, name, f"rewards/{_first_reward(facts.stages[name])}/mean") for name in ids]
    panels = [
        Panel(
            title="Accuracy",
            metric="reward accuracy",
            unit="share of sampled answers that are right",
            series=_some(right),
            share=True,
        ),
        _of_batches("Length of the thinking", "thinking", "characters", batches, ids, "thinking"),
        _of_batches(
            "Thinking in the question's script", "script", "share of letters", batches, ids, "script", share=True
        ),
        _of_batches("Reflection words", "reflection", "per 1,000 words", batches, ids, "reflection"),
        *(
            Panel(
                title=title,
                metric=metric,
                unit=unit,
                series=_some([_of_columns(told, name, metric) for name in ids]),
                share=share,
            )
            for title, metric, unit, share in (
                ("Entropy", "entropy", "nats per token", False),
                ("Silent groups", "frac_reward_zero_std", "share", True),
            )
        ),
    ]
    return [drawn(_coarser(panel)) for panel in panels if panel.series]


def _coarser(panel: Panel) -> Panel:
    """Its lines as few means, so that several can be told apart."""
    lines = tuple(replace(each, points=curves.thinned(each.points, curves.BESIDE)) for each in panel.series)
    return replace(panel, series=lines)


def _first_reward(stage: Stage) -> str:
    first: Mapping[str, Any] = next(iter(stage.body.get("rewards") or ()), {})
    return str(first.get("as") or first.get("use") or "")


def _of_columns(told: Mapping[str, Told], stage: str, metric: str) -> Series:
    return Series(name=stage, points=curves.thinned(told[stage].get(metric, ())))


def _of_batches(
    title: str,
    metric: str,
    unit: str,
    batches: Mapping[str, Sequence[texts.Batch]],
    ids: Sequence[str],
    field: str,
    *,
    share: bool = False,
) -> Panel:
    series = [
        Series(
            name=stage,
            points=tuple((b.step, v) for b in batches.get(stage, ()) if math.isfinite(v := getattr(b, field))),
        )
        for stage in ids
    ]
    return Panel(title=title, metric=metric, unit=unit, series=_some(series), share=share)


def _some(series: Sequence[Series]) -> tuple[Series, ...]:
    return tuple(each for each in series if each.points)


def training(
    facts: RunFacts, told: Mapping[str, Told], batches: Mapping[str, Sequence[texts.Batch]]
) -> list[dict[str, Any]]:
    """Each train stage with its charts and the health of its rewards; those that learn from rewards stand open."""
    found = []
    for stage in facts.of("train"):
        own = told.get(stage.id, {})
        panels = [drawn(panel) for panel in curves.panels(own)]
        thinking = [
            _of_batches(title, metric, unit, {stage.id: batches.get(stage.id, [])}, [stage.id], field, share=share)
            for title, metric, unit, field, share in (
                ("Length of the thinking", "thinking", "characters", "thinking", False),
                ("Thinking in the question's script", "script", "share of letters", "script", True),
                ("Reflection words", "reflection", "per 1,000 words", "reflection", False),
            )
        ]
        panels += [drawn(panel) for panel in thinking if panel.series]
        last = stage.record.metrics if stage.record is not None else {}
        found.append(
            {
                "stage": stage,
                "panels": panels,
                "steps": max((points[-1][0] for points in own.values()), default=0),
                "health": curves.health(own),
                "skipped": {n: last[n] for n in ("skipped_steps", "empty_steps", "empty_batch") if last.get(n)},
                "rl": "reward" in own,
            }
        )
    return found


# --- data, cost, lineage ---------------------------------------------------------------------------------


def filtered(facts: RunFacts) -> list[dict[str, Any]]:
    """Each sample stage: what its filters left, and what its rows are like."""
    found = []
    for stage in facts.of("sample"):
        report = report_of(stage)
        if report:
            told = {"stage": stage, "report": report, "chart": bars.funnel(report), "like": _like(report)}
            found.append(told)
    return found


def _like(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows beside the kept ones: lengths, shares, rewards."""
    whole, kept = report.get("all") or {}, report.get("kept_rows") or {}
    told = []
    for name in dict.fromkeys([*(whole.get("shares") or {}), *(kept.get("shares") or {})]):
        pair = [(each.get("shares") or {}).get(name) for each in (whole, kept)]
        told.append({"name": name.replace("_", " "), "pair": [scores.shown(v, share=True) for v in pair], "unit": "%"})
    for name in dict.fromkeys([*(whole.get("parts") or {})]):
        pair = [((each.get("parts") or {}).get(name) or {}).get("mean") for each in (whole, kept)]
        told.append({"name": f"{name}, mean", "pair": [scores.shown(v, share=False) for v in pair], "unit": ""})
    for unit in whole.get("lengths") or {}:
        pair = [((each.get("lengths") or {}).get(unit) or {}).get("mean") for each in (whole, kept)]
        told.append(
            {"name": f"length in {unit}, mean", "pair": [scores.shown(v, share=False) for v in pair], "unit": ""}
        )
    return told


def costs(facts: RunFacts, told: Mapping[str, Told]) -> list[dict[str, Any]]:
    """Time and tokens of each stage."""
    rows = []
    for stage in facts.stages.values():
        own, record = told.get(stage.id, {}), stage.record
        sampled = math.fsum(v for _, v in own.get("rollouts/tokens", ()))
        learned = math.fsum(v for _, v in own.get("learned_tokens", own.get("num_tokens", ())))
        rows.append(
            {
                "stage": stage,
                "wall": f"{record.wall_s:.1f}" if record is not None and record.wall_s else scores.UNKNOWN,
                "cpu": f"{record.cpu_s:.1f}" if record is not None and record.cpu_s else scores.UNKNOWN,
                "sampled": f"{sampled:,.0f}" if sampled else "",
                "learned": f"{learned:,.0f}" if learned else "",
            }
        )
    return rows


def taught(found: Teaching) -> dict[str, Any]:
    """The students side by side, as the template shows them."""
    rows = [
        {
            "name": row.name,
            "how": (found.how or {}).get(row.name, ""),
            "score": _percent(row.score.mean),
            "half": _half(row.score.half),
            "against": "" if row.against is None else f"{100 * row.against.mean:+.1f}",
            "against_half": "" if row.against is None else _half(row.against.half),
            "is_clear": row.against is not None and row.against.is_clear,
            "spent": [
                number(v) if v else ""
                for v in (row.spent.trained, row.spent.sampled, row.spent.traces, row.spent.graded, row.spent.budget)
            ],
            "cpu": f"{row.spent.cpu_s:.0f}",
        }
        for row in sorted(found.rows, key=lambda row: -row.score.mean)
    ]
    table = found.table
    return {
        "rows": rows,
        "refused": found.refused,
        "start": found.start,
        "base": next((row.name for row in found.rows if row.against is None), ""),
        "metric": table.metric if table is not None else "",
        "seeds": table.seeds if table is not None else 0,
        "teaching": table.teaching if table is not None else None,
    }


def _percent(value: float) -> str:
    return scores.UNKNOWN if math.isnan(value) else f"{100 * value:.1f}"


def _half(value: float) -> str:
    return "" if math.isnan(value) else f"±{100 * value:.1f}"


def lineage(facts: RunFacts) -> dict[str, Any]:
    """Fingerprints, versions, and the commands that make the run again."""
    environments = facts.lock.get("environments") or {}
    return {
        "stages": list(facts.stages.values()),
        "r1core": str(facts.lock.get("r1core", "")),
        "components": facts.lock.get("components") or {},
        "environments": environments,
        "command": f"r1 recipe {facts.path}/{RESOLVED} --run-dir NEW",
        "again": f"r1 report {facts.path}",
    }


def logs(facts: RunFacts) -> list[tuple[str, str]]:
    """The last lines of stages that began and have not ended."""
    begun = [stage for stage in facts.stages.values() if stage.state in ("running", "unfinished")]
    return [(stage.id, tail) for stage in begun if (tail := log_tail(stage))]


def browser(facts: RunFacts, models: Sequence[scores.Measured]) -> dict[str, Any]:
    """The samples, and how many they are."""
    found = samples.sources(facts)
    for each in found:
        each["after"] = _best_of_first_line(models, each["labels"])
    return {"sources": found, "count": samples.count(found), "rule": samples.RULE}


def _best_of_first_line(models: Sequence[scores.Measured], labels: Sequence[str]) -> int:
    """The place of the model that the page leads with; the last where it is not among them."""
    metric = scores.headline(models)
    own = [each for each in models if each.root == models[0].root and each.name in labels]
    best = max(own, key=lambda each: each.value(metric) or 0.0, default=None)
    return labels.index(best.name) if best is not None else len(labels) - 1


def picture(facts: RunFacts, lines: Mapping[str, Sequence[str]]) -> Markup | None:
    """The pipeline; None for a plan without stages."""
    found = graph.boxes(facts, lines)
    return graph.graph(found) if found else None
