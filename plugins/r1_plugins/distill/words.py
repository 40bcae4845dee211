"""What a stage's signals are, in one line of the plan: how long each is learned, its weight, its teachers, and what is
made small. `signals in turn: traces (2 epochs, cross-entropy); on_policy (200 steps, teacher r1, reverse divergence)`
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.choices import Use

from .config import Cached, DistillConfig, Live, OnPolicy, Signal, Taught, Traces
from .divergence import Divergence, Kind


def signals_line(config: DistillConfig) -> str:
    """All signals with how long each is learned, its weight, its teachers and what is made small."""
    told = [f"{name} ({', '.join(_about(each, weighed=config.together))})" for name, each in config.signals.items()]
    if len(told) == 1:
        return f"signal: {told[0]}"
    return f"signals {'together in every update' if config.together else 'in turn'}: {'; '.join(told)}"


def _about(signal: Signal, *, weighed: bool) -> Iterator[str]:
    many, what = (signal.steps, "step") if isinstance(signal, OnPolicy) else (signal.epochs, "epoch")
    yield f"{many} {what}{'' if many == 1 else 's'}"
    if weighed:
        yield f"weight {signal.weight:g}"
    if isinstance(signal, Taught):
        names = dict.fromkeys(r.teacher.use if isinstance(r.teacher, Use) else r.teacher for r in signal.routes)
        yield f"teacher{'' if len(names) == 1 else 's'} {' and '.join(names)}"
    yield from _measured(signal)


def _measured(signal: Signal) -> Iterator[str]:
    if isinstance(signal, Traces):
        yield "cross-entropy"
    elif isinstance(signal, Live) and signal.tokenizers == "uld":
        yield "by rank, across tokenizers (uld)"
    elif isinstance(signal, Cached):
        yield f"of {signal.signals}"
        if signal.divergence != Divergence():  # of a cache of the texts' own tokens alone it is none
            yield _named(signal.divergence, "forward")
    elif isinstance(signal, OnPolicy):
        is_full = signal.signal == "full"
        yield _named(signal.divergence, "reverse") if is_full else "reverse KL by the log-probs of what it wrote"
    else:
        yield _named(signal.divergence, "forward")
    if isinstance(signal, Live) and signal.tokenizers == "aligned":
        yield "across tokenizers (aligned)"


def _named(divergence: Divergence, default: Kind) -> str:
    return f"{divergence.kind or default} divergence{f' as in {divergence.like}' if divergence.like else ''}"
