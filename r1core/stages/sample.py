"""`sample`: several answers to each problem, scored, marked by the filters, kept as a dataset.

The unit of replay is a chunk of problems, and each leaves one part in `data/`. All answers stay there
with the verdict on each: filters mark, they do not delete; who trains on the data reads what was kept.
A finite source is not repeated, so "at most k for each problem" means what it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from r1core.choices import Use
from r1core.components import DataFilter
from r1core.errors import RecipeError, RefusedError
from r1core.events import StepDone
from r1core.scoring import ScoringService
from r1core.stages.asking import Answers, answers_of
from r1core.stages.base import Job, shown
from r1core.stages.estimates import mean
from r1core.stages.problems import first_of
from r1core.stages.sampling import unheard
from r1core.stages.units import Units
from r1core.store import MetricsWriter, rollout_row
from r1core.store.metrics import METRICS
from r1core.types import Group, Problem, Verdict

KEPT = "kept"


def run(job: Job) -> dict[str, float]:
    """Fill `data/` and say what became of the answers."""
    spec = job.stage.stage.sample
    assert spec is not None, "the plan checks what a sample stage needs"
    problems = _problems(job, spec.prompts)
    chunks = [problems[start : start + spec.chunk] for start in range(0, len(problems), spec.chunk)]
    with (
        Units(job, chunks) as units,
        job.scoring() as scoring,
        MetricsWriter(job.folder / METRICS) as writer,
    ):
        job.started(len(chunks), done=len(units.finished))
        counts = _taken_over(job, units, writer)
        answered = answers_of(job)
        filters = [job.build(use, "filter") for use in job.stage.stage.filters]
        for unit in units.left():
            groups = _scored(job, scoring, answered, chunks[unit], unit)
            verdicts = [mark(group, filters) for group in groups]
            counts.update(fate(verdict) for marked in verdicts for verdict in marked)
            event = _event(job.stage.id, unit + 1, len(chunks), groups, counts, scoring)
            told = {"metrics": event.metrics, "counts": dict(counts)}
            units.finish(_rows(groups, verdicts), job.folder / "data", part=unit, told=told)
            job.step(event, writer)
    return {**job.last_metrics, **_concluded(job, counts)}


def _scored(job: Job, scoring: ScoringService, answered: Answers, chunk: Sequence[Problem], unit: int) -> list[Group]:
    """The answers to one chunk, scored while they are sampled where there are rewards."""
    spec = job.stage.stage.sample
    assert spec is not None, "the plan checks what a sample stage needs"
    if not job.stage.stage.rewards:
        return answered(chunk, unit, unheard)
    samples = spec.samples if spec.answers == "model" else 1
    with scoring.batch([samples] * len(chunk)) as batch:
        return batch.finish(answered(chunk, unit, batch.add))


def _taken_over(job: Job, units: Units, writer: MetricsWriter) -> Counter[str]:
    """Log the units that an earlier process did; returns what has become of their answers."""
    for step, entry in enumerate(units.finished, start=1):
        job.log(step, entry["metrics"], writer)
    return Counter(units.finished[-1]["counts"] if units.finished else {})


def _concluded(job: Job, counts: Counter[str]) -> dict[str, float]:
    """Say what became of all answers. Raises RefusedError when none was kept."""
    told = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    if not counts[KEPT]:
        raise RefusedError(
            f"the filters kept none of {counts.total()} answers ({told})",
            where=f"stages.{job.stage.id}",
            fix="look at the model it samples from; or sample more or loosen the filters, "
            f"and start the stage over with --from {job.stage.id}",
        )
    job.note(f"kept {counts[KEPT]} of {counts.total()} answers ({told})")
    return {f"filter/{reason}": float(count) for reason, count in sorted(counts.items())}


def mark(group: Group, filters: Sequence[DataFilter]) -> list[Verdict]:
    """One verdict for each rollout: the first filter that rejects it gives the reason; later ones do not see it."""
    verdicts = [Verdict(keep=True)] * len(group.rollouts)
    for number, score in enumerate(group.scores):
        if not score.known:
            verdicts[number] = Verdict(keep=False, reason="infrastructure")
    for each in filters:
        alive = [number for number, verdict in enumerate(verdicts) if verdict.keep]
        if not alive:
            break
        survivors = group.keep([verdict.keep for verdict in verdicts])
        for number, verdict in zip(alive, each.judge(survivors), strict=True):
            verdicts[number] = verdict
    return verdicts


def fate(verdict: Verdict) -> str:
    """The word under which a verdict is counted."""
    return KEPT if verdict.keep else verdict.reason or "rejected"


def _problems(job: Job, count: int) -> list[Problem]:
    problems = job.stage.stage.problems
    assert problems is not None, "the plan checks what a sample stage needs"
    point = problems.at(0, 1)
    found = first_of(point, count, job.asked, seed=job.stage.seed)
    named = point.use if isinstance(point, Use) else "the mix"
    if not found:
        raise RecipeError(f"{named} has no problems", where=f"stages.{job.stage.id}.problems")
    if len(found) < count:
        job.note(f"{named} has only {len(found)} problems, {count} were asked for")
    return found


def _rows(groups: Sequence[Group], verdicts: Sequence[Sequence[Verdict]]) -> list[dict[str, Any]]:
    return [
        rollout_row(rollout, score, verdict)
        for group, marked in zip(groups, verdicts, strict=True)
        for rollout, score, verdict in zip(
            group.rollouts, group.scores or (None,) * len(group.rollouts), marked, strict=True
        )
    ]


def _event(
    stage: str, unit: int, units: int, groups: Sequence[Group], counts: Counter[str], scoring: ScoringService
) -> StepDone:
    metrics = {
        "kept": counts[KEPT] / max(counts.total(), 1),
        "completions/mean_length": mean(len(r.completion_ids) for group in groups for r in group.rollouts),
        **scoring.metrics(),
    }
    sample = shown(groups[0].rollouts[0], groups[0].scores[0] if groups[0].scores else None)
    return StepDone(stage=stage, step=unit, total=units, metrics=metrics, sample=sample)
