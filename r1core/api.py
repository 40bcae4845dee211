"""`r1core.run(...)`: a recipe from a notebook or a script, with the same plan, folders and results as `r1 recipe`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.events import Listener, silent
from r1core.pipeline import Run, run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import find_recipe, resolve


def run(
    recipe: str | Path,
    *,
    profile: str | None = None,
    set: Mapping[str, Any] | None = None,
    run_dir: str | Path | None = None,
    from_stage: str | Sequence[str] | None = None,
    until_stage: str | None = None,
    jobs: int | None = None,
    listener: Listener = silent,
) -> Run:
    """Run a recipe and return its `Run`.

    `set` maps paths to values: `{"stages.r1_zero.train.steps": 20}`. Raises the errors of
    `r1core.errors`; what was saved is kept, and the same call goes on from there. Interrupting it lets the stages at
    work save, then raises `Interrupted`; interrupting it again ends it at once with KeyboardInterrupt.
    """
    sets = [f"{path}={json.dumps(value)}" for path, value in (set or {}).items()]
    host = PluginHost.discover()
    plan = make_plan(resolve(find_recipe(str(recipe)), profile, sets), host)
    return run_plan(
        plan,
        host,
        Path(run_dir) if run_dir is not None else None,
        from_stage=from_stage,
        until_stage=until_stage,
        jobs=jobs,
        listener=listener,
    )
