"""Look every name up, check every option: a stage as written becomes a stage with nothing left open.

Each `Use`, wherever it stands (a stage's key, a list, a field of another component's Config), is
found by kind and name, its options are checked by its `Config`, and defaults are filled in. A
trainer's `preset` is a named set of options laid under what the recipe says. Findings are collected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, cast

from pydantic import ValidationError

from r1core.choices import ObserverOptions, Ref, Use
from r1core.components import Policy, Sampler, Trainer
from r1core.errors import Diagnostic, RecipeError
from r1core.plugins import Loaded, PluginHost
from r1core.recipe.annotations import Path, Rewriter
from r1core.recipe.architecture import check_architecture
from r1core.recipe.elsewhere import Elsewhere
from r1core.recipe.environment import Environment
from r1core.recipe.findings import findings, refused
from r1core.recipe.loader import Document
from r1core.recipe.nodes import Mark, merge, node_of
from r1core.recipe.reading import read_keys
from r1core.recipe.resolve import Resolved
from r1core.recipe.schema import RewardUse, Scratch, Stage, StageKind
from r1core.recipe.wanted import given
from r1core.suggest import closest, did_you_mean

SLOTS_OF = {"source": "problems", "reward": "rewards"}
"""The kinds of components that a slot may stand for, and where a recipe binds them."""
_SUGGESTED = re.compile(r"^did you mean '([^']+)'\?$")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One edge: a place in the recipe that names another stage's artifact ("model" or "data")."""

    stage: str
    artifact: str
    path: Path
    agree: tuple[str, ...] = ()
    """Options beside it that must be those of the trainer that made the artifact."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A stage with every name looked up; `plain` is its JSON form with defaults filled in."""

    id: str
    kind: StageKind
    stage: Stage
    plain: dict[str, Any]
    components: tuple[Loaded, ...]
    references: tuple[Reference, ...]
    elsewhere: tuple[Elsewhere, ...] = ()
    trainer: str = ""
    trainer_reads: frozenset[str] = frozenset()
    trainer_measures: frozenset[str] = frozenset()
    trainer_is_off_policy: bool = False
    teachers: tuple[tuple[Path, str], ...] = ()
    """The samplers that components name in their options, and where."""

    @property
    def name(self) -> str:
        """What the recipe calls it: its id, or the stage that it is a variant of."""
        return self.id if self.stage.variant is None else self.stage.variant.of


def asks_elsewhere(stage: Stage, components: Iterable[Loaded]) -> Loaded | None:
    """The stage's sampler, where its answers come from elsewhere."""
    name = stage.sampler.use if stage.sampler is not None else ""
    found = next((c for c in components if c.name == name and issubclass(c.cls, Sampler)), None)
    return found if found is not None and cast(type[Sampler], found.cls).remote else None


def draft_stages(resolved: Resolved, host: PluginHost) -> list[Draft]:
    """All stages in the order of the recipe; raises one RecipeError with all findings."""
    found: list[Diagnostic] = []
    drafts = []
    for stage_id, stage in resolved.recipe.stages.items():
        names = _Names(resolved, host, stage_id)
        drafts.append(names.draft(stage))
        found += names.findings
    for i, use in enumerate(resolved.recipe.observers):
        try:
            host.observers([use], print)
        except ValidationError as error:
            taken = host.observer_options(use.use) or ObserverOptions
            found += findings(error, taken, resolved.document, at=("observers", i), owner=use.use, also=("use",))
        except RecipeError as error:
            found.append(_from(error, resolved.document, ("observers", i)))
    if found:
        raise refused(found)
    return drafts


def _from(error: RecipeError, document: Document, path: Path) -> Diagnostic:
    where = f" ({error.where})" if error.where else ""
    return document.finding(path, f"{error.what}{where}", hint=error.fix)


