"""`sample`: several answers to each problem, scored, marked by the filters, kept as a dataset with a report on it.

The unit of replay is a chunk of problems, and each leaves one part in `data/`. All answers stay there
with the verdict on each: filters mark, they do not delete; who trains on the data reads what was kept.
A finite source is not repeated, so "at most k for each problem" means what it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from r1core.choices import Use
from r1core.errors import RecipeError, RefusedError
from r1core.events import StepDone
from r1core.scoring import ScoringService
from r1core.stages.asking import Answering
from r1core.stages.base import Job, shown
from r1core.stages.estimates import mean
from r1core.stages.given import Given, Marked
from r1core.stages.marking import KEPT, Marking, fate, mark
from r1core.stages.problems import first_of
from r1core.stages.report import write_report
from r1core.stages.sampling import unheard
from r1core.stages.units import Chunks, Units
from r1core.store import MetricsWriter, StageDirectory, read_rows, rollout_row
from r1core.store.metrics import METRICS
from r1core.types import Group, Problem, Verdict

__all__ = ["fate", "mark", "run"]

SHOWN_CHARS = 200
"""Of an answer in a message: its end, where final answers are."""
Scored: TypeAlias = Callable[[int], list[Marked]]
"""The groups of a unit, scored where the stage has rewards, with the verdicts that they come with."""


def run(job: Job) -> dict[str, float]:
    """Fill `data/` and say what became of the answers."""
    spec = job.stage.stage.sample
    assert spec is not None, "the plan checks what a sample stage needs"
    given = Given.of(job) if spec.answers == "given" else None
    chunks: Chunks = given if given is not None else _chunks(job)
    _found(job, given.count if given is not None else sum(len(chunks[unit]) for unit in range(len(chunks))))
    progress = StageDirectory(job.folder).progress
    with (
        Units(job, chunks) as units,
        job.scoring() as scoring,
        MetricsWriter(job.folder / METRICS) as writer,
        Answering(job) as answered,
    ):
        job.started(len(chunks), done=len(units.finished))
        counts = _taken_over(job, units, writer)
        marking = _marking(job, units)
        scored = _taken(job, scoring, given) if given is not None else _sampled(job, scoring, answered, chunks)
        for unit in units.left():
            marked = [_judged(marking, each) for each in scored(unit)]
            counts.update(fate(verdict) for each in marked for verdict in each.verdicts)
            beside = {**answered.metrics(), **scoring.metrics()}
            event = _event(job.stage.id, unit + 1, len(chunks), [each.group for each in marked], counts, beside)
            told = {"metrics": event.metrics, "counts": dict(counts), "filters": marking.told()}
            pieces = marking.save(progress, unit)
            units.finish(_rows(marked), job.folder / "data", part=unit, told=told, beside=pieces)
            job.step(event, writer)
    found = write_report(job, marking.told())
    return {**job.last_metrics, **found, **_concluded(job, counts)}


def _rejected(job: Job) -> str:
    """One answer that was not kept, as people see it."""
    row = next((row for row in read_rows(job.folder / "data") if not row["keep"]), None)
    if row is None:
        return ""
    end = (row["prefilled"] + row["text"])[-SHOWN_CHARS:]
    gold = f", reference {str(row['reference'])[:SHOWN_CHARS]!r}"
    return f"; one of them, {row['reason']}{gold}: {'...' if len(end) == SHOWN_CHARS else ''}{end!r}"


def _marking(job: Job, units: Units) -> Marking:
    """The stage's filters, which remember what they did in the units of earlier processes."""
    filters = [job.build(use, "filter") for use in job.stage.stage.filters]
    marking = Marking(filters, units.finished[-1]["filters"] if units.finished else ())
    marking.load(StageDirectory(job.folder).progress, len(units.finished))
    return marking


def _judged(marking: Marking, marked: Marked) -> Marked:
    verdicts = marking.mark(marked.group, marked.verdicts)
    return Marked(group=marked.group, verdicts=tuple(verdicts))


