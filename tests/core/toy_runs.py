"""Plans and runs small pipelines of the toys of toy_stages.py. In a recipe's text a toy goes by its class name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from toy_stages import HERE

from r1core.events import Event, StageStarted
from r1core.pipeline import Run, run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve
from r1core.stages.base import Job

HEAD = """\
r1: 1
name: toys
profile: none
engines: {policy: Skill, sampler: Guess}
"""
BASE = "{train: {use: Climb}, model: {scratch: {skill: 0.2}}, data: {use: Numbers}}"
"""A model made from scratch in two steps of 0.1: its skill is 0.4."""
LINE = """\
  base: BASE
  zero: {train: {use: Climb, steps: 3}, model: base}
  traces:
    sample: {prompts: 8, samples: 2, chunk: 3}
    model: zero
    problems: Numbers
    rewards: [Exact]
    filters: [Right]
  other: {train: {use: Climb, gain: 0.01}, model: base}
  student: {train: {use: Climb, data: [traces]}, model: base}
  table:
    evaluate:
      sets:
        pass@1: {problems: Numbers, limit: 20, by: [domain]}
        greedy: {problems: Numbers, temperature: 0, limit: 5}
    models: [base, zero, student]
    rewards: [Exact, Brief]
"""
STAGES = ["base", "zero", "traces", "other", "student", "table"]
TIMES = ("stage.json", "output.log", ".lock", "results.json")
_TOYS = re.compile(r"\b(Numbers|Skill|Guess|Exact|Brief|Right|Climb)\b")


def written(folder: Path, stages: str, toys: Path = HERE, **more: str) -> Path:
    """A recipe file of these stages; `more` are further top-level keys."""
    text = HEAD + "".join(f"{key}: {value}\n" for key, value in more.items()) + "stages:\n" + stages
    path = folder / "recipe.yaml"
    path.write_text(_TOYS.sub(lambda match: f"{toys}:{match[1]}", text.replace("BASE", BASE)))
    return path


def planned(folder: Path, stages: str, *sets: str, **more: str) -> Plan:
    """The plan of such a recipe."""
    return make_plan(resolve(written(folder, stages, **more), sets=sets), PluginHost.discover(deny=["report"]))


def job_of(folder: Path, stages: str, stage: str, **artifacts: Path) -> tuple[Job, list[Event]]:
    """One stage, to be run in this process in `folder/<stage>`, and the list that its events go to."""
    plan = planned(folder, stages)
    events: list[Event] = []
    own = folder / stage
    own.mkdir(exist_ok=True)
    return Job(plan=plan, stage=plan.stage(stage), folder=own, artifacts=artifacts, emit=events.append), events


class Ran(list[Event]):
    """The events of a run, in order, and what it returned."""

    run: Run

    def of(self, kind: type[Event], stage: str | None = None) -> list[Any]:
        """The events of one kind, of one stage."""
        return [e for e in self if isinstance(e, kind) and (stage is None or getattr(e, "stage", None) == stage)]

    def order(self, kind: type[Event]) -> list[str]:
        """The stages that such events came from, each once, in order."""
        return list(dict.fromkeys(e.stage for e in self.of(kind)))


def go(folder: Path, stages: str, *sets: str, seed: int = 0, **options: Any) -> Ran:
    """Run it in `folder/run`; the events stay in the exception's `events` when it fails."""
    ran = Ran()
    plan = planned(folder, stages, *sets, seed=str(seed))
    try:
        ran.run = run_plan(plan, plan.host, folder / "run", listener=ran.append, **options)
    except BaseException as error:
        error.events = ran  # type: ignore[attr-defined]
        raise
    return ran


def contents(folder: Path, *without: str) -> dict[str, bytes]:
    """Every file below a folder by its path, less those of these names."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in without)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def without_times(folder: Path) -> dict[str, bytes]:
    """The run's files less what holds times, and metrics less `time/*`."""
    files = contents(folder, *TIMES)
    for name in [name for name in files if name.endswith("metrics.jsonl")]:
        rows = [json.loads(line) for line in files[name].splitlines()]
        kept = [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]
        files[name] = json.dumps(kept).encode()
    return files


def copied(source: Path, target: Path) -> Path:
    """The run of another folder, to be run on in this one."""
    shutil.copytree(source / "run", target / "run")
    return target


def ran(folder: Path, *sets: str, **options: Any) -> list[str]:
    """The stages that a further run of LINE starts, in order."""
    return go(folder, LINE, *sets, jobs=1, **options).order(StageStarted)
