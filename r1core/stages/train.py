"""`train`: drive a trainer's generator, and do between its steps what no trainer should have to do.

Between two steps the core logs, shows, watches for numbers that are not finite (watch.py), evaluates,
saves (progress.py), obeys a request to stop, and at the end of the planned steps decides whether to go
on (`extend`, legs.py). Ends with `model/`, a plain Hugging Face folder.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from r1core.components import Policy, ProblemSource, Trainer
from r1core.events import StepDone
from r1core.recipe.schema import Scratch
from r1core.scoring import ScoringService
from r1core.stages.base import Job, shown
from r1core.stages.context import Context
from r1core.stages.evaluate import measure
from r1core.stages.legs import Legs
from r1core.stages.progress import POLICY, REFERENCE, Progress
from r1core.stages.watch import Watch
from r1core.store import MetricsWriter
from r1core.store.kills import reached
from r1core.store.metrics import METRICS
from r1core.store.rollouts import RolloutsWriter
from r1core.types import Step
from r1core.world import meet

SCRATCH = "scratch"


def run(job: Job) -> dict[str, float]:
    """Train the stage's model and leave it in `model/`."""
    with job.scoring() as scoring:
        return _Training(job, scoring).run()


class _Training:
    """A train stage at work."""

    def __init__(self, job: Job, scoring: ScoringService) -> None:
        stage = job.stage.stage
        assert stage.train is not None, "a train stage has a trainer"
        self.job = job
        self.scoring = scoring
        self.progress = Progress(job)
        start = _start(job)
        self.trainer: Trainer = job.build(stage.train, "trainer")
        self.policy: Policy = job.policy().open(start, trainable=True, head=self.trainer.head)
        self.progress.restore(POLICY, self.policy)
        self.progress.restore_reference()
        self.legs = Legs(job, done=self.progress.done)
        keep = stage.rollouts.keep if job.leads else "nothing"
        self.watch = Watch(job, self.progress.state.get("watch", {}))
        self.rollouts = RolloutsWriter(job.own, keep=keep, last=stage.rollouts.last, done=self.progress.done)
        self.context = Context(job, self.policy, scoring, self.legs, self.rollouts, self.progress, start=start)
        self.context.skip(self.progress.state.get("cursors", {}))

    def run(self) -> dict[str, float]:
        try:
            return self._run()
        finally:
            self.context.close()

    def _run(self) -> dict[str, float]:
        kept = self.progress.metrics_size if self.job.leads else 0
        with MetricsWriter(self.job.own / METRICS, keep=kept) as writer:
            begun = time.monotonic()
            for step in self.trainer.run(self.context):
                reached("unit")
                self.legs.done += 1
                self._record(step, writer, begun)
                self._save(step, writer)
                begun = time.monotonic()
        with self.job.artifact("model") as folder:
            self.policy.export(folder)
        self.rollouts.close()
        for leftover in (SCRATCH, REFERENCE) if self.job.leads else ():
            shutil.rmtree(self.job.folder / leftover, ignore_errors=True)
        return {**self.job.last_metrics, **self.watch.told(self.legs.done)}

    def _record(self, step: Step, writer: MetricsWriter, begun: float) -> None:
        """Measure where that is due; log and show the step; stop where its numbers are bad too often."""
        evaluate = self.job.stage.stage.evaluate
        is_due = evaluate is not None and self.legs.evaluation_due()
        if is_due:
            self.context.settle()  # what it counted belongs to this step, not to the evaluation
        metrics = {**step.metrics, **self.context.take_metrics(), "time/step_s": time.monotonic() - begun}
        if evaluate is not None and is_due:
            with self.context.sampler() as sampler:
                measured = measure(self.job, evaluate, self.policy, sampler, self.scoring)
            metrics |= {f"eval/{name}": value for name, value in measured.metrics.items()}
        metrics = self.job.world.first(metrics)
        sample = shown(step.sample, step.score) if step.sample is not None else None
        event = StepDone(
            stage=self.job.stage.id, step=self.legs.done, total=self.legs.total, metrics=metrics, sample=sample
        )
        self.job.step(event, writer)
        self.watch.step(step, self.legs.done)

    def _save(self, step: Step, writer: MetricsWriter) -> None:
        """Save where the step can be gone on from, when it is time to or the run is to stop."""
        if not step.resumable:
            return
        stopping = self.job.world.any(self.job.stopping())
        if not stopping and not self.job.world.any(self.progress.due()):
            return
        state = {"watch": self.watch.state(), "cursors": self.context.cursors()}
        saved = self.progress.save(self.legs.done, self.context.policies, state, writer, self.rollouts)
        if stopping:
            steps = f"step {self.legs.done} of {self.legs.total}"
            raise self.job.interrupted(f"{steps}, which is saved" if saved else f"{steps}, which could not be saved")


def _start(job: Job) -> Path:
    """The folder of the model to start from; made here when the stage starts from scratch."""
    model = job.stage.stage.model
    if not isinstance(model, Scratch):
        assert model is not None, "the plan checks that a train stage has a model"
        return job.artifacts[model]
    folder = job.folder / SCRATCH
    if job.leads:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        source = next(data for data in job.stage.stage.data if not isinstance(data, str))
        corpus: ProblemSource = job.source(source)
        corpus.write_tokenizer(folder)
        job.policy().create(folder, model.scratch, seed=job.key("weights") % 2**31)
    meet(job.world)
    return folder
