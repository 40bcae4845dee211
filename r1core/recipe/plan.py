"""The plan: every stage with its names looked up, its options filled in, in an order that works.

    plan = make_plan(resolve(path, "tiny"), PluginHost.discover())
    reward = plan.component("reward", plan.stage("r1").stage.rewards[0])

Phases, all findings of each at once: structure (in `resolve`), `requires:`, names and options, then
how the stages fit together. No torch, no accelerator, no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.choices import Use
from r1core.components import Component
from r1core.errors import R1Error, RecipeError
from r1core.plugins import Loaded, PluginHost
from r1core.recipe.annotations import Rewriter
from r1core.recipe.checks import check_graph, order
from r1core.recipe.elsewhere import Elsewhere
from r1core.recipe.fingerprint import digest, made_from
from r1core.recipe.names import Draft, draft_stages
from r1core.recipe.requires import check_requires
from r1core.recipe.resolve import Resolved
from r1core.recipe.schema import SCHEMA_VERSION, Recipe, Stage, StageKind
from r1core.recipe.shipped import NO_PROFILE
from r1core.recipe.variants import PlannedVariant, expanded
from r1core.recipe.writing import to_yaml
from r1core.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage, ready to run. `stage` has every default filled in; its `Use`s build as they are."""

    id: str
    kind: StageKind
    stage: Stage
    inputs: tuple[str, ...]
    """The stages whose artifacts it reads."""
    model: str | None
    """The stage whose model it starts from; None from scratch, and for import and evaluate stages without one."""
    components: tuple[Loaded, ...]
    elsewhere: tuple[Elsewhere, ...]
    """Its rewards that run in an interpreter of their own, in order."""
    made_from: Mapping[str, Any]
    """All that its artifact depends on."""
    fingerprint: str
    """The hash of `made_from`."""
    seed: int
    """What its randomness is derived from, together with its name."""
    plain: Mapping[str, Any]

    @property
    def here(self) -> tuple[Loaded, ...]:
        """The components that run in r1core's own interpreter."""
        used = {use.use for use in self.stage.rewards if use.python is None}
        away = {each.loaded.name for each in self.elsewhere} - used
        return tuple(c for c in self.components if c.kind != "reward" or c.name not in away)

    @property
    def name(self) -> str:
        """What the recipe calls it: its id, or the stage that it is a variant of. Its randomness is derived from it."""
        return self.id if self.stage.variant is None else self.stage.variant.of

    def resolved(self) -> dict[str, Any]:
        """The stage as plain JSON data, defaults filled in."""
        return dict(self.plain)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run before it starts."""

    name: str
    profile: str
    seed: int
    path: Path
    recipe: Recipe
    stages: tuple[StagePlan, ...]
    """In an order in which every stage comes after its inputs."""
    host: PluginHost
    variants: tuple[PlannedVariant, ...] = ()
    """Those of a recipe's matrix, the base first."""

    def stage(self, stage_id: str) -> StagePlan:
        """One stage; an unknown id is a RecipeError with the nearest one."""
        for stage in self.stages:
            if stage.id == stage_id:
                return stage
        raise RecipeError(f"no stage {stage_id!r}", fix=did_you_mean(stage_id, self.fingerprints, otherwise="stages: "))

    def named(self, name: str) -> tuple[str, ...]:
        """The ids of the stages of this name: one, or all its variants. As `stage` for an unknown one."""
        return tuple(stage.id for stage in self.stages if name in (stage.id, stage.name)) or (self.stage(name).id,)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Stage id -> fingerprint."""
        return {stage.id: stage.fingerprint for stage in self.stages}

    @property
    def components(self) -> tuple[Loaded, ...]:
        """Every component that some stage uses, by kind and name."""
        unique = {(c.kind, c.name): c for stage in self.stages for c in stage.components}
        return tuple(unique[key] for key in sorted(unique))

    @property
    def lock(self) -> dict[str, Any]:
        """The content of plugins.lock."""
        observers = self.host.observer_lock({use.use for use in self.recipe.observers})
        return {**self.host.lock(self.components), "environments": self._environments(), "observers": observers}

    def _environments(self) -> dict[str, Any]:
        """Reward -> what is installed where it runs; a reward that runs in several environments has each of them."""
        found: dict[str, list[Any]] = {}
        for each in (each for stage in self.stages for each in stage.elsewhere):
            own = found.setdefault(f"reward {each.loaded.name}", [])
            counted = each.environment.counted()
            own.extend([] if counted in own else [counted])
        return dict(sorted(found.items()))

    def missing(self) -> dict[str, list[str]]:
        """Component -> what it lacks on this machine, each with the command that adds it."""
        here = {(c.kind, c.name): c for stage in self.stages for c in stage.here}
        found = {f"{c.kind} {c.name}": c.lacks() for c in here.values()}
        for use, absent in self.absent(self.stages):
            own = found.setdefault(f"policy {use}", [])
            own.append(f"{absent.where}: {absent.what}; {absent.fix}")
        for each in (each for stage in self.stages for each in stage.elsewhere):
            own = found.setdefault(f"reward {each.loaded.name}", [])
            own.extend(lacking for lacking in each.lacks() if lacking not in own)
        return {name: lacking for name, lacking in found.items() if lacking}

    def absent(self, stages: Iterable[StagePlan]) -> list[tuple[str, R1Error]]:
        """What the options of policies that train in these stages ask of this machine and it lacks, by the policy."""
        trained = [stage.stage.policy for stage in stages if stage.kind == "train"]
        uses = {str(use): use for use in trained if use is not None}
        found = [(use.use, error) for use in uses.values() for error in self.component("policy", use).absent()]
        return list({(name, str(error)): (name, error) for name, error in found}.values())

    def loaded(self, kind: str, use: Use) -> Loaded:
        """The component class that `use` names, and where it comes from."""
        return self.host.load(kind, use.use)

    def options(self, kind: str, use: Use, artifacts: Mapping[str, Path] | None = None) -> dict[str, Any]:
        """The options of `use` as plain JSON data, defaults filled in.

        With `artifacts` (stage id -> folder), fields that name a stage's artifact become its folder.
        """
        rewriter = Rewriter(
            use=lambda inner, _kind, _path: inner.model_dump(mode="json", by_alias=True),
            ref=lambda stage, _mark, _path: stage if artifacts is None else str(artifacts[stage]),
        )
        return rewriter.model(self.host.find(kind, use.use).Config.model_validate(use.options))

    def component(self, kind: str, use: Use, artifacts: Mapping[str, Path] | None = None) -> Any:
        """A new instance of the component that `use` names; `artifacts` as in `options`."""
        cls = self.host.find(kind, use.use)
        component: Component = cls(cls.Config.model_validate(self.options(kind, use, artifacts)))
        return component

    def dependents(self, ids: Iterable[str]) -> frozenset[str]:
        """These stages and all that depend on them."""
        found = {one for stage_id in ids for one in self.named(stage_id)}
        for stage in self.stages:
            if found & set(stage.inputs):
                found.add(stage.id)
        return frozenset(found)

    def ancestors(self, ids: Iterable[str]) -> frozenset[str]:
        """These stages and all that they depend on."""
        found = {one for stage_id in ids for one in self.named(stage_id)}
        for stage in reversed(self.stages):
            if stage.id in found:
                found |= set(stage.inputs)
        return frozenset(found)


def make_plan(resolved: Resolved, host: PluginHost) -> Plan:
    """Check everything that can be known before a run; RecipeError or SetupError with a phase's findings."""
    check_requires(resolved)
    resolved, variants = expanded(resolved, host)
    drafts = draft_stages(resolved, host)
    check_graph(resolved, drafts)
    stages: dict[str, StagePlan] = {}
    for draft in order(drafts):
        stages[draft.id] = _stage_plan(draft, resolved.recipe.seed, stages)
    recipe = resolved.recipe.model_copy(update={"stages": {d.id: d.stage for d in drafts}})
    return Plan(
        name=recipe.name,
        profile=resolved.profile,
        seed=recipe.seed,
        path=resolved.path,
        recipe=recipe,
        stages=tuple(stages.values()),
        host=host,
        variants=variants,
    )


