"""Impossible arithmetic between a model, what is asked of it, and the engines: refused with the nearest legal values.

Nothing here guesses: where a model's numbers are not known (a hub id that is not on this disk) nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from r1core.choices import Use
from r1core.components import Policy, Sampler
from r1core.errors import Diagnostic
from r1core.estimates import Misfit, ModelShape
from r1core.recipe.model_shapes import Staged, rotates, scratch_config, shape_after, shape_before
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved
from r1core.recipe.schema import Scratch

HIDDEN, HEADS, SHARED_HEADS, SIZE = "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"


def check_capacity(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    """What cannot work out, however long it runs."""
    if isinstance(draft.stage.model, Scratch):
        yield from _heads(resolved, draft)
    yield from _shared(resolved, draft)
    for name, shape in _models(draft, by_id).items():
        if isinstance(shape, ModelShape):
            yield from _positions(resolved, draft, name, shape)
            yield from _engines(resolved, draft, name, shape)


def _models(draft: Draft, by_id: Mapping[str, Staged]) -> dict[str, Any]:
    """The models that the stage trains, samples from or asks, by the stage that they come from."""
    own = draft.stage.model
    found: dict[str, Any] = {}
    if draft.kind in ("train", "sample", "signals") and own is not None:
        found[own if isinstance(own, str) else draft.id] = shape_before(draft, by_id)
    return found | {name: shape_after(name, by_id) for name in draft.stage.models}


# --- the model itself --------------------------------------------------------------------------


def _heads(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Whether the heads of a model from scratch come out even."""
    config = scratch_config(draft)
    hidden, heads = _count(config, HIDDEN), _count(config, HEADS)
    if not hidden or not heads:
        return
    shared, size = _count(config, SHARED_HEADS) or heads, _count(config, SIZE)
    if not size and hidden % heads:
        message = f"{_said(draft, HEADS, heads)}, and {HIDDEN} {hidden} is no multiple of it"
        hint = f"{HEADS}: {_or(_divisors_near(hidden, heads))}, or {HIDDEN}: {_or(_multiples_near(hidden, heads))}"
        yield _at(resolved, draft, HEADS, message, hint)
    elif (size or hidden // heads) % 2 and rotates(draft):
        message = f"heads of {size or hidden // heads} numbers cannot be rotated by position, which takes pairs"
        near = _multiples_near(size or hidden // heads, 2)
        hint = f"{SIZE}: {_or(near)}" if size else f"{HIDDEN}: {_or([heads * even for even in near])}"
        yield _at(resolved, draft, SIZE if size else HIDDEN, message, hint)
    if heads % shared:
        message = f"{_said(draft, SHARED_HEADS, shared)}, which does not divide the {heads} heads"
        yield _at(resolved, draft, SHARED_HEADS, message, f"{SHARED_HEADS}: {_or(_divisors_near(heads, shared))}")


def _said(draft: Draft, key: str, value: int) -> str:
    """The key and its value, and whether it is the type's own."""
    assert isinstance(draft.stage.model, Scratch), "asked of stages that start from scratch"
    return f"{key} is {value}" + ("" if key in draft.stage.model.scratch else " by default")


def _count(config: Mapping[str, Any], key: str) -> int:
    """A positive whole number, 0 for anything else, of which the types speak."""
    value = config.get(key)
    return value if type(value) is int and value > 0 else 0


def _at(resolved: Resolved, draft: Draft, key: str, message: str, hint: str) -> Diagnostic:
    return resolved.document.finding(("stages", draft.id, "model", "scratch", key), message, hint=hint)


def _divisors_near(whole: int, near: int) -> list[int]:
    """The divisors of `whole` next to `near`, below and above; the only one where there is one."""
    divisors = [number for number in range(1, whole + 1) if whole % number == 0]
    below = [number for number in divisors if number < near]
    return [*below[-1:], *[number for number in divisors if number > near][:1]]


def _multiples_near(number: int, of: int) -> list[int]:
    """The multiples next to a number that is none."""
    below = number // of * of
    return [*([below] if below else []), below + of]


def _or(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)


# --- what is asked of it -----------------------------------------------------------------------


def _positions(resolved: Resolved, draft: Draft, name: str, shape: ModelShape) -> Iterator[Diagnostic]:
    """An answer comes after a prompt of one token at least, and both have to find a place."""
    longest = max(draft.stage.sampling.max_new_tokens.points.values())
    if "sampling" not in draft.plain or shape.positions is None or longest < shape.positions:
        return
    message = f"answers of {longest} tokens, and their prompts, into the {shape.positions} positions of {name!r}"
    hint = f"max_new_tokens: {shape.positions - 1} at most, less the longest prompt; or a model with more positions"
    at = ("stages", draft.id, "sampling", "max_new_tokens")
    yield resolved.document.finding(at, f"too long: {message}", hint=hint)


def _engines(resolved: Resolved, draft: Draft, name: str, shape: ModelShape) -> Iterator[Diagnostic]:
    """What the stage's engines cannot do with it."""
    policy: Policy | None = _built(draft, Policy, draft.stage.policy)
    if policy is None:
        return
    found = [("policy", misfit) for misfit in policy.misfits(shape)]
    if "sampler" in draft.plain:
        sampler: Sampler | None = _built(draft, Sampler, draft.stage.sampler)
        found += [("sampler", misfit) for misfit in (sampler.misfits(shape, policy=policy) if sampler else ())]
    yield from (_misfit(resolved, draft, key, name, misfit) for key, misfit in found)


def _shared(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Whether a sampler would use, alone, a module that is whole on no rank. What is not trained is not spread."""
    if draft.kind != "train" or "sampler" not in draft.plain:
        return
    policy: Policy | None = _built(draft, Policy, draft.stage.policy)
    sampler: Sampler | None = _built(draft, Sampler, draft.stage.sampler)
    if policy is not None and policy.sharded_by and sampler is not None and sampler.shares_module:
        spread = f"which lies in pieces over the ranks (policy {policy.name}, {policy.sharded_by})"
        message = f"{sampler.name} samples with the policy's own module, {spread}"
        hint = f"choose a sampler with weights of its own, or a policy without `{policy.sharded_by}`"
        yield resolved.document.finding(("stages", draft.id, "sampler"), message, hint=hint)


def _misfit(resolved: Resolved, draft: Draft, key: str, name: str, misfit: Misfit) -> Diagnostic:
    at = ("stages", draft.id, key, *([misfit.option] if misfit.option else []))
    return resolved.document.finding(at, f"{misfit.message} (model of {name!r})", hint=misfit.hint)


def _built(draft: Draft, kind: Any, use: Use | None) -> Any:
    """The stage's engine of this kind, nothing opened."""
    loaded = next(
        (c for c in draft.components if use is not None and issubclass(c.cls, kind) and c.name == use.use), None
    )
    return loaded.cls(loaded.cls.Config.model_validate(use.options)) if loaded is not None and use is not None else None
