"""The plan in words, for `--dry-run`: what runs, from what, with how much, with whose code, talking to whom.

Nothing here needs an engine: steps come from the trainer's own arithmetic, answers and tokens from
the numbers in the plan. Bounds are upper bounds: every answer at its longest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from r1core.choices import Use, key_names
from r1core.cli.arithmetic import Load, load_of, numbers_of
from r1core.cli.estimate_view import estimate_lines
from r1core.cli.quotes import chosen_within, quote_lines
from r1core.components import Reward
from r1core.endpoints import Endpoint
from r1core.plugins import Loaded
from r1core.recipe.loader import load_yaml
from r1core.recipe.plan import Plan, StagePlan
from r1core.recipe.schema import Scratch
from r1core.recipe.shipped import NO_PROFILE, find_profile, shipped_folder

BY_SCALE = ("smoke", "tiny", "gpu", "node", "cluster", "paper")
HUB = "huggingface.co"
TOKEN_BYTES = 5
"""A token's text in a rollout file: about four characters and its share of the row."""


def profile_line(plan: Plan) -> str:
    """`profile tiny: any laptop; others: smoke, gpu, ...`."""
    if plan.profile == NO_PROFILE:
        return "no profile: the recipe is complete by itself"
    chosen = find_profile(plan.profile, plan.path)
    description = load_yaml(chosen).data.get("description", "")
    folders = {chosen.parent, plan.path.parent / "profiles", shipped_folder() / "profiles"}
    names = {file.stem for folder in folders for file in folder.glob("*.yaml")} - {plan.profile}
    others = [*(name for name in BY_SCALE if name in names), *sorted(names - set(BY_SCALE))]
    line = f"profile {plan.profile}" + (f": {description}" if description else "")
    return f"{line}; others: {', '.join(others)}" if others else line


def plan_lines(plan: Plan, kept: frozenset[str], folder: Path) -> Iterator[str]:
    """The stages in `kept`, their components and what they reach for; `folder` is the run's."""
    stages = [stage for stage in plan.stages if stage.id in kept]
    loads = {stage.id: load_of(plan, stage) for stage in stages}
    yield f"recipe {plan.name} ({plan.path}), seed {plan.seed}, run {folder}"
    yield ""
    yield f"{len(stages)} stages"
    width = max((len(stage.id) for stage in stages), default=0)
    for stage in stages:
        kind = f"train {stage.stage.train.use}" if stage.stage.train is not None else stage.kind
        yield f"  {stage.id:<{width}}  {kind:<14}  {_from(stage)}"
        for detail in (*numbers_of(plan, stage), *loads[stage.id].lines, *_uses(stage)):
            yield f"  {'':<{width}}    {detail}"
    yield from estimate_lines(plan, stages)
    yield from quote_lines(plan, stages)
    yield from _components(plan, stages)
    yield from _reach(plan, stages)
    yield _disk(stages, loads, folder)


def _from(stage: StagePlan) -> str:
    body = stage.stage
    if body.import_ is not None:
        return f"from {body.import_}"
    start = ["scratch"] if isinstance(body.model, Scratch) else [stage.model] if stage.model else []
    others = [name for name in stage.inputs if name != stage.model]
    lineage = [("from", start), ("reads", others)]
    return ", ".join(f"{word} {' '.join(names)}" for word, names in lineage if names)


def _uses(stage: StagePlan) -> Iterator[str]:
    """What the stage is made of, by name."""
    body = stage.stage
    groups: Mapping[str, Sequence[Any]] = {
        "problems": body.asked(),
        "data": [item for item in body.data if isinstance(item, Use)],
        "rewards": body.rewards,
        "filters": body.filters,
        "engines": [use for use in (body.policy, body.sampler) if use is not None],
    }
    for label, uses in groups.items():
        names = dict.fromkeys(use.use if isinstance(use, Use) else str(use) for use in uses)
        if names:
            yield f"{label}: {', '.join(names)}"