def _stage_plan(draft: Draft, seed: int, earlier: Mapping[str, StagePlan]) -> StagePlan:
    inputs = tuple(dict.fromkeys(reference.stage for reference in draft.references))
    seed = draft.stage.seed if draft.stage.seed is not None else seed
    facts = made_from(draft, name=draft.name, seed=seed, inputs={i: earlier[i].fingerprint for i in inputs})
    return StagePlan(
        id=draft.id,
        kind=draft.kind,
        stage=draft.stage,
        inputs=inputs,
        model=draft.stage.model if isinstance(draft.stage.model, str) else None,
        components=draft.components,
        elsewhere=draft.elsewhere,
        made_from=facts,
        fingerprint=digest(facts),
        seed=seed,
        plain=draft.plain,
    )


def resolved_data(plan: Plan) -> dict[str, Any]:
    """The plan as a recipe that needs no profile: it gives the same fingerprints when it is planned again."""
    recipe = plan.recipe
    document: dict[str, Any] = {"r1": SCHEMA_VERSION, "name": recipe.name, "profile": NO_PROFILE}
    if recipe.description:
        document["description"] = recipe.description
    document["seed"] = recipe.seed
    if recipe.requires:
        document["requires"] = list(recipe.requires)
    if recipe.observers:
        document["observers"] = [
            {"use": use.use, **use.options} if use.options else use.use for use in recipe.observers
        ]
    document["stages"] = {stage.id: stage.resolved() for stage in plan.stages}
    return document


def write_resolved(plan: Plan) -> str:
    """That recipe as YAML."""
    return f"# {plan.recipe.name}, profile {plan.profile}: every default written out.\n{to_yaml(resolved_data(plan))}"
