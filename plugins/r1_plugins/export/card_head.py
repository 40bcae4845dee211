"""The front matter of a model card: what the hub and its search read.

`model-index` has the model's row of the run's results, each number with its 95 % interval; it is left out where no
evaluation measured the model, for a number without a measurement is an invention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from r1_plugins.export.facts import Facts
from r1_plugins.export.lineage import HUB_NAME, Lineage, split_metrics
from r1_plugins.export.markdown import front
from r1_plugins.export.words import chosen, name_of

LANGUAGE = 2
"""Letters of a language's code."""


def head(facts: Facts) -> Iterator[str]:
    """Its lines, with the fences."""
    own = facts.lineage
    yield "---"
    yield f"license: {front(facts.licence.id)}"
    yield "library_name: transformers"
    yield f"pipeline_tag: {'text-classification' if facts.scores else 'text-generation'}"
    if facts.base_model:
        yield f"base_model: {front(facts.base_model)}"
        yield "base_model_relation: finetune"
    if own is not None and (datasets := hub_datasets(own)):
        yield f"datasets: {front(datasets)}"
    if own is not None and (languages := _languages(own)):
        yield f"language: {front(languages)}"
    yield f"tags: {front(tags(facts))}"
    if own is not None and (found := index(facts.name, own)):
        yield f"model-index: {front(found)}"
    yield "---"


def tags(facts: Facts) -> list[str]:
    """Words to find it by: how it was trained, by the trainers' own names too."""
    found = ["r1core"]
    if facts.scores:
        found.append("reward-model")
    if facts.lineage is not None:
        steps = [step for step in facts.lineage.chain if step.kind == "train"]
        trained = [name_of(step.body.get("train")) for step in steps]
        if any(step.body.get("problems") and step.body.get("rewards") for step in steps):
            found.append("reinforcement-learning")
        if taught(facts.lineage):
            found.append("distillation")
        found += trained
    if facts.thinking is not None and facts.thinking.kept:
        found.append("reasoning")
    return list(dict.fromkeys(found))


def taught(own: Lineage) -> bool:
    """Whether the model learned what another one wrote: answers of somebody elsewhere, or of a model of this run whose
    weights began elsewhere. Learning from an earlier state of itself is not meant."""
    by_id = {step.id: step for step in own.steps}
    data = [name for step in own.chain for name in step.body.get("data") or () if isinstance(name, str)]
    while data:
        step = by_id.get(data.pop())
        if step is None:
            continue
        model, spec = step.body.get("model"), step.body.get("sample") or {}
        if spec.get("answers") == "model" and (model is None or own.root(str(model)) != own.chain[0].id):
            return True
        data += [name for name in step.body.get("data") or () if isinstance(name, str)]
    return False


def hub_datasets(own: Lineage) -> list[str]:
    """Names on the hub among the paths of all problem sources and data on the way."""
    asked = [use for step in own.steps for key in ("problems", "data") for use in chosen(step.body.get(key))]
    paths = [str(use["path"]) for use in asked if isinstance(use.get("path"), str)]
    names = [path for path in paths if path.count("/") == HUB_NAME - 1 and not path.startswith((".", "/", "~"))]
    return list(dict.fromkeys(name for name in names if "." not in name.rpartition("/")[2]))


def index(name: str, own: Lineage) -> list[dict[str, Any]]:
    """The model-index: one result for each set of the evaluation."""
    metrics = []
    for metric, value, interval in split_metrics(own.metrics):
        entry: dict[str, Any] = {"type": metric.partition("/")[0], "name": metric, "value": round(value, 6)}
        if interval is not None:
            low, high = interval
            entry["name"] = f"{metric} (95% interval {low:.4f} to {high:.4f})"
            entry["args"] = {"interval_95": [round(float(low), 6), round(float(high), 6)]}
        metrics.append(entry)
    if not metrics:
        return []
    return [{"name": name, "results": [{"task": {"type": "text-generation"}, **_dataset(own), "metrics": metrics}]}]


def _dataset(own: Lineage) -> dict[str, Any]:
    numbers = sorted({measured["problems"]["number"] for measured in own.manifest.values() if "problems" in measured})
    count = f", {numbers[-1]:,} of them" if numbers else ""
    described = f"problems of the run's own evaluation{count}"
    return {"dataset": {"type": "held-out", "name": described}}


def _languages(own: Lineage) -> list[str]:
    found: dict[str, None] = {}
    for step in own.steps:
        every: Mapping[str, Any] = step.report.get("all") or {}
        codes = [str(each) for each in every.get("language") or ()]
        found |= dict.fromkeys(each for each in codes if len(each) == LANGUAGE and each.isalpha())
    return list(found)
