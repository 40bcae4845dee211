"""A stage of a recipe, run as in earnest: in a process of its own, killed where a test wants it, and gone on with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1core.api import run
from r1core.errors import Interrupted, R1Error
from r1core.events import Event, StageStarted, StepDone
from r1core.plugins import PluginHost
from r1core.processes import BrokenStageError
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve
from r1core.recipe.schema import SCHEMA_VERSION
from r1core.recipe.shipped import NO_PROFILE
from r1core.recipe.writing import to_yaml
from r1core.store.promised import promised
from r1core.testing.suite import fail

_LOCAL = re.compile(r"(?<![\w./])\.\.?/[^\s,:'\"{}]*\.py(?=:\w)")


@dataclass(kw_only=True)
class Launch:
    """What one launch told of the stage, and whether it came to its end."""

    steps: list[StepDone] = field(default_factory=list)
    starts: list[StageStarted] = field(default_factory=list)
    finished: bool = False

    @property
    def total(self) -> int | None:
        """The steps that were planned, as it knew at last."""
        return next((start.total_steps for start in reversed(self.starts) if start.total_steps is not None), None)

    @property
    def gone_on(self) -> bool:
        """Whether steps of an earlier process were taken over."""
        return any(start.done for start in self.starts)


def recipe_file(recipe: str, folder: Path, *, here: Path) -> Path:
    """The recipe's file: the one named, relative to `here`, or the YAML text written into `folder`."""
    if "\n" not in recipe:
        return here / recipe
    path = folder / "recipe.yaml"
    path.write_text(_LOCAL.sub(lambda match: os.path.normpath(here / match[0]), recipe), encoding="utf-8")
    return path


def planned(path: Path, host: PluginHost) -> Plan:
    """The plan of a recipe that is complete by itself."""
    return make_plan(resolve(path, NO_PROFILE), host)


def without(plan: Plan, stage: str, key: str) -> str:
    """The recipe of this plan, less one key of one stage."""
    stages = {each.id: each.resolved() for each in plan.stages}
    del stages[stage][key]
    document = {"r1": SCHEMA_VERSION, "name": plan.name, "profile": NO_PROFILE, "seed": plan.seed, "stages": stages}
    return to_yaml(document)


def launch(path: Path, folder: Path, stage: str, *, anew: bool = False, kill_at: int | None = None) -> Launch:
    """Run the stage in `folder` and what it needs, or go on with it; `anew` starts it over.

    With `kill_at` its process is killed when it tells of that step. Every step that can be gone on from is saved.
    """
    seen = Launch()

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == stage:
            seen.starts.append(event)
        if isinstance(event, StepDone) and event.stage == stage:
            seen.steps.append(event)
            if kill_at is not None and event.step >= kill_at:
                raise KeyboardInterrupt

    sets: Mapping[str, Any] = {f"stages.{stage}.checkpoint": {"every_s": 0}}
    from_stage = stage if anew else None
    try:
        run(
            path,
            profile=NO_PROFILE,
            set=sets,
            run_dir=folder,
            from_stage=from_stage,
            until_stage=stage,
            jobs=1,
            listener=listen,
        )
        seen.finished = True
    except Interrupted:
        pass
    except BrokenStageError as error:
        fail(f"a stage broke: {str(error).strip().splitlines()[-1]}")
    except R1Error as error:
        fail(f"the recipe does not run to its end: {error}")
    return seen


def bytes_of(folder: Path, stage: str) -> dict[str, str]:
    """What the stage promises to be the same however often it is killed: sha256 by path."""
    return promised(folder / "stages" / stage)
