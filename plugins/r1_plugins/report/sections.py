"""A run as the page's parts: what each section of the template is given. No markup here but the drawings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from r1_plugins.report import bars, curves, graph, samples, scores
from r1_plugins.report.gather import RESOLVED, RunFacts, Stage, log_tail
from r1_plugins.report.glossary import meaning
from r1_plugins.report.intervals import NARROW, WIDE, intervals
from r1_plugins.report.svg import number
from r1_plugins.report.teaching import Teaching
from r1core.errors import R1Error
from r1core.store import read_json

LOWER = ("clipped_ratio",)
"""Shares of which less is better, or nothing is best."""
Told = Mapping[str, Sequence[tuple[float, float]]]


# --- what the run is about -----------------------------------------------------------------------------


def story(models: Sequence[scores.Measured], words: Mapping[str, str]) -> dict[str, Any] | None:
    """The headline: each line of models from its root to its best, and a card for each model. `words`: the glossary."""
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
        "meaning": meaning(metric, words),
        "share": share,
        "over": over(known, [metric]),
        "seeds": max(each.variants for each in known),
        "lines": lines,
        "charts": [intervals(known, metric, form) for form in (WIDE, NARROW)] if share else [],
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


def over(models: Sequence[scores.Measured], metrics: Sequence[str]) -> str:
    """What the intervals of these models speak of, in words; "" where none has one."""
    seeds = {each.variants > 1 for each in models if any(each.interval(name) for name in metrics)}
    if seeds == {True, False}:
        return "over problems, of a model with several seeds over seeds and problems"
    return "" if not seeds else "over seeds and problems" if True in seeds else "over problems"


def table(models: Sequence[scores.Measured], words: Mapping[str, str]) -> list[dict[str, Any]]:
    """The table of models, then the breakdowns: title, headings with their meanings, rows of (value, interval)."""
    plain = [(name, name) for name in scores.plain(models)]
    found = [("", plain), *scores.breakdowns(models).items()] if plain else []
    return [_table(title, columns, models, words) for title, columns in found]


def _table(
    title: str, columns: Sequence[tuple[str, str]], models: Sequence[scores.Measured], words: Mapping[str, str]
) -> dict[str, Any]:
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
    heads = [
        {"name": head, "unit": "%" if shares[name] else "", "meaning": meaning(name, words)} for head, name in columns
    ]
    return {
        **{"title": title, "heads": heads, "rows": rows, "meaning": meaning(title.partition(" by ")[0], words)},
        "over": over(own, [name for name in shares if shares[name]]),
    }


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
    rewards = dict.fromkeys(str(each.get("as") or each.get("use")) for each in stage.body.get("rewards") or ())
    return ", ".join(rewards) if stage.body.get("problems") else ""


def report_of(stage: Stage) -> dict[str, Any]:
    """The sample stage's `report.json`; empty where there is none that can be read."""
    try:
        found = read_json(stage.folder / "report.json")
    except (R1Error, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "rows" in found else {}


# --- data, cost, lineage ---------------------------------------------------------------------------------


def filtered(facts: RunFacts) -> list[dict[str, Any]]:
    """Each sample stage: what its filters left, and what its rows are like."""
    found = []
    for stage in facts.of("sample"):
        report = report_of(stage)
        if report:
            told = {
                "stage": stage,
                "report": report,
                "charts": [bars.funnel(report, form) for form in (bars.WIDE, bars.NARROW)],
                "like": _like(report),
            }
            found.append({**told, "health": curves.health(curves.columns(stage))})
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
                "sampled": _counted(sampled),
                "learned": _counted(learned),
            }
        )
    return rows


def _counted(tokens: float) -> str:
    return "" if not tokens else f"{tokens:,.0f}" if abs(tokens) < 1e15 else number(tokens)


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
                ("~" if row.spent.is_estimate(name) else "") + number(value) if value else ""
                for name in ("trained", "sampled", "traces", "graded", "budget")
                for value in (getattr(row.spent, name),)
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


def pipeline(facts: RunFacts, lines: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The pipeline as a drawing and as a list for a narrow page; no drawing of a plan without stages."""
    found = graph.boxes(facts, lines)
    return {"drawing": graph.graph(found) if found else None, "boxes": found}
