"""A run: what is stale, what runs next, what runs side by side, and what is left at the end.

    plan -> states of the stages -> processes, as inputs become ready -> results.json

A stage is run when its folder is not finished under the plan's fingerprint. Finished stages are kept
whatever happens later, so the same command goes on where it stopped.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from r1core.components import ProblemSource, Use
from r1core.errors import Interrupted, RecipeError, SetupError
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
from r1core.plugins import Observers, PluginHost
from r1core.processes import Finished, StageProcess, prepare
from r1core.recipe.plan import Plan, StagePlan, write_resolved
from r1core.stages.child import arguments_of, run_in_process
from r1core.stages.gates import check_gates
from r1core.store import RunDirectory, read_json, write_json, write_text
from r1core.types import Step

UNCHANGED = "unchanged"
RESULTS = "results.json"


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
    from_stage: str | None = None,
    until_stage: str | None = None,
    jobs: int | None = None,
    listener: Listener = silent,
) -> Run:
    """Run what is not finished of `plan`, in `run_dir` (default `runs/<name>`)."""
    kept = plan.ancestors([until_stage]) if until_stage is not None else frozenset(plan.fingerprints)
    forced = plan.dependents([from_stage]) if from_stage is not None else frozenset[str]()
    wanted = [stage for stage in plan.stages if stage.id in kept]
    check_machine(wanted)
    check_sources(plan, wanted)
    with RunDirectory.open(run_dir or Path("runs") / plan.name) as directory:
        try:
            return _Pipeline(plan, host, directory, listener).run(wanted, forced, jobs or default_jobs())
        except KeyboardInterrupt:
            where, fix = str(directory.path), "finished stages are kept; the same command goes on"
            raise Interrupted("interrupted", where=where, fix=fix) from None


def default_jobs() -> int:
    """One stage at a time for each core; one in all where stages would share an accelerator."""
    if Path("/dev/nvidia0").exists() or sys.platform == "darwin":
        return 1
    return len(os.sched_getaffinity(0))


def check_machine(stages: Sequence[StagePlan]) -> None:
    """Raise one SetupError with everything that these stages need and this machine lacks."""
    used = {(c.kind, c.name): c for stage in stages for c in stage.components}
    lacking = [
        f"{c.kind} {c.name} ({c.distribution} {c.version}): {finding}"
        for c in (used[key] for key in sorted(used))
        for finding in c.lacks()
    ]
    if any(stage.kind in ("sample", "evaluate") for stage in stages) and not importlib.util.find_spec("pyarrow"):
        lacking.append("datasets are parquet files: pyarrow is not installed: pip install 'r1core[train]'")
    if lacking:
        raise SetupError("this machine lacks:\n" + "\n".join(f"  {each}" for each in lacking), fix="see: r1 doctor")


def check_sources(plan: Plan, stages: Sequence[StagePlan]) -> None:
    """Ask every problem source for its first problem: a missing file, a bad row, or questions where a stage learns
    answers are said before any compute."""
    learned = {str(use) for stage in stages for use in stage.stage.data if isinstance(use, Use)}
    for name, use in {str(use): use for stage in stages for use in stage.stage.sources()}.items():
        try:
            source: ProblemSource = plan.component("source", use, {})
        except KeyError:  # it reads another stage's artifact, which is not there yet
            continue
        found = next(iter(source.problems(seed=plan.seed)), None)
        if found is None:
            raise RecipeError("it has no problems", where=f"source {use.use}", fix="check its options or its file")
        if name in learned and found.completion is None:
            raise RecipeError(
                "it is a stage's `data`, but its problems have no completion to learn from",
                where=f"source {use.use}",
                fix="give it the option that brings completions, or sample a dataset from it first",
            )


def by_chain(stages: Sequence[StagePlan]) -> list[StagePlan]:
    """Those first on which the longest chain of other stages waits: a chain begun late leaves cores idle at the end.

    `stages` come in an order in which each is after its inputs; it stays where chains are equally long.
    """
    length: dict[str, int] = {}
    for stage in reversed(stages):
        length[stage.id] = 1 + max((length[other.id] for other in stages if stage.id in other.inputs), default=0)
    return sorted(stages, key=lambda stage: -length[stage.id])


class _Pipeline:
    def __init__(self, plan: Plan, host: PluginHost, directory: RunDirectory, listener: Listener) -> None:
        self.plan = plan
        self.directory = directory
        self.listener = listener
        self.observers: Observers = host.observers(
            plan.recipe.observers, lambda text: listener(StageNote(stage="", text=text))
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
        self.listener(RunStarted(folder=str(folder), rows=rows, profile=self.plan.profile))
        self.observers.run_start(folder=folder, recipe=self.plan.recipe.model_dump(mode="json", by_alias=True))
        error = "interrupted"
        try:
            self._work_off(wanted, states, jobs)
            error = ""
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            self.observers.run_end(folder=folder, error=error)
        found = self._write_results(anew=any(states.get(s.id, UNCHANGED) != UNCHANGED for s in self._evaluations()))
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
            if stage.id in forced and state == "finished":
                states[stage.id] = "stale"
                self._begin(stage)  # now: if the run stops before its turn, its inputs may be other bytes by then
        return states

    def _begin(self, stage: StagePlan) -> None:
        inputs = {name: self.plan.fingerprints[name] for name in stage.inputs}
        self.directory.stage(stage.id).begin(stage.fingerprint, inputs=inputs)

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
        done = self._skip([stage for stage in wanted if states[stage.id] == UNCHANGED])
        waiting = by_chain([stage for stage in wanted if stage.id not in done])
        running: dict[Any, StageProcess] = {}
        if waiting:
            heavy = {name for stage in waiting for component in stage.components for name in component.cls.preload}
            prepare([run_in_process.__module__, *sorted(heavy)])
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

    def _skip(self, unchanged: Sequence[StagePlan]) -> set[str]:
        for stage in unchanged:
            self.listener(StageSkipped(stage=stage.id))
        for stage in unchanged:
            record = self.directory.stage(stage.id).record()
            check_gates(stage.id, stage.stage.gate, record.metrics if record is not None else {})
        return {stage.id for stage in unchanged}

    def _start(self, stage: StagePlan) -> StageProcess:
        folder = self.directory.stage(stage.id).path
        self._begin(stage)
        self.listener(StageStarted(stage=stage.id))
        self.observers.stage_start(folder=folder, stage=stage.id)
        return StageProcess(
            stage.id,
            run_in_process,
            arguments_of(self.plan, stage, self.directory.path),
            threads=stage.stage.threads,
            log=folder / "output.log",
            lock=self.directory.lock,
        )

    def _hear(self, running: dict[Any, StageProcess], pipe: Any, done: set[str]) -> None:
        process = running[pipe]
        try:
            heard = process.receive()
        except BaseException:
            del running[pipe]
            process.kill()
            raise
        if isinstance(heard, Finished):
            del running[pipe]
            process.kill()
            self._seal(process.stage, heard)
            done.add(process.stage)
            return
        if isinstance(heard, StepDone):
            self.observers.step_end(stage=heard.stage, step=heard.step, report=Step(metrics=heard.metrics))
        self.listener(heard)

    def _seal(self, stage_id: str, heard: Finished) -> None:
        self.directory.stage(stage_id).finish(heard.metrics, wall_s=heard.wall_s, cpu_s=heard.cpu_s)
        self.observers.stage_end(stage=stage_id, metrics=heard.metrics)
        self.listener(StageFinished(stage=stage_id, wall_s=heard.wall_s, metrics=heard.metrics))
        stage = self.plan.stage(stage_id)
        if stage.kind == "evaluate":
            self._write_results(anew=True)  # a table is of use even where a gate refuses it
        check_gates(stage_id, stage.stage.gate, heard.metrics)

    # --- what is left ----------------------------------------------------------------------------

    def _write_results(self, *, anew: bool) -> tuple[Mapping[str, Any], ...]:
        """The rows of every finished evaluation; written when one of them ran, so that `wall_s` stays its run's."""
        rows: list[Mapping[str, Any]] = []
        for stage in self._evaluations():
            if self._is_finished(stage, {}):
                rows += read_json(self.directory.stage(stage.id).data / RESULTS)
        path = self.directory.path / RESULTS
        if rows and (anew or not path.exists()):
            head = {"recipe": self.plan.name, "profile": self.plan.profile, "seed": self.plan.seed}
            write_json(path, {**head, "wall_s": self._wall_s(), "rows": rows})
        return tuple(rows)

    def _wall_s(self) -> float:
        return round(time.monotonic() - self.begun, 3)
