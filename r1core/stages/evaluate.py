"""`evaluate`: models on held-out problems, as one table; the same measure serves within training.

The first reward says what is correct (estimates.py has the arithmetic); the means of the other
rewards are reported from the first set. The same problems get the same keys whichever model answers
and whenever, so two models, or two moments of one, differ by their weights alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1core.components import Policy, Sampler, Use
from r1core.events import StepDone
from r1core.recipe.schema import EvalSet, EvaluateSpec
from r1core.scoring import ScoringService
from r1core.stages.base import Job, shown
from r1core.stages.estimates import broken_down, interval, mean, pass_at_k
from r1core.stages.problems import first
from r1core.stages.sampling import sample_groups
from r1core.store import MetricsWriter, rollout_row, write_json, write_rows
from r1core.types import Floats, Group, Problem, Verdict

CORRECT = 0.5
"""An answer is correct when the first reward gives it at least this."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one model did on all sets: metrics in 0..1 (length in tokens), intervals, and the answers."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    groups: dict[str, list[Group]]

    def row(self, model: str) -> dict[str, Any]:
        """The model's row of `results.json`."""
        metrics: dict[str, Any] = dict(sorted(self.metrics.items()))
        for name, limits in self.intervals.items():
            metrics[f"{name}_ci95"] = list(limits)
        return {"model": model, "metrics": metrics}


def run(job: Job) -> dict[str, float]:
    """Measure every model; leaves the answers in `data/<model>/<set>/` and `data/results.json` with the rows."""
    spec = job.stage.stage.evaluate
    assert spec is not None, "an evaluate stage says what to measure"
    models = job.stage.stage.models
    job.started(len(models))
    rows: list[dict[str, Any]] = []
    with job.scoring() as scoring, MetricsWriter(job.folder / "metrics.jsonl") as writer:
        for number, model in enumerate(models, start=1):
            policy = job.policy().open(job.artifacts[model], trainable=False)
            measured = measure(job, spec, policy, job.sampler(policy), scoring, model=model)
            rows.append(measured.row(model))
            for name, groups in measured.groups.items():
                write_rows(job.folder / "data" / model / name, _answers(groups))
            logged = {f"{model}/{name}": value for name, value in measured.metrics.items()}
            job.step(_event(job, number, len(models), logged, measured), writer)
    write_json(job.folder / "data" / "results.json", rows)
    return job.last_metrics


def measure(
    job: Job,
    spec: EvaluateSpec,
    policy: Policy,
    sampler: Sampler,
    scoring: ScoringService,
    *,
    model: str | None = None,
) -> Measured:
    """One model on every set. `model` selects the sets meant for it; within training all sets are."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    groups: dict[str, list[Group]] = {}
    for name, wanted in spec.sets.items():
        if wanted.models is not None and model is not None and model not in wanted.models:
            continue
        asked = _problems(job, wanted)
        groups[name] = scoring.score(_answered(job, policy, sampler, asked, wanted, name, spec.chunk))
        correct = correctness(groups[name], scoring.correct_part, wanted.k)
        metrics[name], intervals[name] = mean(correct), interval(correct, answers=wanted.samples)
        metrics.update(broken_down(name, asked, correct, wanted.by))
        if len(groups) == 1:
            metrics.update(details(groups[name], scoring.correct_part))
    scoring.metrics()  # what was measured here says nothing about the rewards of training
    return Measured(metrics=metrics, intervals=intervals, groups=groups)


def correctness(groups: Sequence[Group], part: str, k: int) -> Floats:
    """pass@k of each problem, (P,); NaN where there is no verdict on any of its answers."""
    values = []
    for group in groups:
        marks = [s.parts[part] >= CORRECT for s in group.scores if s.known and part in s.parts]
        values.append(pass_at_k(len(marks), sum(marks), k) if marks else math.nan)
    return np.array(values, dtype=np.float64)


def details(groups: Sequence[Group], correct_part: str) -> dict[str, float]:
    """Means of the other rewards, and what the answers look like."""
    found: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        for score in group.scores:
            for part, value in score.parts.items():
                if part != correct_part:
                    found[part].append(value)
        for rollout in group.rollouts:
            found["length"].append(len(rollout.completion_ids))
            found["clipped_ratio"].append(rollout.response.finish == "length")
    return {name: mean(values) for name, values in found.items()}


def _problems(job: Job, wanted: EvalSet) -> list[Problem]:
    assert isinstance(wanted.problems, Use), "the plan resolves problem slots"
    return first(job.source(wanted.problems), wanted.limit, seed=job.plan.seed)


def _answered(
    job: Job, policy: Policy, sampler: Sampler, problems: Sequence[Problem], wanted: EvalSet, name: str, chunk: int
) -> list[Group]:
    """All answers of one set, chunk by chunk."""
    groups: list[Group] = []
    for start in range(0, len(problems), chunk):
        groups += sample_groups(
            sampler,
            policy,
            problems[start : start + chunk],
            samples=wanted.samples,
            max_new_tokens=job.stage.stage.sampling.max_new_tokens.at(0, 1),
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            key=lambda index, sample, start=start: job.key("evaluate", name, start + index, sample),
        )
    return groups


def _answers(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        rollout_row(rollout, score, Verdict(keep=True))
        for group in groups
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]


def _event(job: Job, step: int, total: int, metrics: dict[str, float], measured: Measured) -> StepDone:
    answered = next((group for groups in measured.groups.values() for group in groups), None)
    sample = shown(answered.rollouts[0], answered.scores[0]) if answered is not None else None
    return StepDone(stage=job.stage.id, step=step, total=total, metrics=metrics, sample=sample)
