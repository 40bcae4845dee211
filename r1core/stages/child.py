"""What a stage process does: make the plan again from the run's resolved recipe, and run one stage of it.

The recipe is what the parent has written to `recipe.resolved.yaml`, as data: it takes a while to read.
Components are rebuilt from (name, config) by a host with the parent's providers, never from pickles.
Source, data or versions that changed since the run began would give an artifact that is not what
`stage.json` says: the fingerprints of parent and child must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.events import Event
from r1core.plugin_host.discovery import Provider
from r1core.plugins import PluginHost
from r1core.processes import Finished
from r1core.ranks import own_folder, run_ranks
from r1core.recipe.checks import ARTIFACT
from r1core.recipe.plan import Plan, StagePlan, make_plan, resolved_data
from r1core.recipe.resolve import resolved_again
from r1core.stages import run_stage
from r1core.stages.base import Job
from r1core.stages.stall import Stall
from r1core.store import RunDirectory
from r1core.usage import Meter


def arguments_of(plan: Plan, stage: StagePlan, run_dir: Path) -> dict[str, Any]:
    """What `run_in_process` must be told, as plain data."""
    return {
        "run_dir": str(run_dir),
        "stage": stage.id,
        "recipe": resolved_data(plan),
        "fingerprint": stage.fingerprint,
        "providers": [asdict(provider) for provider in plan.host.providers],
    }


def run_in_process(
    emit: Callable[[Event], None], stopping: Callable[[], bool], arguments: Mapping[str, Any]
) -> Finished:
    """Run one stage in its folder, which the parent has made ready."""
    meter = Meter()
    directory = RunDirectory(Path(arguments["run_dir"]))
    host = PluginHost([Provider(**provider) for provider in arguments["providers"]])
    plan = make_plan(resolved_again(arguments["recipe"], directory.path / "recipe.resolved.yaml"), host)
    stage = plan.stage(arguments["stage"])
    if stage.fingerprint != arguments["fingerprint"]:
        raise RecipeError(
            "its components or its local files changed while the run was going on",
            where=f"stages.{stage.id}",
            fix="run the same command again: what depends on the change is then stale, and the rest is kept",
        )
    artifacts = {name: _artifact(directory, plan.stage(name)) for name in stage.inputs}
    folder = directory.stage(stage.id).path
    job = Job(plan=plan, stage=stage, folder=folder, artifacts=artifacts, emit=emit, stopping=stopping, meter=meter)
    policy = job.policy() if stage.kind == "train" else None
    if policy is not None and policy.ranks > 1 and "rank" not in arguments:
        with Stall(2 * stage.stage.stall_s, job.note) as stall:  # ranks, once they have met, say so themselves
            heard = _heard(emit, stall.ended)
            return run_ranks(policy, arguments, stage=stage, folder=folder, emit=heard, stopping=stopping)
    with Stall(stage.stage.stall_s, job.note) as stall:
        job = replace(job, alive=stall.ended)
        if policy is not None and "rank" in arguments:
            job = replace(job, world=policy.world, own=own_folder(folder, arguments["rank"]))
        metrics, used = run_stage(job), meter.now()
    return Finished(metrics=metrics, wall_s=round(used.wall_s, 3), cpu_s=round(used.cpu_s, 3), told=job.told)


def _heard(emit: Callable[[Event], None], alive: Callable[[], None]) -> Callable[[Event], None]:
    def heard(event: Event) -> None:
        alive()
        emit(event)

    return heard


def _artifact(directory: RunDirectory, stage: StagePlan) -> Path:
    own = directory.stage(stage.id)
    return {"model": own.model, "signals": own.signals}.get(ARTIFACT[stage.kind], own.data)
