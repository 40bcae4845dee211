"""`train`: drive a trainer's generator, and do between its steps what no trainer should have to do.

Between two steps the core logs, shows, watches for numbers that are not finite, evaluates, and at the
end of the planned steps decides whether to go on (`extend`, legs.py). Ends with `model/`, a plain
Hugging Face folder.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

from r1core.components import ProblemSource, Trainer
from r1core.errors import NumericsError
from r1core.events import StepDone
from r1core.recipe.schema import Scratch
from r1core.stages.base import Job, shown
from r1core.stages.context import Context
from r1core.stages.evaluate import measure
from r1core.stages.legs import Legs
from r1core.store import MetricsWriter
from r1core.types import Step

MAX_SKIPPED = 3
"""Steps in a row with a loss or gradient that is not finite, after which the stage stops."""


def run(job: Job) -> dict[str, float]:
    """Train the stage's model and leave it in `model/`."""
    stage = job.stage.stage
    assert stage.train is not None, "a train stage has a trainer"
    policy = job.policy().open(_start(job), trainable=True)
    trainer: Trainer = job.build(stage.train, "trainer")
    legs, numbers = Legs(job), _Numbers(job)
    with job.scoring() as scoring, MetricsWriter(job.folder / "metrics.jsonl") as writer:
        context = Context(job, policy, scoring, legs)
        begun = time.monotonic()
        for step in trainer.run(context):
            legs.done += 1
            metrics = {**step.metrics, **context.take_metrics(), "time/step_s": time.monotonic() - begun}
            if stage.evaluate is not None and legs.evaluation_due():
                measured = measure(job, stage.evaluate, policy, context.sampler(), scoring)
                metrics |= {f"eval/{name}": value for name, value in measured.metrics.items()}
            sample = shown(step.sample, step.score) if step.sample is not None else None
            event = StepDone(stage=job.stage.id, step=legs.done, total=legs.total, metrics=metrics, sample=sample)
            job.step(event, writer)
            numbers.watch(step, legs.done)
            begun = time.monotonic()
    policy.export(job.folder / "model")
    for leftover in ("scratch", "reference"):
        shutil.rmtree(job.folder / leftover, ignore_errors=True)
    return {**job.last_metrics, **numbers.told(legs.done)}


def _start(job: Job) -> Path:
    """The folder of the model to start from; made here when the stage starts from scratch."""
    model = job.stage.stage.model
    if not isinstance(model, Scratch):
        assert model is not None, "the plan checks that a train stage has a model"
        return job.artifacts[model]
    folder = job.folder / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    source = next(data for data in job.stage.stage.data if not isinstance(data, str))
    corpus: ProblemSource = job.source(source)
    corpus.write_tokenizer(folder)
    job.policy().create(folder, model.scratch, seed=job.key("weights") % 2**31)
    return folder


class _Numbers:
    """Counts steps whose numbers were not finite: those the policy skipped, and those that a trainer let through."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._in_a_row = 0
        self._count = 0

    def watch(self, step: Step, number: int) -> None:
        """Take note of one step. Raises NumericsError at the third in a row."""
        metrics = step.metrics
        bad = bool(metrics.get("skipped")) or not math.isfinite(metrics.get("loss", 0.0))
        self._in_a_row = self._in_a_row + 1 if bad else 0
        self._count += bad
        if self._in_a_row >= MAX_SKIPPED:
            raise NumericsError(
                f"loss or gradient was not finite in {self._in_a_row} steps in a row",
                where=f"stages.{self._job.stage.id}, step {number}",
                fix=f"lower the learning rate; the steps before are in {self._job.folder / 'metrics.jsonl'}",
            )

    def told(self, steps: int) -> dict[str, float]:
        """The count as a metric, said aloud when it is not 0."""
        if self._count:
            self._job.note(f"{self._count} of {steps} steps were skipped: loss or gradient was not finite")
        return {"skipped_steps": float(self._count)}