def _components(plan: Plan, stages: Sequence[StagePlan]) -> Iterator[str]:
    missing = plan.missing()
    used = {(c.kind, c.name): c for stage in stages for c in stage.components}
    yield ""
    yield f"{len(used)} components"
    for _, component in sorted(used.items()):
        origin = component.file if component.local else f"{component.distribution} {component.version}"
        lacks = missing.get(f"{component.kind} {component.name}", [])
        runs = ", runs in ".join(["", *_places(component, stages)])
        note = f"{runs}   MISSING: {'; '.join(lacks)}" if lacks else runs
        yield f"  {component.kind:<10} {component.name:<20} {origin}{note}"


def _places(component: Loaded, stages: Sequence[StagePlan]) -> Iterator[str]:
    """The environments in which some stage has a reward run, each once."""
    found = [each.environment for stage in stages for each in stage.elsewhere if each.loaded == component]
    for environment in dict.fromkeys(found):
        size = f" (Python {environment.version}, {len(environment.distributions)} packages)"
        yield f"{environment.place}{size if environment.exists else ''}"


def _reach(plan: Plan, stages: Sequence[StagePlan]) -> Iterator[str]:
    """What a stranger's recipe would contact, read and execute."""
    used = {c.name: c for stage in stages for c in stage.components}
    imports = [s.stage.import_ for s in stages if s.stage.import_ and not Path(s.stage.import_).exists()]
    servers = [server for stage in stages for server in _servers(plan, stage)]
    told = {name for name, _ in servers}
    remote = [c.name for c in used.values() if issubclass(c.cls, Reward) and c.cls.remote and c.name not in told]
    hosts = [*(f"{HUB} ({name})" for name in imports), *(f"the host of reward {name}" for name in remote)]
    hosts += dict.fromkeys(f"{endpoint.origin} ({name})" for name, endpoint in servers)
    sent = {f"{e.key.env} (sent to {e.host})": e.key.env for _, e in servers if e.key is not None}
    keys = sorted({*sent, *({name for stage in stages for name in key_names(stage.plain)} - set(sent.values()))})
    local = [c.file for c in used.values() if c.local]
    local += dict.fromkeys(str(each.environment.interpreter) for stage in stages for each in stage.elsewhere)
    observers = list(_observers(plan))
    for use in plan.recipe.observers:
        options = plan.host.observer_options(use.use)
        told_to = () if options is None else options.model_validate(use.options).hosts()
        hosts += [f"{host} (observer {use.use})" for host in told_to]
    yield ""
    for label, found in (("observers", observers), ("hosts", hosts), ("keys", keys), ("local code", local)):
        yield f"{label}: {', '.join(found) or 'none'}"


def _observers(plan: Plan) -> Iterator[str]:
    """Each with what it lacks here."""
    for use in plan.recipe.observers:
        lacks = plan.host.observer_lacks(use.use)
        yield f"{use.use} (MISSING: {'; '.join(lacks)})" if lacks else use.use


def _servers(plan: Plan, stage: StagePlan) -> Iterator[tuple[str, Endpoint]]:
    """(component, server) for every server that the options of the stage's components name."""
    body = stage.stage
    uses = [("reward", use) for use in body.rewards] + [("filter", use) for use in body.filters]
    uses += [("source", use) for use in (*body.asked(), *body.data) if isinstance(use, Use)]
    engines = {"policy": body.policy, "sampler": body.sampler, "trainer": body.train}
    for kind, use in [*uses, *((kind, use) for kind, use in engines.items() if use is not None)]:
        for inner_kind, inner in (kind, use), *chosen_within(plan, kind, use):
            config = plan.host.find(inner_kind, inner.use).Config.model_validate(inner.options)
            yield from ((inner.use, endpoint) for endpoint in _endpoints(config))


def _endpoints(value: Any) -> Iterator[Endpoint]:
    """The servers within an option's value."""
    if isinstance(value, Endpoint):
        yield value
    elif isinstance(value, BaseModel):
        yield from (found for name in type(value).model_fields for found in _endpoints(getattr(value, name)))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _endpoints(item)


def _disk(stages: Sequence[StagePlan], loads: Mapping[str, Load], folder: Path) -> str:
    models = sum(stage.kind in ("train", "import") for stage in stages)
    most = sum(load.tokens for load in loads.values()) * TOKEN_BYTES
    here = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(here).free
    return f"disk: {models} model folders, at most {_size(most)} of answers; {_size(free)} free"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
