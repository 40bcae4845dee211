"""Folders that look like runs, written by hand: what a stage leaves, with whatever text a model may have written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.store.rollouts import TEXT
from r1core.store.rows import write_rows

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m \u202eevil\u202c {{7*7}} </pre> a\u200bb"
)
RECIPE = """\
# toy, profile smoke: every default written out.
r1: 1
name: toy
description: A toy of a run.
seed: 3
stages:
  base: {train: {use: sft}, data: [{use: corpus}]}
  zero: {train: {use: rl, steps: 2}, model: base, problems: {use: sums}, rewards: [{use: exact, as: exact}]}
  traces: {sample: {prompts: 4}, model: zero, problems: {use: sums}}
  student: {train: {use: sft}, model: base, data: [traces]}
  table:
    evaluate: {sets: {pass@1: {samples: 2}, greedy: {samples: 1}}}
    models: [base, zero, student]
    rewards: [{use: exact, as: exact}]
"""
INPUTS: Mapping[str, Sequence[str]] = {
    "base": (),
    "zero": ("base",),
    "traces": ("zero",),
    "student": ("base", "traces"),
    "table": ("base", "zero", "student"),
}


def planned(folder: Path) -> Path:
    """A run of which only the plan is there."""
    (folder / "stages").mkdir(parents=True)
    (folder / "recipe.resolved.yaml").write_text(RECIPE)
    return folder


def stage(folder: Path, name: str, *, status: str = "finished", **changed: Any) -> Path:
    """A stage's record and metrics."""
    own = folder / "stages" / name
    own.mkdir(parents=True, exist_ok=True)
    record = {
        "status": status,
        "fingerprint": f"mark of {name}",
        "inputs": {each: f"mark of {each}" for each in INPUTS[name]},
        "made_from": {},
        "files": {},
        "metrics": {},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:07+00:00" if status == "finished" else "",
        "wall_s": 7.0 if status == "finished" else 0.0,
        "cpu_s": 6.0,
    }
    (own / "stage.json").write_text(json.dumps({**record, **changed}))
    return own


def metrics(folder: Path, rows: Sequence[Mapping[str, float | None]]) -> None:
    """`metrics.jsonl`, steps from 1."""
    lines = [json.dumps({**row, "step": step}) for step, row in enumerate(rows, start=1)]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def answer(problem: str, text: str, *, score: float, thinking: str | None = None) -> dict[str, Any]:
    """A row of answers."""
    return {
        "id": problem,
        "sample": 0,
        "messages": [{"role": "user", "content": f"What is {problem}? {text}"}],
        "reference": "4",
        "domain": "sums",
        "language": "en",
        "meta": {},
        "prefilled": "",
        "text": f"<think>{thinking or text}</think><answer>{text}</answer>",
        "thinking": thinking or text,
        "answer": text,
        "finish": "stop",
        "tokens": 9,
        "score": score,
        "status": "verdict",
        "score_reason": text,
        "parts": {"exact": score},
        "keep": True,
        "reason": "",
    }


def whole(folder: Path, text: str = HOSTILE) -> Path:
    """A finished run, whose models write `text`."""
    planned(folder)
    for name in INPUTS:
        own = stage(folder, name)
        metrics(own, [{"loss": 1.0 / step, "grad_norm": 1.0} for step in (1, 2, 3)])
    zero = folder / "stages" / "zero"
    metrics(
        zero, [{"reward": x, "rewards/exact/mean": x, "frac_reward_zero_std": 0.5, "eval/held": x} for x in (0.1, 0.4)]
    )
    for step in (0, 1):
        rows = [answer(f"2+{i}", text, score=float(i > 1), thinking=text * (step + 1)) for i in range(4)]
        write_rows(zero / "rollouts", rows, part=step, columns=TEXT)
    for place, model in enumerate(("base", "zero", "student")):
        rows = [answer(f"3+{i}", f"{text} {model}", score=float(i < place)) for i in range(3)]
        again = [{**row, "sample": 1, "score": 1.0, "parts": {"exact": 1.0}} for row in rows]
        both = [row for pair in zip(rows, again, strict=True) for row in pair]
        write_rows(folder / "stages" / "table" / "data" / model / "pass@1", both)
        write_rows(folder / "stages" / "table" / "data" / model / "greedy", rows[:2])
    reasons = {"wrong": 3, text: 1}
    told = {"use": "right", "options": {}, "seen": 16, "rejected": 4, "share": 0.25, "reasons": reasons}
    report = {"rows": 16, "kept": 12, "filters": [told], "before_filters": {}, "all": {}, "kept_rows": {}}
    (folder / "stages" / "traces" / "report.json").write_text(json.dumps(report))
    values = {"base": 0.1, "zero": 0.5, "student": 0.3}
    table = [{"model": m, "metrics": {"pass@1": v, "pass@1_ci95": [v - 0.05, v + 0.05]}} for m, v in values.items()]
    (folder / "results.json").write_text(
        json.dumps({"recipe": "toy", "profile": "smoke", "seed": 3, "wall_s": 40.0, "rows": table})
    )
    lock = {"exact": {"distribution": "r1core", "version": "0.1.0", "source_hash": "5" * 64}}
    (folder / "plugins.lock").write_text(json.dumps({"r1core": "0.1.0", "components": lock, "environments": {}}))
    return folder
