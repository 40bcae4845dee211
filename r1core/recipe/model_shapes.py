"""Which shape the models of a plan have, stage by stage: made from scratch, found on this disk, or unknown and why.

A train stage leaves the shape that it started from; one that makes a model of scores leaves it without its head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from r1core.choices import Use
from r1core.components import Policy, ProblemSource, Trainer
from r1core.errors import RecipeError
from r1core.estimates import ModelShape, Unknown, shape_of
from r1core.estimates.folders import shape_of_name
from r1core.plugins import Loaded
from r1core.recipe.schema import Scratch, Stage

TYPE, VOCABULARY, ROTATION = "model_type", "vocab_size", "rope_parameters"


class Staged(Protocol):
    """A stage with its components looked up: a draft, or a stage of the plan."""

    @property
    def stage(self) -> Stage:
        """As the recipe says it, defaults filled in."""
        ...

    @property
    def components(self) -> tuple[Loaded, ...]:
        """What it is made of."""
        ...


def shape_before(staged: Staged, by_id: Mapping[str, Staged]) -> ModelShape | Unknown:
    """The model that a stage starts from."""
    model = staged.stage.model
    if isinstance(model, Scratch):
        return shape_of(scratch_config(staged), vocabulary=_vocabulary(staged))
    return shape_after(model, by_id) if model is not None else Unknown("it has no model")


def shape_after(stage_id: str, by_id: Mapping[str, Staged]) -> ModelShape | Unknown:
    """The model that a stage leaves."""
    seen: set[str] = set()
    while stage_id in by_id and stage_id not in seen:  # a cycle is refused elsewhere
        seen.add(stage_id)
        staged = by_id[stage_id]
        if staged.stage.import_ is not None:
            return shape_of_name(staged.stage.import_)
        if not isinstance(staged.stage.model, str):
            return _left(staged, shape_before(staged, by_id))
        if _scores(staged):
            return _left(staged, shape_after(staged.stage.model, by_id))
        stage_id = staged.stage.model
    return Unknown(f"no stage {stage_id!r} makes it")


def scratch_config(staged: Staged) -> dict[str, Any]:
    """The keys of a model from scratch over its type's defaults, as far as the policy can tell these."""
    assert isinstance(staged.stage.model, Scratch), "asked of stages that start from scratch"
    defaults = {name: default for name, default in _fields(staged, staged.stage.model).items() if default is not None}
    defaults.pop(VOCABULARY, None)  # the tokenizer's counts, unless the recipe says otherwise
    return {**defaults, **staged.stage.model.scratch}


def rotates(staged: Staged) -> bool:
    """Whether a model from scratch is of a type that turns its heads by position, as far as the policy can tell."""
    assert isinstance(staged.stage.model, Scratch), "asked of stages that start from scratch"
    return ROTATION in _fields(staged, staged.stage.model)


def _fields(staged: Staged, model: Scratch) -> dict[str, Any]:
    """The keys of its type's config and their defaults; none where the policy cannot tell."""
    policy = next((c.cls for c in staged.components if issubclass(c.cls, Policy)), Policy)
    try:
        options = policy.architecture_options(str(model.scratch.get(TYPE, "")))
    except RecipeError:
        return {}
    return {name: field.default for name, field in options.model_fields.items()} if options is not None else {}


def _vocabulary(staged: Staged) -> int | None:
    """What the first source among the data, whose tokenizer is taken, tells of it."""
    use = next((datum for datum in staged.stage.data if isinstance(datum, Use)), None)
    loaded = next((c for c in staged.components if use is not None and (c.kind, c.name) == ("source", use.use)), None)
    if use is None or loaded is None or not issubclass(loaded.cls, ProblemSource):
        return None
    source: ProblemSource = loaded.cls(loaded.cls.Config.model_validate(use.options))
    return source.vocabulary


def _scores(staged: Staged) -> bool:
    return any(issubclass(c.cls, Trainer) and c.cls.head == "score" for c in staged.components)


def _left(staged: Staged, shape: ModelShape | Unknown) -> ModelShape | Unknown:
    return shape.scoring() if isinstance(shape, ModelShape) and _scores(staged) else shape
