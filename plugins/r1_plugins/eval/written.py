"""The recipe of an evaluation: an `import` for each folder or hub id, a `sample` stage for each endpoint and for
recorded answers, and one `evaluate` stage that scores them all by the same reward."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1_plugins.eval.against import gates_against, gates_not_below
from r1_plugins.eval.endpoints import ENDPOINT
from r1_plugins.eval.gates import bounds, check_gates
from r1_plugins.eval.recorded import counted
from r1core.errors import RecipeError
from r1core.store import read_json, write_json

MAP = "write '{use: NAME, key: value}'"
NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command was given."""

    models: Sequence[str]
    problems: str | dict[str, Any] | None
    answers: Path | None
    reward: str | dict[str, Any]
    samples: int
    k: int
    temperature: float
    top_p: float
    max_new_tokens: int
    limit: int
    seed: int
    greedy: bool
    key: str | None
    gates: Sequence[str]
    thinking: str = "required"
    sets: Sequence[str] = ()
    """Keys of the recipe that are overridden: they may measure more."""
    gate_against: Path | None = None
    against: Path | None = None
    fetch: bool = True
    """Whether models of the hub are fetched before the run; a plan needs none."""


def write(asked: Asked, folder: Path) -> Path:
    """The recipe, beside the run's folder: JSON, which is YAML, too."""
    path = folder.with_name(folder.name + ".recipe.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, recipe(asked))
    return path


def folder_of(asked: Asked, sets: Sequence[str]) -> Path:
    """Where an evaluation lives that is given no folder: the same question goes on there, another one does not mix in.
    What only decides whether the result is good enough is no part of the question."""
    question = recipe(asked)
    del question["stages"]["evaluation"]["gate"]
    text = json.dumps([question, list(sets)], sort_keys=True)
    return Path("runs") / f"eval-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def fitting(models: Sequence[str], most: int, elsewhere: Mapping[str, int] | None = None) -> int:
    """At most `most` tokens for an answer, and half of what the smallest model reads: the folders say it, and of
    endpoints those that are in `elsewhere`; 1 at least."""
    for given in models:
        most = min(most, (elsewhere or {}).get(given, 2 * most) // 2)
        for path in (Path(given) / "config.json", Path(given) / "model" / "config.json"):
            if path.is_file():
                positions = read_json(path).get("max_position_embeddings")
                most = min(most, positions // 2) if isinstance(positions, int) else most
    return max(most, 1)


def set_name() -> str:
    """The sampled set's name, which is its metric's: pass@1, whichever k is measured beside it."""
    return "pass@1"


def recipe(asked: Asked) -> dict[str, Any]:
    """Raises RecipeError for what does not go together."""
    if (asked.answers is None) == (not asked.models):
        raise RecipeError("models or --answers, one of both", where="r1 eval", fix="r1 eval MODEL... --problems SOURCE")
    source, samples = _source(asked)
    if asked.k > samples:
        fix = "take more samples, or a smaller k"
        raise RecipeError(f"pass@{asked.k} needs at least {asked.k} samples, got {samples}", where="--k", fix=fix)
    stages = _models(asked, source)
    sampled = {"problems": source, "limit": asked.limit, "samples": samples, **_drawn(asked)}
    further = {"also_k": [asked.k]} if asked.k > 1 else {}
    read = {"thinking": asked.thinking} if asked.thinking != "required" else {}
    sets: dict[str, Any] = {set_name(): {**sampled, **further, **read}}
    local = [name for name, stage in stages.items() if "import" in stage]
    if asked.greedy:
        if not local:
            raise RecipeError("only folders and hub ids are asked greedily", where="--greedy", fix="leave it out")
        sets["greedy"] = {"problems": source, "limit": asked.limit, "temperature": 0.0, "models": local, **read}
    reward = yaml_map(asked.reward, "--reward") if isinstance(asked.reward, str) else asked.reward
    beside = [each for each in ("format", "language") if each != _used(reward)]
    if not asked.sets:
        check_gates(asked.gates, sets, beside)
    return {
        "r1": 1,
        "name": "eval",
        "profile": "none",
        "seed": asked.seed,
        "stages": {
            **stages,
            "evaluation": {
                "evaluate": {"sets": sets},
                "models": list(stages),
                "rewards": [reward, *beside],
                "sampling": {"max_new_tokens": asked.max_new_tokens},
                "policy": "transformers",
                "sampler": "native",
                "gate": _gates(
                    asked, {name: each.get("models", list(stages)) for name, each in sets.items()}, list(stages)
                ),
            },
        },
    }


def _gates(asked: Asked, sets: dict[str, list[str]], models: Sequence[str]) -> list[dict[str, Any]]:
    found = list(bounds(asked.gates, models))
    found += gates_against(asked.against, sets) if asked.against is not None else []
    return found + (list(gates_not_below(asked.gate_against, sets)) if asked.gate_against is not None else [])


def _drawn(asked: Asked) -> dict[str, Any]:
    return {"temperature": asked.temperature, "top_p": asked.top_p}


def _models(asked: Asked, source: Any) -> dict[str, Any]:
    """A stage for each model, by a name made of what was given."""
    if asked.answers is not None:
        ends = {"finish": "finish"} if counted(asked.answers)[1] else {}
        given = {**source, "completion": "answers", **ends}
        return {"answers": {"sample": {"answers": "given"}, "problems": given}}
    found: dict[str, Any] = {}
    for model in asked.models:
        name = _name(model, found)
        found[name] = (
            _elsewhere(asked, model, source) if ENDPOINT.match(model) else {"import": _folder(model, fetch=asked.fetch)}
        )
    return found


def _elsewhere(asked: Asked, given: str, source: Any) -> dict[str, Any]:
    url, _, model = given.partition("#")
    if not model:
        raise RecipeError(f"{given} does not say which model", where="MODEL", fix=f"write {url}#<name of the model>")
    endpoint: dict[str, Any] = {"url": url, **({"key": {"env": asked.key}} if asked.key else {})}
    return {
        "sample": {"prompts": asked.limit, "samples": asked.samples},
        "sampler": {"use": "openai", "endpoint": endpoint, "model": model},
        "problems": source,
        "sampling": {"max_new_tokens": asked.max_new_tokens, **_drawn(asked)},
    }


def _folder(given: str, *, fetch: bool) -> str:
    from r1core.model_names import find_model, is_hub_id

    return given if is_hub_id(given) and not fetch else str(find_model(given, command="eval").resolve())


def _name(given: str, taken: dict[str, Any]) -> str:
    parts = [part for part in re.split(r"[/#]", given) if part not in ("", "model")]
    short = NOT_A_NAME.sub("_", parts[-1] if parts else "").strip("_") or "model"
    short = short if short[0].isalpha() else f"model_{short}"
    names = [short, *(f"{short}_{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in {*taken, "evaluation"})


def _source(asked: Asked) -> tuple[Any, int]:
    """The problems, and how many answers there are to each."""
    if asked.answers is not None:
        return {"use": "jsonl", "path": str(asked.answers.resolve())}, counted(asked.answers)[0]
    if asked.problems is None:
        raise RecipeError("no problems", where="--problems", fix="give jsonl:PATH, a source's name, or {use: ...}")
    if not isinstance(asked.problems, str):
        return asked.problems, asked.samples
    kind, colon, path = asked.problems.partition(":")
    if colon and kind.isidentifier():
        return {"use": kind, "path": str(Path(path).resolve())}, asked.samples
    found = yaml_map(asked.problems, "--problems")
    return {"use": found} if isinstance(found, str) else found, asked.samples


def yaml_map(text: str, where: str) -> str | dict[str, Any]:
    """`{use: ..., ...}` as it is in a recipe, or a name alone. Raises RecipeError for what is no such map."""
    if not text.lstrip().startswith("{"):
        return text
    from ruamel.yaml import YAML, YAMLError

    try:
        found = YAML(typ="safe").load(text)
        plain = json.loads(json.dumps(found))
    except (YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{text!r} is no YAML: {reason}", where=where, fix=MAP) from error
    if not isinstance(plain, dict) or not isinstance(plain.get("use"), str):
        raise RecipeError(f"{text!r} does not say what to use", where=where, fix=MAP)
    return plain


def _used(component: str | Mapping[str, Any]) -> str:
    return component if isinstance(component, str) else str(component["use"])
