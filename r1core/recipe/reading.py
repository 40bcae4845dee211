"""Which keys a stage reads, and which it cannot do without.

A key that nothing reads is an error, never a silent no-op; and what is not read stays out of the
resolved stage, so it can never make one stale.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.choices import Use
from r1core.recipe.schema import Scratch, Stage, StageKind

ENGINES = frozenset({"policy", "threads", "stall_s", "gate"})
SAMPLED = frozenset({"sampler", "sampling", "scoring", "rewards"})
SHARED = frozenset({"policy", "sampler", "sampling", "scoring", "threads", "stall_s", "checkpoint", "rollouts"})
"""What top-level defaults may give a stage: only told of when everything else is in order."""


def read_keys(stage: Stage, trainer_reads: frozenset[str]) -> frozenset[str]:
    """The keys that a stage of this kind reads, given what its trainer declares."""
    keys: frozenset[str] = frozenset({stage.kind, "variant"})
    if stage.kind == "import":
        return keys
    if stage.kind == "review":
        return keys | {"data", "gate"}
    if stage.kind == "signals":
        return keys | ENGINES | {"model", "data", "sampler"}
    keys |= ENGINES | {"model", "seed"}
    if stage.kind == "sample":
        return keys | SAMPLED | {"problems", "filters"} | ({"data"} if _is_given(stage) else set())
    if stage.kind == "evaluate":
        return keys | SAMPLED | {"models"}
    keys |= trainer_reads | {"checkpoint"}
    if "problems" in trainer_reads:
        keys |= {"rollouts"}
    if "problems" in trainer_reads or stage.evaluate is not None:
        keys |= SAMPLED
    if stage.evaluate is not None:
        keys |= {"evaluate", "extend"}
    if isinstance(stage.model, Scratch):
        keys |= {"data"}
    return keys | {"balance"} if "data" in keys else keys


def _is_given(stage: Stage) -> bool:
    return stage.sample is not None and stage.sample.answers == "given"


def unread(stage: Stage, given: list[str], trainer_reads: frozenset[str]) -> list[str]:
    """The keys of `given` that the stage does not read."""
    wrong = [key for key in given if key not in read_keys(stage, trainer_reads)]
    return [key for key in wrong if key not in SHARED] or wrong


def missing(
    stage: Stage, trainer: str, trainer_reads: frozenset[str], *, elsewhere: bool = False
) -> Iterator[tuple[str, str]]:
    """(key, why) of what the stage cannot do without and does not have. `elsewhere`: its sampler needs no model."""
    kind: StageKind = stage.kind
    wanted: dict[str, str] = {}
    if kind == "sample":
        why = "a sample stage asks a model for answers to problems"
        asked = ("problems", "sampler") if elsewhere else ("model", "problems", "policy", "sampler")
        if not _is_given(stage):
            wanted |= dict.fromkeys(asked, why)
        elif not stage.data:
            wanted["problems"] = "given answers are those of a source's `problems`, or of the stages in `data`"
    if kind == "review":
        wanted["data"] = "a review stage looks at the data of another"
    if kind == "signals":
        wanted |= dict.fromkeys(("model", "policy"), "the teacher of a signals stage is a stage's model")
        wanted["data"] = "a signals stage grades the texts of other stages"
    if kind == "train":
        wanted |= dict.fromkeys(("model", "policy"), "a train stage starts from a model (or `scratch`)")
        wanted |= dict.fromkeys(sorted(trainer_reads), f"trainer {trainer} reads it")
    if "problems" in trainer_reads:
        wanted["sampler"] = f"trainer {trainer} samples answers to problems"
    if kind == "evaluate" and not stage.model:
        wanted["models"] = "an evaluate stage measures models"
    if stage.evaluate is not None:
        wanted |= dict.fromkeys(("rewards", "policy", "sampler"), "evaluation samples answers and scores them")
    yield from ((key, why) for key, why in wanted.items() if not getattr(stage, key))
    if isinstance(stage.model, Scratch) and not any(isinstance(datum, Use) for datum in stage.data):
        yield "data", "a model made from scratch takes its tokenizer from a source among them"
