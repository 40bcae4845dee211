"""A run: what is stale, what runs next, what runs side by side, and what is left at the end.

    plan -> states of the stages -> processes, as inputs become ready -> results.json

A stage is run when its folder is not finished under the plan's fingerprint. Finished stages are kept
whatever happens later, and one that is half done goes on from what it has saved, so the same command
goes on where it stopped. A first Ctrl-C or SIGTERM lets the stages at work save; a second ends them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from r1core.errors import Interrupted
from r1core.events import (
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
from r1core.interrupts import Interrupts
from r1core.plugins import Observers, PluginHost
from r1core.preflight import check_half_done, check_machine, check_reviews, check_sources, needed
from r1core.processes import Finished, StageProcess, prepare
from r1core.recipe.checks import ARTIFACT
from r1core.recipe.plan import Plan, StagePlan, write_resolved
from r1core.scheduling import by_chain, default_jobs
from r1core.stages.child import arguments_of, run_in_process
from r1core.stages.earlier import check_alike
from r1core.stages.gates import check_gates
from r1core.store import RunDirectory, read_json, write_json, write_text
from r1core.store.rows import PRELOAD
from r1core.types import Step

UNCHANGED = "unchanged"
RESULTS = "results.json"
GOES_ON = "what was saved is kept; the same command goes on"


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
        return {row["model"]: dict(row["metrics"]) for row in self.rows}[stage]


def run_plan(
    plan: Plan,
    host: PluginHost,
    run_dir: Path | None = None,
    *,
    from_stage: str | Sequence[str] | None = None,
    until_stage: str | None = None,
    jobs: int | None = None,
    listener: Listener = silent,
) -> Run:
    """Run what is not finished of `plan`, in `run_dir` (default `runs/<name>`).

    Raises Interrupted when it was asked to stop (SIGINT, SIGTERM) before all was finished, KeyboardInterrupt when it
    was asked twice.
    """
    folder = run_dir or Path("runs") / plan.name
    kept = plan.ancestors([until_stage]) if until_stage is not None else frozenset(plan.fingerprints)
    forced = plan.dependents([from_stage] if isinstance(from_stage, str) else from_stage or ())
    wanted = [stage for stage in plan.stages if stage.id in kept]
    with Interrupts() as interrupts:
        try:
            check_machine(wanted, plan)
            check_half_done(plan, folder, [stage for stage in wanted if stage.id not in forced])
            check_reviews(plan, folder, [stage for stage in wanted if not forced.issuperset(stage.inputs)])
            check_sources(plan, wanted)
            check_alike(plan, plan.stages)
            with RunDirectory.open(folder) as directory:
                pipeline = _Pipeline(plan, host, directory, listener, interrupts)
                return pipeline.run(wanted, forced, jobs or default_jobs())
        except KeyboardInterrupt:
            if interrupts.insisted:
                raise
            raise Interrupted("stopped on request", where=str(folder), fix=GOES_ON) from None


class _Pipeline:
    def __init__(
        self, plan: Plan, host: PluginHost, directory: RunDirectory, listener: Listener, interrupts: Interrupts
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.listener = listener
        self.interrupts = interrupts
        self.running: dict[Any, StageProcess] = {}
        """Stages at work, by the pipes that they are heard through."""
        self.done: set[str] = set()
        self.is_stopping = False
        self.stopped: dict[str, str] = {}
        """Stages that were stopped before their end, and how far they had come."""
        self.observers: Observers = host.observers(
            plan.recipe.observers, lambda text: listener(StageNote(stage="", text=text)), of_all=True
        )
        self.begun = time.monotonic()

    def run(self, wanted: Sequence[StagePlan], forced: frozenset[str], jobs: int) -> Run:
        states = self._states(wanted, forced)
        self._write_plan(states)
        folder = self.directory.path
        rows = tuple(
            StageRow(stage.id, stage.kind, stage.stage.train.use if stage.stage.train else "", states[stage.id])
            for stage in wanted
        )
        started = RunStarted(folder=str(folder), rows=rows, profile=self.plan.profile)
        self.listener(started)
        recipe = self.plan.recipe.model_dump(mode="json", by_alias=True)
        self.observers.run_start(folder=folder, recipe=recipe, started=started)
        error = "interrupted"
        try:
            self._work_off(wanted, states, jobs)
            anew = any(states.get(s.id, UNCHANGED) != UNCHANGED for s in self._evaluations())
            found = self._write_results(anew=anew)
            error = ""
        except Exception as failure:
            error = str(failure) or type(failure).__name__
            raise
        finally:
            self.observers.run_end(folder=folder, error=error)
        self.listener(RunFinished(folder=str(folder), rows=found, wall_s=self._wall_s()))
        return Run(folder=folder, rows=found)

    # --- what there is to do ---------------------------------------------------------------------

    def _states(self, wanted: Sequence[StagePlan], forced: frozenset[str]) -> dict[str, str]:
        """What each stage is before the run: "unchanged", or why it will run."""
        words = {"finished": UNCHANGED, "missing": "new", "partial": "unfinished"}
        states = {}
        for stage in wanted:
            state = self.directory.stage(stage.id).state(stage.fingerprint)
            states[stage.id] = words.get(state, state)
            if stage.id in forced and state != "missing":
                states[stage.id] = "stale"
                self._begin(stage, resume=False)  # now: if the run stops before its turn, the next one must know
        return states

    def _begin(self, stage: StagePlan, *, resume: bool) -> None:
        inputs = {name: self.plan.fingerprints[name] for name in stage.inputs}
        own = self.directory.stage(stage.id)
        own.begin(stage.fingerprint, inputs=inputs, made_from=stage.made_from, resume=resume)

    def _write_plan(self, states: Mapping[str, str]) -> None:
        """What will have been run; results of something else go."""
        folder = self.directory.path
        write_text(folder / "recipe.resolved.yaml", write_resolved(self.plan))
        write_json(folder / "plugins.lock", self.plan.lock)
        if not all(self._is_finished(stage, states) for stage in self._evaluations()):
            (folder / RESULTS).unlink(missing_ok=True)

    def _evaluations(self) -> list[StagePlan]:
        return [stage for stage in self.plan.stages if stage.kind == "evaluate"]

    def _is_finished(self, stage: StagePlan, states: Mapping[str, str]) -> bool:
        if stage.id in states:
            return states[stage.id] == UNCHANGED
        return self.directory.stage(stage.id).state(stage.fingerprint) == "finished"

    # --- doing it --------------------------------------------------------------------------------

    def _work_off(self, wanted: Sequence[StagePlan], states: Mapping[str, str], jobs: int) -> None:
        self.done = self._skip([stage for stage in wanted if states[stage.id] == UNCHANGED])
        waiting = by_chain([stage for stage in wanted if stage.id not in self.done])
        if waiting:
            prepare([run_in_process.__module__, *self._heavy(waiting)])
        try:
            with self.interrupts.noted():
                while self.running or (waiting and not self.interrupts.asked):
                    self._start_next(waiting, jobs)
                    self._listen()
        finally:
            for process in self.running.values():
                process.kill()
        if waiting or self.stopped:
            stopped = [f"\n  stages.{name}: {how}" for name, how in self.stopped.items()]
            raise Interrupted("stopped on request" + "".join(stopped), where=str(self.directory.path), fix=GOES_ON)

    def _heavy(self, waiting: Sequence[StagePlan]) -> list[str]:
        """The modules that these stages would else import one by one, each for itself."""
        parts = [component.cls for stage in waiting for component in needed(stage, self.plan)]
        rows = PRELOAD if any(ARTIFACT[stage.kind] != "model" for stage in waiting) else ()
        return [*rows, *sorted({name for part in parts for name in part.preload})]

    def _start_next(self, waiting: list[StagePlan], jobs: int) -> None:
        """Start what is ready, as far as there are jobs for it, unless the run is to stop."""
        ready = [stage for stage in waiting if self.done.issuperset(stage.inputs)]
        for stage in ready[: jobs - len(self.running)]:
            if self.interrupts.asked:
                return
            waiting.remove(stage)
            process = self._start(stage)
            self.running[process.pipe] = process

    def _listen(self) -> None:
        """Wait until a stage says something or a signal comes, and act on it."""
        for heard in wait([*self.running, self.interrupts.wakes]):
            if heard == self.interrupts.wakes:
                self.interrupts.drain()
            else:
                self._hear(heard)
        if self.interrupts.asked and not self.is_stopping:
            self.is_stopping = True
            self._stop_all()

    def _stop_all(self) -> None:
        """Let the stages at work save and end; those that have nothing to save end now."""
        for pipe, process in list(self.running.items()):
            if process.has_spoken and self.plan.stage(process.stage).kind != "import":
                process.stop()
                text = "stops when its step is done and saved; a second Ctrl-C or SIGTERM stops it at once"
                self.listener(StageNote(stage=process.stage, text=text))
            else:
                del self.running[pipe]
                process.kill()
                self.stopped[process.stage] = "stopped with nothing to save yet"

    def _skip(self, unchanged: Sequence[StagePlan]) -> set[str]:
        for stage in unchanged:
            self.listener(StageSkipped(stage=stage.id))
        for stage in unchanged:
            record = self.directory.stage(stage.id).record()
            metrics = record.metrics if record is not None else {}
            check_gates(stage.id, stage.stage.gate, metrics, self.directory.stage(stage.id).data)
        return {stage.id for stage in unchanged}

    def _start(self, stage: StagePlan) -> StageProcess:
        folder = self.directory.stage(stage.id).path
        self._begin(stage, resume=True)
        self.listener(StageStarted(stage=stage.id))
        self.observers.stage_start(folder=folder, stage=stage.id)
        return StageProcess(
            stage.id,
            run_in_process,
            arguments_of(self.plan, stage, self.directory.path),
            environment=os.environ,
            threads=stage.stage.threads,
            log=folder / "output.log",
            lock=self.directory.lock,
        )

    def _hear(self, pipe: Any) -> None:
        process = self.running[pipe]
        try:
            heard = process.receive()
        except BaseException as error:
            del self.running[pipe]
            process.kill()
            if not isinstance(error, Interrupted):
                raise
            self.stopped[process.stage] = error.what
            self.interrupts.request()  # a signal that went to every process may reach this one last
            return
        if isinstance(heard, Finished):
            del self.running[pipe]
            process.kill()
            self._seal(process.stage, heard)
            self.done.add(process.stage)
            return
        if isinstance(heard, StepDone):
            report = Step(metrics=heard.metrics)
            self.observers.step_end(stage=heard.stage, step=heard.step, report=report, sample=heard.sample)
        self.listener(heard)

    def _seal(self, stage_id: str, heard: Finished) -> None:
        self.directory.stage(stage_id).finish(heard.metrics, wall_s=heard.wall_s, cpu_s=heard.cpu_s, told=heard.told)
        self.observers.stage_end(stage=stage_id, metrics=heard.metrics)
        self.listener(StageFinished(stage=stage_id, wall_s=heard.wall_s, metrics=heard.metrics))
        stage = self.plan.stage(stage_id)
        if stage.kind == "evaluate":
            self._write_results(anew=True)  # a table is of use even where a gate refuses it
        check_gates(stage_id, stage.stage.gate, heard.metrics, self.directory.stage(stage_id).data)

    # --- what is left ----------------------------------------------------------------------------

    def _write_results(self, *, anew: bool) -> tuple[Mapping[str, Any], ...]:
        """The rows of every finished evaluation; written when one of them ran, so that `wall_s` stays its run's."""
        rows: list[Mapping[str, Any]] = []
        for stage in self._evaluations():
            if self._is_finished(stage, {}):
                rows += map(self._labelled, read_json(self.directory.stage(stage.id).data / RESULTS))
        path = self.directory.path / RESULTS
        if rows and (anew or not path.exists()):
            head = {"recipe": self.plan.name, "profile": self.plan.profile, "seed": self.plan.seed}
            write_json(path, {**head, "wall_s": self._wall_s(), "rows": rows})
        return tuple(rows)

    def _labelled(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row with the variant that its model is, where it is one."""
        variant = self.plan.stage(row["model"]).stage.variant
        return row if variant is None else {**row, "variant": variant.model_dump()}

    def _wall_s(self) -> float:
        return round(time.monotonic() - self.begun, 3)