def _taken(job: Job, scoring: ScoringService, given: Given) -> Scored:
    """Answers that are there already."""

    def scored(unit: int) -> list[Marked]:
        marked = given.groups(unit)
        if not job.stage.stage.rewards:
            return marked
        with scoring.batch([len(each.group.rollouts) for each in marked]) as batch:
            groups = batch.finish([each.group for each in marked])
        return [Marked(group=group, verdicts=each.verdicts) for group, each in zip(groups, marked, strict=True)]

    return scored


def _sampled(job: Job, scoring: ScoringService, answered: Answering, chunks: Chunks) -> Scored:
    """Answers that a model is asked for, scored while they are sampled."""
    spec = job.stage.stage.sample
    assert spec is not None, "the plan checks what a sample stage needs"
    samples = spec.samples if spec.answers == "model" else 1

    def scored(unit: int) -> list[Marked]:
        chunk = chunks[unit]
        if job.stage.stage.rewards:
            with scoring.batch([samples] * len(chunk)) as batch:
                groups = batch.finish(answered(chunk, unit, batch.add))
        else:
            groups = answered(chunk, unit, unheard)
        return [Marked(group=group, verdicts=(Verdict(keep=True),) * len(group.rollouts)) for group in groups]

    return scored


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
            f"the filters kept none of {counts.total()} answers ({told}){_rejected(job)}",
            where=f"stages.{job.stage.id}",
            fix="look at the model it samples from; or sample more or loosen the filters, "
            f"and start the stage over with --from {job.stage.id}",
        )
    job.note(f"kept {counts[KEPT]} of {counts.total()} answers ({told})")
    if estimated := job.last_metrics.get("traces/tokens_estimated"):
        job.note(f"the teacher's server did not count all tokens: {int(estimated):,} are estimated by their bytes")
    return {f"filter/{reason}": float(count) for reason, count in sorted(counts.items())}


def _chunks(job: Job) -> list[list[Problem]]:
    """The problems that a model is asked about, by unit."""
    spec, problems = job.stage.stage.sample, job.stage.stage.problems
    assert spec is not None, "the plan checks what a sample stage needs"
    assert problems is not None, "the plan checks what a sample stage needs"
    found = first_of(problems.at(0, 1), spec.sampled, job.asked, seed=job.stage.seed)
    return [found[start : start + spec.chunk] for start in range(0, len(found), spec.chunk)]


def _found(job: Job, count: int) -> None:
    """Say where fewer problems were found than asked for. Raises RecipeError where there are none."""
    stage = job.stage.stage
    assert stage.sample is not None, "the plan checks what a sample stage needs"
    point = stage.problems.at(0, 1) if stage.problems is not None else None
    named = point.use if isinstance(point, Use) else "the mix" if point is not None else "the data"
    if not count:
        raise RecipeError(f"{named} has no problems", where=f"stages.{job.stage.id}.problems")
    if count < (stage.sample.prompts or 0):
        job.note(f"{named} has only {count} problems, {stage.sample.prompts} were asked for")


def _rows(marked: Sequence[Marked]) -> list[dict[str, Any]]:
    return [
        rollout_row(rollout, score, verdict)
        for each in marked
        for rollout, score, verdict in zip(
            each.group.rollouts,
            each.group.scores or (None,) * len(each.group.rollouts),
            each.verdicts,
            strict=True,
        )
    ]


def _event(
    stage: str, unit: int, units: int, groups: Sequence[Group], counts: Counter[str], beside: Mapping[str, float]
) -> StepDone:
    metrics = {
        "kept": counts[KEPT] / max(counts.total(), 1),
        "completions/mean_length": mean(r.about_tokens for group in groups for r in group.rollouts),
        **beside,
    }
    sample = shown(groups[0].rollouts[0], groups[0].scores[0] if groups[0].scores else None)
    return StepDone(stage=stage, step=unit, total=units, metrics=metrics, sample=sample)
