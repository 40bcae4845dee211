"""A run: what is stale, what runs next, what runs side by side, and what is left at the end.

    plan -> states of the stages -> processes, as inputs become ready -> results.json

A stage is run when its folder is not finished under the plan's fingerprint. Finished stages are kept
whatever happens later, so the same command goes on where it stopped.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from r1core.errors import Interrupted
from r1core.events import (
    Event,
    Listener,
    RunFinished,
    RunStarted,
    StageFinished,
    StageNote,
    StageRow,
    StageSkipped,
    StageStarted,
    StepDone,
    silent,
)
from r1core.plugins import Observers, PluginHost
from r1core.processes import Finished, StageProcess, prepare
from r1core.recipe.plan import Plan, StagePlan, make_plan, write_resolved
from r1core.recipe.resolve import resolve
from r1core.stages import run_stage
from r1core.stages.base import Job
from r1core.store import RunDirectory, read_json, write_json, write_text
from r1core.types import Step


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run left: its folder, and the rows of `results.json`."""

    folder: Path
    rows: tuple[Mapping[str, Any], ...]

    def model(self, stage: str) -> Path:
        """The Hugging Face folder that a stage left."""
        return self.folder / "stages" / stage / "model"

    def metrics(self, stage: str) -> dict[str, Any]:
        """The evaluated metrics of one model. Raises KeyError when it was not evaluated."""
        return next(dict(row["metrics"]) for row in self.rows if row["model"] == stage)


def run_plan(
    plan: Plan,
    host: PluginHost,
    run_dir: Path | None = None,
    *,
    from_stage: str | None = None,
    until_stage: str | None = None,
    jobs: int | None = None,
    listener: Listener = silent,
) -> Run:
    """Run what is not finished of `plan`, in `run_dir` (default `runs/<name>`)."""
    with RunDirectory.open(run_dir or Path("runs") / plan.name) as directory:
        return _Pipeline(plan, host, directory, listener).run(from_stage, until_stage, jobs or default_jobs())


def default_jobs() -> int:
    """One stage at a time for each core; one in all where stages would share an accelerator."""
    if Path("/dev/nvidia0").exists() or sys.platform == "darwin":
        return 1
    return len(os.sched_getaffinity(0))


