"""What cannot be compared, said with the keys that differ: a difference has to have one cause.

Variants of one run may differ in what its recipe's matrix varies: in the paths in which the plan has them
differ. Separate runs may differ in one thing, one key with all below it, or in the paths that are named.
All have to be measured in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r1core.comparison.finished import Model
from r1core.comparison.lineage import beyond, common, differing, facts, lineage, planned, treatment
from r1core.errors import RecipeError
from r1core.recipe.difference import changes

ONE_THING = 4
"""Parts of a path from which on it is one thing: `stages.r1_zero.train.advantage`."""


def check_comparable(name: str, variants: Sequence[Sequence[Model]], metric: str, differ: Sequence[str]) -> None:
    """Raise RecipeError where the models, by variant with the base first, differ in more than they should."""
    base = variants[0][0]
    for models in variants:
        for model in models:
            check_measured_alike(base, model, metric)
        _check_treatment(name, base, models[0], differ)


def _check_treatment(name: str, base: Model, model: Model, differ: Sequence[str]) -> None:
    found = differing(treatment(lineage(base)), treatment(lineage(model)))
    if not found:
        return
    if base.run is model.run:
        wrong = beyond(found, [*differing(planned(base), planned(model)), *differ])
        fix = "run the recipe again, so that all variants are made as it says now"
        more = "more than the matrix"
    else:
        wrong = beyond(found, differ) if differ else [] if _is_one_thing(list(found)) else list(found)
        fix = "change one thing at a time, or name what is meant to differ: --differing stages.<stage>.<key>"
        more = "more than one thing"
    if wrong:
        lines = "".join(f"\n  {found[path]}" for path in wrong)
        where = " and ".join(dict.fromkeys((f"{base.run.path}: {base.id}", f"{model.run.path}: {model.id}")))
        raise RecipeError(f"{name}: they differ in {more}:{lines}", where=where, fix=fix)


def _is_one_thing(paths: list[str]) -> bool:
    return len(paths) == 1 or common(paths).count(".") + 1 >= ONE_THING


def check_measured_alike(base: Model, model: Model, metric: str) -> None:
    """Raise RecipeError unless both got the same problems, sampled and judged in the same way. Seeds apart: other ones
    ask other problems."""
    here, there = _measure(base, metric), _measure(model, metric)
    lines = list(changes(here, there, f"stages.{base.run.name(base.evaluation)}")) or _unlike(base, model, metric)
    if lines:
        where = " and ".join(
            dict.fromkeys((f"{base.run.path}: {base.evaluation}", f"{model.run.path}: {model.evaluation}"))
        )
        said = "".join(f"\n  {line}" for line in lines)
        fix = "measure them in the same way, and compare again"
        raise RecipeError(f"{base.name}: not measured in the same way:{said}", where=where, fix=fix)


def _unlike(base: Model, model: Model, metric: str) -> list[str]:
    """What the recipe does not tell: the problems' content, sources of rewards and sampler, the chat template. Another
    seed asks other problems, with other keys."""
    here, there = (dict(each.run.measure(each, metric)) for each in (base, model))
    if not here or not there:
        return []
    if here["seed"] != there["seed"]:
        for facts in (here, there):
            facts.pop("seed")
            facts["problems"] = {"number": facts["problems"]["number"]}
    return list(changes(here, there, metric))


def _measure(model: Model, metric: str) -> Mapping[str, Any]:
    """How a model was measured on one set: all that an evaluation is made from but the models and other sets."""
    made = facts(model.run, model.evaluation)
    body = {key: value for key, value in made["stage"].items() if key not in ("models", "evaluate")}
    chosen = {key: value for key, value in made["stage"]["evaluate"]["sets"][metric].items() if key != "models"}
    judges = {name: mark[:12] for name, mark in made["inputs"].items() if name not in _measured(model)}
    return {**body, "evaluate": {"sets": {metric: chosen}}, "inputs": judges}


def _measured(model: Model) -> set[str]:
    return {model.run.name(name) for name in model.run.stages[model.evaluation].get("models", ())}
