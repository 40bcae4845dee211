"""`evaluate`: models on held-out problems, as one table; the same measure serves within training.

pass@k is the unbiased estimate from n answers (2107.03374): 1 - C(n-c, k) / C(n, k), averaged over
problems; the 95 % interval treats problems as the sample (normal approximation over problem means).
The first reward says what is correct; the other rewards' means are reported from the first set.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1core.components import Policy, Sampler, Use
from r1core.events import SampleShown, StepDone
from r1core.recipe.schema import EvalSet, EvaluateSpec
from r1core.scoring import ScoringService
from r1core.stages.base import Job
from r1core.stages.problems import first
from r1core.stages.sampling import sample_groups
from r1core.store import MetricsWriter, rollout_row, write_json, write_rows
from r1core.types import Floats, Group, Problem, Rollout, Verdict

CORRECT = 0.5
"""An answer is correct when the first reward gives it at least this."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one model did on all sets: metrics in 0..1 (length in tokens), intervals, and the answers."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    groups: dict[str, list[Group]]


def run(job: Job) -> dict[str, float]:
    """Measure every model; leaves the answers in `data/<model>/<set>/` and `data/results.json` with the rows."""
    spec = job.stage.stage.evaluate
    assert spec is not None, "an evaluate stage says what to measure"
    models = job.stage.stage.models
    job.started(len(models))
    rows: list[dict[str, Any]] = []
    with MetricsWriter(job.folder / "metrics.jsonl") as writer:
        for number, model in enumerate(models):
            policy = job.policy().open(job.artifacts[model], trainable=False)
            measured = measure(job, policy, spec, purpose="evaluate", model=model)
            metrics: dict[str, Any] = dict(sorted(measured.metrics.items()))
            for name, interval in measured.intervals.items():
                metrics[f"{name}_ci95"] = list(interval)
            rows.append({"model": model, "metrics": metrics})
            for name, groups in measured.groups.items():
                write_rows(job.folder / "data" / model / name, _answers(groups))
            logged = {f"{model}/{name}": value for name, value in measured.metrics.items()}
            event = StepDone(
                stage=job.stage.id, step=number + 1, total=len(models), metrics=logged, sample=_shown(measured)
            )
            job.step(event, writer)
    write_json(job.folder / "data" / "results.json", rows)
    return job.last_metrics


def measure(job: Job, policy: Policy, spec: EvaluateSpec, *, purpose: str, model: str | None = None) -> Measured:
    """One model on every set. `model` selects the sets meant for it; within training all sets are."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    groups: dict[str, list[Group]] = {}
    sampler = job.sampler(policy)
    with job.scoring() as scoring:
        for name, wanted in spec.sets.items():
            if wanted.models is not None and model is not None and model not in wanted.models:
                continue
            asked = _problems(job, wanted)
            groups[name] = _answered(job, policy, sampler, scoring, asked, wanted, name, spec.chunk)
            correct = _correct(groups[name], scoring.correct_part, wanted.k)
            metrics[name], intervals[name] = float(np.nanmean(correct)), _interval(correct[~np.isnan(correct)])
            metrics.update(_broken_down(name, asked, correct, wanted.by))
            if len(groups) == 1:
                metrics.update(_details(groups[name], scoring.correct_part))
    return Measured(metrics=metrics, intervals=intervals, groups=groups)


def _problems(job: Job, wanted: EvalSet) -> list[Problem]:
    assert isinstance(wanted.problems, Use), "the plan resolves problem slots"
    return first(job.source(wanted.problems), wanted.limit, seed=job.plan.seed)


def _answered(
    job: Job,
    policy: Policy,
    sampler: Sampler,
    scoring: ScoringService,
    problems: Sequence[Problem],
    wanted: EvalSet,
    name: str,
    chunk: int,
) -> list[Group]:
    """All answers of one set, chunk by chunk. The same problems get the same keys whichever model answers."""
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
    return scoring.score(groups)


def _correct(groups: Sequence[Group], part: str, k: int) -> Floats:
    """pass@k of each problem, (P,); NaN where infrastructure lost all its answers."""
    marked = [[s.parts.get(part, 0.0) >= CORRECT for s in group.scores if s.known] for group in groups]
    return np.array([pass_at_k(len(marks), sum(marks), k) if marks else math.nan for marks in marked])


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that at least one of `k` answers is right, from `correct` right ones of `n`."""
    if n - correct < k:
        return 1.0 if correct else 0.0
    return 1.0 - math.prod((n - correct - i) / (n - i) for i in range(k))


def _interval(values: Floats) -> tuple[float, float]:
    """95 % of the mean over problems, within 0..1."""
    if len(values) < 2:
        return (0.0, 1.0)
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return (max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half))


def _broken_down(name: str, problems: Sequence[Problem], values: Floats, by: Sequence[str]) -> dict[str, float]:
    """The mean for each value of each field: `hard/domain=sort`."""
    found: dict[str, list[float]] = defaultdict(list)
    for problem, value in zip(problems, values, strict=True):
        for field in by:
            found[f"{name}/{field}={field_of(problem, field)}"].append(float(value))
    return {key: float(np.nanmean(own)) for key, own in sorted(found.items())}


def field_of(problem: Problem, field: str) -> str:
    """A field of the problem, or of its meta."""
    own: Mapping[str, Any] = {"domain": problem.domain, "language": problem.language}
    return str(own.get(field, problem.meta.get(field, "none")))


def _details(groups: Sequence[Group], correct_part: str) -> dict[str, float]:
    """Means of the other rewards, and what the answers look like."""
    found: dict[str, list[float]] = defaultdict(list)
    rollouts: list[Rollout] = []
    for group in groups:
        rollouts += group.rollouts
        for score in group.scores:
            for part, value in score.parts.items():
                if part != correct_part:
                    found[part].append(value)
    metrics = {part: float(np.mean(values)) for part, values in found.items()}
    metrics["length"] = float(np.mean([len(rollout.completion_ids) for rollout in rollouts]))
    metrics["clipped_ratio"] = float(np.mean([rollout.response.finish == "length" for rollout in rollouts]))
    return metrics


def _answers(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        rollout_row(rollout, score, Verdict(keep=True))
        for group in groups
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]


def _shown(measured: Measured) -> SampleShown:
    group = next(iter(measured.groups.values()))[0]
    response = group.rollouts[0].response
    return SampleShown(
        question=group.problem.question, text=response.prefilled + response.text, score=group.scores[0].value
    )