class _Pipeline:
    def __init__(self, plan: Plan, host: PluginHost, directory: RunDirectory, listener: Listener) -> None:
        self.plan = plan
        self.host = host
        self.directory = directory
        self.listener = listener
        self.observers: Observers = host.observers(
            plan.recipe.observers, lambda text: listener(StageNote(stage="", text=text))
        )
        self.begun = time.monotonic()

    def run(self, from_stage: str | None, until_stage: str | None, jobs: int) -> Run:
        folder = self.directory.path
        wanted = self._wanted(until_stage)
        states = self._states(wanted, from_stage)
        write_text(folder / "recipe.resolved.yaml", write_resolved(self.plan))
        write_json(folder / "plugins.lock", self.plan.lock)
        rows = tuple(
            StageRow(stage.id, stage.kind, stage.stage.train.use if stage.stage.train else "", states[stage.id])
            for stage in wanted
        )
        self.listener(RunStarted(folder=str(folder), rows=rows, profile=self.plan.profile))
        self.observers.run_start(folder=folder, recipe=self.plan.recipe.model_dump(mode="json", by_alias=True))
        error = "interrupted"
        try:
            self._work_off(wanted, states, jobs)
            error = ""
        except Exception as failure:
            error = str(failure)
            raise
        except KeyboardInterrupt:
            raise Interrupted(
                "interrupted", where=str(folder), fix="finished stages are kept; the same command goes on"
            ) from None
        finally:
            self.observers.run_end(folder=folder, error=error)
        return self._finish(wanted)

    def _wanted(self, until: str | None) -> list[StagePlan]:
        kept = self.plan.ancestors([until]) if until is not None else frozenset(self.plan.fingerprints)
        return [stage for stage in self.plan.stages if stage.id in kept]

    def _states(self, wanted: list[StagePlan], from_stage: str | None) -> dict[str, str]:
        """What each stage is before the run: "unchanged", or why it will run."""
        forced = self.plan.dependents([from_stage]) if from_stage is not None else frozenset()
        words = {"finished": "unchanged", "missing": "new", "partial": "unfinished"}
        states = {}
        for stage in wanted:
            state = self.directory.stage(stage.id).state(stage.fingerprint)
            states[stage.id] = "stale" if stage.id in forced and state == "finished" else words.get(state, state)
        return states

    def _work_off(self, wanted: list[StagePlan], states: Mapping[str, str], jobs: int) -> None:
        done = {stage.id for stage in wanted if states[stage.id] == "unchanged"}
        for stage in wanted:
            if stage.id in done:
                self.listener(StageSkipped(stage=stage.id))
        waiting = [stage for stage in wanted if stage.id not in done]
        running: dict[Any, StageProcess] = {}
        if waiting:
            prepare(sorted({module for component in self.plan.components for module in component.cls.preload}))
        try:
            while waiting or running:
                ready = [stage for stage in waiting if done.issuperset(stage.inputs)]
                for stage in ready[: jobs - len(running)]:
                    waiting.remove(stage)
                    process = self._start(stage)
                    running[process.pipe] = process
                for pipe in wait(list(running)):
                    self._hear(running, pipe, done)
        finally:
            for process in running.values():
                process.kill()

    def _start(self, stage: StagePlan) -> StageProcess:
        directory = self.directory.stage(stage.id)
        inputs = {name: self.plan.fingerprints[name] for name in stage.inputs}
        directory.begin(stage.fingerprint, inputs=inputs)
        self.listener(StageStarted(stage=stage.id))
        self.observers.stage_start(folder=directory.path, stage=stage.id)
        arguments = {"run_dir": str(self.directory.path), "stage": stage.id}
        return StageProcess(stage.id, run_in_process, arguments, threads=stage.stage.threads)

    def _hear(self, running: dict[Any, StageProcess], pipe: Any, done: set[str]) -> None:
        process = running[pipe]
        try:
            heard = process.receive()
        except BaseException:
            del running[pipe]
            raise
        if not isinstance(heard, Finished):
            if isinstance(heard, StepDone):
                self.observers.step_end(stage=heard.stage, step=heard.step, report=Step(metrics=heard.metrics))
            self.listener(heard)
            return
        del running[pipe]
        process.pipe.close()
        directory = self.directory.stage(process.stage)
        directory.finish(heard.metrics, wall_s=heard.wall_s, cpu_s=heard.cpu_s)
        done.add(process.stage)
        self.observers.stage_end(stage=process.stage, metrics=heard.metrics)
        self.listener(StageFinished(stage=process.stage, wall_s=heard.wall_s, metrics=heard.metrics))

    def _finish(self, wanted: list[StagePlan]) -> Run:
        rows: list[Mapping[str, Any]] = []
        for stage in wanted:
            if stage.kind == "evaluate":
                rows += read_json(self.directory.stage(stage.id).data / "results.json")
        wall_s = round(time.monotonic() - self.begun, 3)
        if rows:
            results = {
                "recipe": self.plan.name,
                "profile": self.plan.profile,
                "seed": self.plan.seed,
                "wall_s": wall_s,
                "rows": rows,
            }
            write_json(self.directory.path / "results.json", results)
        self.listener(RunFinished(folder=str(self.directory.path), rows=tuple(rows), wall_s=wall_s))
        return Run(folder=self.directory.path, rows=tuple(rows))


def run_in_process(emit: Callable[[Event], None], arguments: Mapping[str, Any]) -> dict[str, float]:
    """A stage process's work: make the plan again from the run's resolved recipe, and run one stage of it."""
    folder = Path(arguments["run_dir"])
    plan = make_plan(resolve(folder / "recipe.resolved.yaml"), PluginHost.discover())
    stage = plan.stage(arguments["stage"])
    directory = RunDirectory(folder)
    artifacts = {name: _artifact(directory, plan.stage(name)) for name in stage.inputs}
    own = directory.stage(stage.id)
    job = Job(plan=plan, stage=stage, folder=own.path, artifacts=artifacts, emit=emit)
    metrics = run_stage(job)
    shutil.rmtree(own.path / "scratch", ignore_errors=True)
    return metrics


def _artifact(directory: RunDirectory, stage: StagePlan) -> Path:
    own = directory.stage(stage.id)
    return own.model if stage.kind in ("import", "train") else own.data
