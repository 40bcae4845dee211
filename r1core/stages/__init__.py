"""The stage kinds, `import`, `sample`, `train`, `evaluate`, `review`, `signals`: modules with `run(job) -> metrics`."""

from __future__ import annotations

from dataclasses import replace

from r1core.stages import evaluate, importing, review, sample, signals, train
from r1core.stages.base import Job
from r1core.stages.golds import UNREADABLE, check_golds_of

RUNNERS = {
    "import": importing.run,
    "sample": sample.run,
    "train": train.run,
    "evaluate": evaluate.run,
    "review": review.run,
    "signals": signals.run,
}


def run_stage(job: Job) -> dict[str, float]:
    """Run one stage and return its last metrics. Raises what stopped it; the folder is then left unfinished."""
    left_out = check_golds_of(job.plan, job.stage, job.artifacts, job.note)
    metrics = RUNNERS[job.stage.kind](replace(job, left_out=left_out))
    if job.stage.stage.scoring.unreadable_golds == "skip" and job.stage.stage.rewards:
        metrics = {**metrics, UNREADABLE: float(sum(map(len, left_out.values())))}
    return metrics
