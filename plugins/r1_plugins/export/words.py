"""Stages in words: one line of a model card for each, from what its record says.

Nothing here knows a component: a trainer is called by its name, and of its options those are told that decide how much
was learned from how much, wherever in it they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from r1_plugins.export.lineage import Step, hub_name
from r1_plugins.export.markdown import code

AMOUNTS = {
    "steps": "{:,} steps",
    "epochs": "{:,} epochs",
    "prompts": "{:,} problems a step",
    "samples": "{:,} answers to each",
    "batch_tokens": "{:,} tokens a batch",
}
LAST = {
    "loss": "loss {:.3f}",
    "reward": "reward {:.3f}",
    "accuracy": "accuracy {:.3f}",
    "eval/pair_accuracy": "held-out pairs {:.3f}",
    "completions/mean_length": "answers of {:.0f} tokens",
}
FATES = ("edited", "rejected", "unchanged")
SHORT = 12


def sentence(step: Step) -> str:
    """What the stage did, in Markdown."""
    told = {"train": _train, "sample": _sample, "import": _import, "review": _review}.get(step.kind, _other)
    return f"{code(step.id)}: {told(step)} Fingerprint {code(step.record.fingerprint[:SHORT])}."


def _import(step: Step) -> str:
    start = str(step.body.get("import") or "")
    named = hub_name(start)
    return f"{code(named)} from the hub, unchanged." if named else "a model from a local folder, unchanged."


def _sample(step: Step) -> str:
    rows, kept = step.report.get("rows"), step.report.get("kept")
    counted = isinstance(rows, int) and isinstance(kept, int)
    model, answers = step.body.get("model"), (step.body.get("sample") or {}).get("answers")
    by = f" of {code(model)}" if isinstance(model, str) else " that came with the data" if answers == "given" else ""
    count, left = (f"{rows:,} answers", f", {kept:,} of them kept") if counted else ("answers", "")
    return f"{count}{by} to {_problems(step.body)}{left}."


def _review(step: Step) -> str:
    """What people changed; where they changed nothing, nobody can tell whether they looked."""
    edited, rejected, left = (int(step.record.metrics.get(f"review/{fate}", 0)) for fate in FATES)
    if not edited + rejected:
        return f"{left:,} answers laid out for people to review; none was edited or rejected."
    return (
        f"{left + edited + rejected:,} answers laid out for people to review: {edited:,} edited, {rejected:,} rejected."
    )


def _other(step: Step) -> str:
    return f"a stage of kind {code(step.kind)}."


def _train(step: Step) -> str:
    body = step.body
    parts = [f"trained by {code(name_of(body.get('train')))}", *_from(body), *_on(body), *_paid(body)]
    amounts = list(_amounts(body.get("train")))
    lr = _find(body.get("train"), "peak")
    if isinstance(lr, int | float):
        amounts.append(f"learning rate {lr:g} at most")
    adapters = (body.get("policy") or {}).get("lora")
    if isinstance(adapters, Mapping):
        amounts.append(f"LoRA of rank {adapters.get('rank')}, merged")
    own = step.record.metrics
    last = [form.format(own[name]) for name, form in LAST.items() if name in own and own[name] == own[name]]
    told = f"{' '.join(parts)}; {', '.join(amounts)}." if amounts else f"{' '.join(parts)}."
    return f"{told} In the last step: {', '.join(last)}. {step.record.wall_s:,.0f} s." if last else told


def _from(body: Mapping[str, Any]) -> Iterator[str]:
    model = body.get("model")
    if isinstance(model, str):
        yield f"from {code(model)}"
    elif isinstance(model, Mapping) and isinstance(made := model.get("scratch"), Mapping):
        layers, width = made.get("num_hidden_layers"), made.get("hidden_size")
        yield f"from nothing ({code(str(made.get('model_type')))}, layers {layers}, width {width})"


def _on(body: Mapping[str, Any]) -> Iterator[str]:
    data = [code(each if isinstance(each, str) else name_of(each)) for each in body.get("data") or ()]
    if data:
        yield f"on {', '.join(data)}"
    elif body.get("problems"):
        yield f"on {_problems(body)}"


def _paid(body: Mapping[str, Any]) -> Iterator[str]:
    if not body.get("problems"):
        return
    paid = []
    for reward in body.get("rewards") or ():
        weight = f" x {reward['weight']:g}" if isinstance(reward.get("weight"), int | float) else ""
        paid.append(f"{code(str(reward.get('as') or reward.get('use')))}{weight}")
    if paid:
        yield f"for {', '.join(paid)}"


def _problems(body: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(uses_of(body.get("problems"))))
    return f"problems of {', '.join(code(name) for name in names)}" if names else "problems"


def uses_of(value: Any) -> Iterator[str]:
    """The names of all components that are chosen within a value."""
    for use in chosen(value):
        yield str(use["use"])


def chosen(value: Any) -> Iterator[Mapping[str, Any]]:
    """All components that are chosen within a value, with their options."""
    if isinstance(value, Mapping):
        if isinstance(value.get("use"), str):
            yield value
        for item in value.values():
            yield from chosen(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from chosen(item)


def name_of(use: Any) -> str:
    """What a choice is called."""
    return str(use.get("use", "")) if isinstance(use, Mapping) else str(use or "")


def _amounts(train: Any) -> Iterator[str]:
    for name, form in AMOUNTS.items():
        value = _find(train, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = form.format(value)
            yield text.removesuffix("s") if value == 1 and name in ("steps", "epochs") else text


def _find(value: Any, key: str) -> Any:
    """The first value under a key, at any depth; outer ones first."""
    if not isinstance(value, Mapping):
        return None
    if value.get(key) is not None:
        return value[key]
    return next((found for item in value.values() if (found := _find(item, key)) is not None), None)
