"""The estimates of a plan in lines, for `--dry-run`: low, expected and high of each number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from r1core.cli.columns import columns
from r1core.cli.estimate import ANSWER, PROMPT, Estimate, Estimator, Held
from r1core.cli.speed import Speed
from r1core.components import Policy
from r1core.estimates import Range
from r1core.recipe.plan import Plan, StagePlan

UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def estimate_lines(plan: Plan, stages: Sequence[StagePlan]) -> Iterator[str]:
    """A table of the stages, the parts of their memory, and what was taken for granted."""
    speed = Speed.here()
    estimator = Estimator(plan, speed)
    found = {stage.id: estimate for stage in stages if (estimate := estimator.of(stage)) is not None}
    if not found:
        return
    yield ""
    yield "estimates (low, expected, high)"
    head = ["stage", "memory of a process", "tokens sampled", "tokens trained", "time", "disk"]
    yield from columns([head, *([name, *_row(estimate)] for name, estimate in found.items())])
    yield from _memory(found)
    yield from _notes(found)
    yield from _granted(plan, stages, found, speed)


def _row(estimate: Estimate) -> list[str]:
    peak = bytes_of(estimate.peak) + ("" if estimate.is_whole or estimate.peak is None else " and more")
    return [
        f"{estimate.ranks} x {peak}" if estimate.ranks and estimate.ranks > 1 else peak,
        _of(estimate.sampled, COUNTS, none="-"),
        _of(estimate.trained, COUNTS) if estimate.trains else "-",
        _of(estimate.time_s, TIMES, last="s"),
        bytes_of(estimate.disk),
    ]


def _memory(found: Mapping[str, Estimate]) -> Iterator[str]:
    """Each different set of models once, with the stages that have it."""
    told: dict[tuple[str, ...], list[str]] = {}
    for name, estimate in found.items():
        told.setdefault(tuple(_parts(estimate)), []).append(name)
    for lines, names in told.items():
        yield ""
        yield f"memory of {', '.join(names)}"
        yield from lines


def _parts(estimate: Estimate) -> Iterator[str]:
    reasons = {held.why for held in estimate.held}
    if len(reasons) == 1 and "" not in reasons:
        yield f"  {reasons.pop()}"
        return
    for held in estimate.held:
        yield f"  {held.role:<10} {_parts_of(held)}"
    if estimate.host.high:
        yield f"  of this in the CPU's memory, offloaded: {bytes_of(estimate.host)}"


def _parts_of(held: Held) -> str:
    if held.memory is None:
        return held.why
    parts = held.memory.parts
    return ", ".join(f"{name} {bytes_of(part)}" for name, part in parts.items()) or "nothing of its own"


def _notes(found: Mapping[str, Estimate]) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for name, estimate in found.items():
        for note in estimate.notes:
            told.setdefault(note, []).append(name)
    for note, names in told.items():
        yield ""
        yield f"note: {note} ({', '.join(names)})"


def _granted(plan: Plan, stages: Sequence[StagePlan], found: Mapping[str, Estimate], speed: Speed) -> Iterator[str]:
    """What the numbers rest on."""
    yield ""
    yield (
        f"taken for granted: prompts of {_plain(PROMPT)} tokens, answers of {ANSWER.low:.0%}, {ANSWER.expected:.0%}, "
        f"{ANSWER.high:.0%} of the longest allowed; memory beyond that of a process that has only imported its engines"
    )
    bases: dict[str, None] = {}
    for stage in stages:
        if stage.id in found and stage.stage.policy is not None:
            policy: Policy = plan.component("policy", stage.stage.policy)
            bases.setdefault(speed.assumed(policy, stage.stage.threads), None)
    yield f"time: without rewards and disk, not measured but assumed: {'; '.join(bases)}"
    on_cpu = [stage for stage in stages if stage.id in found and _runs_on_cpu(plan, stage, speed)]
    peaks = [peak.expected for stage in on_cpu if (peak := found[stage.id].peak) is not None]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if peaks and max(peaks) > memory:
        yield f"the largest does not fit here: this machine has {bytes_of(Range.exactly(memory))}"


def _runs_on_cpu(plan: Plan, stage: StagePlan, speed: Speed) -> bool:
    return stage.stage.policy is not None and speed.device(plan.component("policy", stage.stage.policy)) == "cpu"


# --- numbers ------------------------------------------------------------------------------------


def bytes_of(amount: Range | None) -> str:
    """`1.2, 1.4, 1.9 GiB`; one number where it is certain."""
    return _of(amount, UNITS, last="B")


def count_of(amount: Range) -> str:
    """`1.2, 1.4, 1.9 M`."""
    return _of(amount, COUNTS)


def time_of(amount: Range) -> str:
    """`1.2, 1.4, 1.9 h`."""
    return _of(amount, TIMES, last="s")


def _of(amount: Range | None, units: Sequence[tuple[float, str]], *, last: str = "", none: str = "unknown") -> str:
    """All three in the unit of the expected one."""
    if amount is None:
        return none
    if amount.high == 0:
        return "-"
    size, unit = next(((size, unit) for size, unit in units if amount.expected >= size), (1.0, last))
    told = [f"{value:.3g}" if value < 1000 else f"{value:,.0f}" for value in (each / size for each in amount.all)]
    return f"{told[0] if len(set(told)) == 1 else ', '.join(told)} {unit}".rstrip()


def _plain(amount: Range) -> str:
    return ", ".join(f"{value:g}" for value in amount.all)
