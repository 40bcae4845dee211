"""`sample`: several answers to each problem, scored, marked by the filters, kept as a dataset.

The unit of replay is a chunk of problems. All answers stay in `data/` with the verdict on each:
filters mark, they do not delete; who trains on the data reads what was kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from r1core.components import DataFilter
from r1core.errors import RefusedError
from r1core.events import SampleShown, StepDone
from r1core.scoring import ScoringService
from r1core.stages.base import Job
from r1core.stages.sampling import sample_groups
from r1core.store import MetricsWriter, rollout_row, write_rows
from r1core.types import Group, Verdict


def run(job: Job) -> dict[str, float]:
    """Fill `data/` and say what became of the answers."""
    stage = job.stage.stage
    spec = stage.sample
    assert spec is not None, "a sample stage has a spec"
    assert job.stage.model is not None, "the plan checks that a sample stage has a model"
    policy = job.policy().open(job.artifacts[job.stage.model], trainable=False)
    sampler = job.sampler(policy)
    filters = [job.build(use, "filter") for use in stage.filters]
    problems = iter(job.stream().take(spec.prompts, step=0, total=1))
    units = -(-spec.prompts // spec.chunk)
    job.started(units)
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    with job.scoring() as scoring, MetricsWriter(job.folder / "metrics.jsonl") as writer:
        for unit in range(units):
            chunk = list(islice(problems, spec.chunk))
            groups = sample_groups(
                sampler,
                policy,
                chunk,
                samples=spec.samples,
                max_new_tokens=stage.sampling.max_new_tokens.at(0, 1),
                temperature=stage.sampling.temperature.at(0, 1),
                top_p=stage.sampling.top_p,
                key=lambda index, sample, unit=unit: job.key("sample", unit, index, sample),
            )
            if stage.rewards:
                groups = scoring.score(groups)
            for group in groups:
                verdicts = mark(group, filters)
                counts.update(verdict.reason or "kept" for verdict in verdicts)
                rows += _rows(group, verdicts)
            job.step(_unit(job.stage.id, unit, units, groups, counts, scoring), writer)
    if not counts["kept"]:
        raise RefusedError(
            f"the filters kept none of {sum(counts.values())} answers ({_told(counts)})",
            where=f"stages.{job.stage.id}",
            fix="sample more, loosen the filters, or look at the model it samples from",
        )
    write_rows(job.folder / "data", rows)
    job.note(f"kept {counts['kept']} of {sum(counts.values())} answers ({_told(counts)})")
    return {**job.last_metrics, **{f"filter/{reason}": float(count) for reason, count in sorted(counts.items())}}


def mark(group: Group, filters: Sequence[DataFilter]) -> list[Verdict]:
    """One verdict for each rollout: the first filter that rejects it gives the reason; later ones do not see it."""
    verdicts: list[Verdict | None] = [None] * len(group.rollouts)
    alive = list(range(len(group.rollouts)))
    for number, score in enumerate(group.scores):
        if not score.known:
            verdicts[number] = Verdict(keep=False, reason="infrastructure")
    alive = [number for number in alive if verdicts[number] is None]
    for each in filters:
        survivors = group.keep([number in alive for number in range(len(group.rollouts))])
        judged = each.judge(survivors) if alive else []
        for number, verdict in zip(alive, judged, strict=True):
            if not verdict.keep:
                verdicts[number] = verdict
        alive = [number for number in alive if verdicts[number] is None]
    return [verdict or Verdict(keep=True) for verdict in verdicts]


def _rows(group: Group, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    scores = group.scores or (None,) * len(group.rollouts)
    return [
        rollout_row(rollout, score, verdict)
        for rollout, score, verdict in zip(group.rollouts, scores, verdicts, strict=True)
    ]


def _unit(
    stage: str, unit: int, units: int, groups: Sequence[Group], counts: Counter[str], scoring: ScoringService
) -> StepDone:
    total = sum(counts.values())
    group = groups[0]
    metrics = {
        "kept": counts["kept"] / max(total, 1),
        "completions/mean_length": sum(len(r.completion_ids) for g in groups for r in g.rollouts)
        / max(sum(len(g.rollouts) for g in groups), 1),
        **scoring.metrics(),
    }
    shown = SampleShown(
        question=group.problem.question,
        text=group.rollouts[0].response.prefilled + group.rollouts[0].response.text,
        score=group.scores[0].value if group.scores and group.scores[0].known else None,
    )
    return StepDone(stage=stage, step=unit + 1, total=units, metrics=metrics, sample=shown)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