class _Names:
    """Resolves the names of one stage."""

    def __init__(self, resolved: Resolved, host: PluginHost, stage: str) -> None:
        self.findings: list[Diagnostic] = []
        self._document = resolved.document
        self._slots = resolved.slots
        self._stages = list(resolved.recipe.stages)
        self._sampled = {name for name, body in resolved.recipe.stages.items() if body.kind == "sample"}
        self._host = host
        self._stage = stage
        self._components: dict[tuple[str, str], Loaded] = {}
        self._references: list[Reference] = []
        self._elsewhere: list[Elsewhere] = []
        self._trainer_reads: frozenset[str] = frozenset()
        self._trainer_measures: frozenset[str] = frozenset()
        self._trainer_is_off_policy = False
        self._teachers: list[tuple[Path, str]] = []
        self._rewriter = Rewriter(use=self._use, ref=self._ref)

    def draft(self, stage: Stage) -> Draft:
        self._own_references(stage)
        data = [Use(use=d) if isinstance(d, str) and d not in self._stages else d for d in stage.data]
        written = self._rewriter.model(stage.model_copy(update={"data": data}), ("stages", self._stage))
        self._scratch(stage)
        if stage.kind == "sample" and asks_elsewhere(stage, self._components.values()):
            written["policy"] = None
            self._components = {key: found for key, found in self._components.items() if key[0] != "policy"}
        read = read_keys(stage, self._trainer_reads)
        plain = {key: value for key, value in written.items() if key in read and value not in (None, [], {})}
        return Draft(
            id=self._stage,
            kind=stage.kind,
            stage=stage if self.findings else Stage.model_validate(written),
            plain=plain,
            components=tuple(self._components.values()),
            references=tuple(self._references),
            elsewhere=tuple(self._elsewhere),
            trainer=stage.train.use if stage.train is not None else "",
            trainer_reads=self._trainer_reads,
            trainer_measures=self._trainer_measures,
            trainer_is_off_policy=self._trainer_is_off_policy,
            teachers=tuple(self._teachers),
        )

    def _scratch(self, stage: Stage) -> None:
        policy = next((c.cls for (kind, _), c in self._components.items() if kind == "policy"), None)
        if isinstance(stage.model, Scratch) and policy is not None and issubclass(policy, Policy):
            at = ("stages", self._stage, "model", "scratch")
            self.findings += check_architecture(self._document, at, stage.model.scratch, policy)

    def _own_references(self, stage: Stage) -> None:
        """The edges that the stage's own keys draw; those of components are found on the way."""
        if isinstance(stage.model, str):
            self._ref(stage.model, Ref("model"), ("stages", self._stage, "model"))
        for i, model in enumerate(stage.models):
            mark = Ref("data" if model in self._sampled else "model")  # a sample stage has the answers already
            self._ref(model, mark, ("stages", self._stage, "models", i))
        for i, datum in enumerate(stage.data):
            if isinstance(datum, str) and datum in self._stages:
                self._ref(datum, Ref("data"), ("stages", self._stage, "data", i))

    def _ref(self, stage: str, mark: Ref, path: Path) -> str:
        self._references.append(Reference(stage=stage, artifact=mark.artifact, path=path, agree=mark.agree))
        return stage

    # --- components --------------------------------------------------------------------------

    def _use(self, use: Use, kind: str, path: Path) -> dict[str, Any]:
        """A component choice with its options checked and its defaults filled in."""
        own = self._rewriter.model(use, path, skip=["use"])
        plain = {"use": use.use, **{key: value for key, value in own.items() if value not in (None, {})}}
        try:
            loaded = self._host.load(kind, use.use)
        except RecipeError as error:
            self._not_found(error, use.use, kind, path)
            return plain
        self._components[kind, loaded.name] = loaded
        if kind == "sampler" and path != ("stages", self._stage, "sampler"):
            self._teachers.append((path, loaded.name))
        if isinstance(use, RewardUse) and use.python is not None:
            self._runs_elsewhere(loaded, use.python, path)
        options = self._with_preset(loaded, use.options, path)
        config = self._config(loaded, use, options, path)
        if config is None:
            return plain
        if issubclass(loaded.cls, Trainer):
            trainer = loaded.cls(config)
            self._trainer_reads, self._trainer_measures = trainer.reads, trainer.measures
            self._trainer_is_off_policy = trainer.off_policy
        return {**plain, **self._rewriter.model(config, path)}

    def _runs_elsewhere(self, loaded: Loaded, place: str, path: Path) -> None:
        elsewhere = Elsewhere(loaded=loaded, environment=Environment(FilePath(place)))
        self._elsewhere.append(elsewhere)
        message, hint = elsewhere.refusal()
        if message:
            self.findings.append(self._document.finding((*path, "python"), message, hint=hint))

    def _not_found(self, error: RecipeError, name: str, kind: str, path: Path) -> None:
        """A name that is no component may be a slot or a stage, misspelled; the nearest of all is suggested."""
        is_word = len(path) == 4 and path[2] == "data" and self._document.root.at(path).map == {}
        stages = [s for s in self._stages if s != self._stage] if is_word else []
        slots = self._slots.get(SLOTS_OF.get(kind, ""), frozenset())
        component = _SUGGESTED.search(error.fix)
        known = [*stages, *slots, *(component.groups() if component else ())]
        near = closest(name, known)
        if not error.what.startswith(f"no {kind} ") or not (is_word or near in slots):
            finding = _from(error, self._document, path if is_word else (*path, "use"))
        else:
            other = "stage" if is_word else f"{SLOTS_OF[kind].removesuffix('s')} slot"
            hint = did_you_mean(name, known) or error.fix
            finding = self._document.finding((*path, "use"), f"no {other} and no {kind} {name!r}", hint=hint)
        self.findings.append(finding)

    def _with_preset(self, loaded: Loaded, options: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """The options with the named preset laid under them."""
        if not issubclass(loaded.cls, Trainer) or "preset" not in options:
            return dict(options)
        presets, wanted = loaded.cls.presets, options["preset"]
        rest = {key: value for key, value in options.items() if key != "preset"}
        if not isinstance(wanted, str) or wanted not in presets:
            hint = did_you_mean(str(wanted), presets, otherwise="presets: ")
            is_name = isinstance(wanted, str)
            message = f"{loaded.name} has no preset {wanted!r}" if is_name else f"a name is wanted, got {given(wanted)}"
            last = list(wanted)[-1:] if isinstance(wanted, Mapping) else []  # laid over a name, it stands there itself
            self.findings.append(self._document.finding((*path, "preset", *last), message, hint=hint))
            return rest
        mark = Mark(f"preset {wanted}")
        merged: dict[str, Any] = merge(node_of(presets[wanted], mark), node_of(rest, mark)).plain()
        return merged

    def _config(self, loaded: Loaded, use: Use, options: dict[str, Any], path: Path) -> Any:
        """The validated Config; where it has findings, that of the other keys, so that those within are found too."""
        cls = loaded.cls
        try:
            return cls.Config.model_validate(options)
        except ValidationError as error:
            owner = f"{loaded.name} ({loaded.distribution} {loaded.version})"
            also = [field.alias or name for name, field in type(use).model_fields.items()]
            also += ["preset"] if issubclass(cls, Trainer) and cls.presets else []
            self.findings += findings(error, cls.Config, self._document, at=path, owner=owner, also=also)
            wrong = {str(e["loc"][0]) for e in error.errors(include_url=False) if e["loc"]}
            try:
                return cls.Config.model_validate({k: v for k, v in options.items() if k not in wrong})
            except ValidationError:
                return None
