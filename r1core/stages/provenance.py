"""Where a dataset comes from, read off the plan: problems, teacher, sampling, verifiers, filters; stage by stage back.

Of an absolute path only the last name stands; secrets are names already. So nothing of it depends on when or where it
ran: the same recipe on the same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1core.choices import Use
from r1core.recipe.schema import RewardUse, Stage

if TYPE_CHECKING:
    from r1core.recipe.plan import Plan, StagePlan


def provenance_of(plan: Plan, stage: StagePlan) -> dict[str, Any]:
    """What the stage was made from, as JSON."""
    body, spec = stage.stage, stage.stage.sample
    found: dict[str, Any] = {"stage": stage.id, "kind": stage.kind, "recipe": plan.name, "seed": stage.seed}
    if spec is not None:
        found["answers"] = spec.answers
        found["license"] = spec.license
        found["filters"] = [component_of(use) for use in body.filters]
        if spec.answers != "given":
            found["teacher"] = _teacher(plan, stage)
            found["sampling"] = body.sampling.model_dump(mode="json", exclude={"ahead"}) | {"samples": spec.samples}
            found["instruction"] = spec.instruction
            found["shots"] = len(spec.shots)
    found["verifiers"] = _verifiers(plan, body.rewards)
    found["problems"] = [component_of(use) for use in body.asked() if isinstance(use, Use)]
    found["data"] = [provenance_of(plan, plan.stage(name)) for name in _upstream(body)]
    return {key: value for key, value in found.items() if value not in (None, "", [], {}, 0) or key == "seed"}


def licenses_of(made: dict[str, Any]) -> list[str]:
    """The licence that the dataset states, else those of what it was made from."""
    if "license" in made:
        return [made["license"]]
    found = [each for one in made.get("data", []) for each in licenses_of(one)]
    return list(dict.fromkeys(found))


def _upstream(body: Stage) -> list[str]:
    return [datum for datum in body.data if isinstance(datum, str)]


def _teacher(plan: Plan, stage: StagePlan) -> dict[str, Any]:
    """Who answered: a model of the run, with what it was made from, or someone elsewhere."""
    found: dict[str, Any] = {}
    if stage.stage.sampler is not None:
        found["sampler"] = component_of(stage.stage.sampler)
    if stage.model is not None:
        model = plan.stage(stage.model)
        found["model"] = {"stage": model.id, "kind": model.kind, "fingerprint": model.fingerprint}
        if model.stage.import_ is not None:
            found["model"]["import"] = _placeless(model.stage.import_)
    return found


def _verifiers(plan: Plan, rewards: Sequence[RewardUse]) -> list[dict[str, Any]]:
    found = []
    for use in rewards:
        loaded = plan.loaded("reward", use)
        told = {"part": use.part, **component_of(use), "version": f"{loaded.distribution} {loaded.version}"}
        found.append(told)
    return found


def component_of(use: Use) -> dict[str, Any]:
    """A choice as JSON, without the options that are not set, and without the places of this machine."""
    options = {key: _placeless(value) for key, value in use.options.items() if value not in (None, [], {})}
    return {"use": use.use, **({"options": options} if options else {})}


def _placeless(value: Any) -> Any:
    """The value, of absolute paths in it the last name alone."""
    if isinstance(value, dict):
        return {key: _placeless(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_placeless(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
