"""How models were measured, beside what was found: `data/manifest.json` of an evaluation.

    {"sets": {"pass@1": {"k": 1, "samples": 8, "temperature": 0.6, ..., "problems": {"number": 500, "sha256": ..}}},
     "models": {"dev3": {"tokenizer": .., "template": .., "like": {"pass@1": <hash of what must be like>}}}}

Two numbers can be compared where these say the same: the problems by content, how answers were sampled and cut, the
rewards by version and source, the template that made prompts of the problems. `like` is the hash of it for each number
of `results.json`; `r1 compare` holds manifests against each other and names what differs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.choices import Use
from r1core.recipe.earlier import TEMPLATE
from r1core.recipe.fingerprint import digest
from r1core.recipe.measures import part_names
from r1core.recipe.plan import Plan, StagePlan
from r1core.recipe.schema import EvalSet
from r1core.types import Problem

SHOWN = 12
"""Characters of a hash that people read."""
TOKENIZER = "tokenizer"
RECORDED = "recorded answers"
KEYS = "(seed, stage, 'evaluate', set, place of the problem, number of the answer)"
"""What the key of an answer is derived from (keys.py): the same for every model."""


def set_facts(plan: Plan, own: StagePlan, wanted: EvalSet, problems: Sequence[Problem]) -> dict[str, Any]:
    """How one set is measured, whichever model of the stage answers; sampled_facts has what else a model has."""
    stage, counted = own.stage, own.made_from["stage"]
    parts = part_names([reward.part for reward in stage.rewards])
    rewards = zip(parts, stage.rewards, counted.get("rewards", ()), strict=True)
    assert stage.sampler is not None, "the plan gives every evaluation a sampler"
    return {
        "problems": {"number": len(problems), "sha256": digest([_content(problem) for problem in problems])},
        "samples": wanted.samples,
        "k": wanted.k,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "max_new_tokens": stage.sampling.max_new_tokens.at(0, 1),
        "reward": wanted.reward or parts[0],
        "at_least": wanted.at_least,
        "sampler": _component(plan, "sampler", stage.sampler, counted["sampler"]),
        "rewards": {part: _component(plan, "reward", use, options) for part, use, options in rewards},
        "seed": own.seed,
        "keys": KEYS,
        **({"thinking": wanted.thinking} if wanted.thinking != "required" else {}),
    }


def sampled_facts(plan: Plan, model: str) -> dict[str, Any]:
    """What is otherwise for answers that a sample stage left: who sampled them, and how. Of recorded ones nobody knows;
    of a model elsewhere the name and address say which it is, not how it was asked."""
    own = plan.stage(model)
    if own.stage.sample is None:
        return {}
    spec, sampling = own.stage.sample, own.stage.sampling
    if spec.answers == "given":
        unknown = dict.fromkeys(("temperature", "top_p", "max_new_tokens", "seed"))
        return {"sampler": {"use": RECORDED, "source": "", "options": "{}"}, **unknown, "keys": ""}
    assert own.stage.sampler is not None, "the plan gives every stage its engines"
    elsewhere = own.stage.model is None
    options = {} if elsewhere else own.made_from["stage"]["sampler"]
    return {
        "sampler": _component(plan, "sampler", own.stage.sampler, options),
        "temperature": sampling.temperature.at(0, 1),
        "top_p": sampling.top_p,
        "max_new_tokens": sampling.max_new_tokens.at(0, 1),
        "keys": "the endpoint's own" if elsewhere else "(seed, stage, 'sample', unit, problem, number of the answer)",
        "instruction": spec.instruction,
        "shots": [shot.model_dump() for shot in spec.shots],
    }


def _content(problem: Problem) -> list[Any]:
    return [problem.id, [dict(message) for message in problem.messages], problem.reference]


def _component(plan: Plan, kind: str, use: Use, options: Mapping[str, Any]) -> dict[str, str]:
    """Which one, of which version and source, with which options: those that decide what comes out."""
    loaded = plan.loaded(kind, use)
    name = Path(loaded.name).name if loaded.local else loaded.name  # wherever the file lies
    return {
        "use": f"{name} ({loaded.distribution} {loaded.version})",
        "source": loaded.source_hash,
        "options": json.dumps(options, sort_keys=True, ensure_ascii=False),
    }


def like(facts: Mapping[str, Any], marks: Mapping[str, str]) -> str:
    """The hash of all that must be like before two numbers are compared."""
    return digest({**facts, TEMPLATE: marks.get(TEMPLATE, "")})[:SHOWN]


def manifest(
    facts: Mapping[str, Mapping[str, Any]],
    marks: Mapping[str, Mapping[str, str]],
    sets: Mapping[str, Sequence[str]],
    sampled: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The whole of it: `facts` by set; `marks`, `sets` and what is `sampled` otherwise by model."""
    models: dict[str, dict[str, Any]] = {}
    for model, own in marks.items():
        own_way = dict((sampled or {}).get(model, {}))
        told = {"sampled": own_way} if own_way else {}
        models[model] = {**own, **told, "like": {name: like({**facts[name], **own_way}, own) for name in sets[model]}}
    return {"sets": dict(facts), "models": models}


def templates(marks: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """The models by the template that makes their prompts: more than one group means that they were asked otherwise. Of
    answers from elsewhere, which have no marks, nobody knows it."""
    groups: dict[str, list[str]] = {}
    for model, own in marks.items():
        if own:
            groups.setdefault(own.get(TEMPLATE, ""), []).append(model)
    return list(groups.values())
