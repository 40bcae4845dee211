"""Whether the first step of AdamW moved all that it should have: tensors that nobody notices to be frozen.

A tensor is stuck when AdamW's own update of it (its moments, the learning rate) is larger than the rounding of its
values, and it is what it was before, bit for bit. It is unreached when no gradient came to it, since the loss reads
nothing that hangs on it, or when no optimizer has it. A gradient of exact noughts is neither: adapters and score heads
that begin at nought have such in their first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from r1core.errors import RefusedError

PIECE = 2**22
"""Elements that are looked at together."""
ROUNDING = 2.0**-22
"""A change of more than this share of a float32 value changes it: twice the distance of neighbours."""
Print: TypeAlias = tuple[int, int]
Finding: TypeAlias = Literal["moved", "idle", "stuck", "unreached"]
"""idle: it did not move, and there was nothing that should have moved it."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """A tensor's moments after a step, and what they are scaled by."""

    mean: Tensor
    square: Tensor
    step: int
    lr: float
    betas: tuple[float, float]
    eps: float

    def moves(self, weight: Tensor) -> bool:
        """Whether the step was larger than some value's rounding."""
        first, second = (1 - beta**self.step for beta in self.betas)
        flat = [_pieces(tensor) for tensor in (weight, self.mean, self.square)]
        for values, mean, square in zip(*flat, strict=True):
            update = self.lr * (mean / first).abs() / ((square / second).sqrt() + self.eps)
            if bool((update > values.abs() * ROUNDING).any()):
                return True
        return False


def fingerprint(tensor: Tensor) -> Print:
    """Two sums over the bits of a tensor, one of them weighted by place: other values, other sums, but for chance."""
    bits = {2: torch.int16, 4: torch.int32}[tensor.element_size()]
    plain, weighted = 0, 0
    for number, piece in enumerate(_pieces(tensor)):
        counted = piece.view(bits).to(torch.int64)
        places = torch.arange(1, len(counted) + 1, device=counted.device)
        plain += int(counted.sum())
        weighted += (number + 1) * int((counted * places).sum())
    return plain, weighted


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor.detach().reshape(-1), PIECE)


class Proof:
    """Watches a step: made before its backward passes, asked by `found` after it was applied. `own` gives a parameter's
    float32 "weight", "exp_avg" or "exp_avg_sq", as far as this rank has it; None of what no optimizer has."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], own: Callable[[Any, str], Tensor | None]) -> None:
        self.parameters = parameters
        self.own = own
        self.reached: set[str] = set()
        watched: Mapping[str, Any] = parameters
        self.hooks = [each.register_hook(self._reach(name)) for name, each in watched.items()]
        weights = {name: own(parameter, "weight") for name, parameter in parameters.items()}
        self.before = {name: fingerprint(weight) for name, weight in weights.items() if weight is not None}

    def found(self, *, step: int, lr: float, betas: tuple[float, float], eps: float) -> dict[str, Finding]:
        """What became of every tensor, or of this rank's part of it."""
        self.end()
        return {name: self._finding(name, step, lr, betas, eps) for name in self.parameters}

    def end(self) -> None:
        """Watch no longer."""
        for hook in self.hooks:
            hook.remove()

    def _reach(self, name: str) -> Callable[[Tensor], None]:
        def reach(_: Tensor) -> None:
            self.reached.add(name)

        return reach

    def _finding(self, name: str, step: int, lr: float, betas: tuple[float, float], eps: float) -> Finding:
        after, mean, square = (self.own(self.parameters[name], key) for key in ("weight", "exp_avg", "exp_avg_sq"))
        if name not in self.before or after is None or mean is None or square is None:
            return "unreached"
        if not (name in self.reached or bool(square.any())):  # what is added in place passes no hook
            return "unreached"
        if fingerprint(after) != self.before[name]:
            return "moved"
        adam = Adam(mean=mean, square=square, step=step, lr=lr, betas=betas, eps=eps)
        return "stuck" if adam.moves(after) else "idle"


def refuse_frozen(ranks: Sequence[Mapping[str, Finding]], where: str) -> None:
    """Raise RefusedError for what one rank found stuck, or all that have a part of it unreached. The same on all."""
    names = dict.fromkeys(name for found in ranks for name in found)
    stuck = [name for name in names if any(found.get(name) == "stuck" for found in ranks)]
    unreached = [name for name in names if all(found.get(name, "unreached") == "unreached" for found in ranks)]
    for bad, what in (
        (stuck, "did not change although it had a gradient"),
        (unreached, "got no gradient, or is in no optimizer"),
    ):
        if bad:
            more = f" (and {len(bad) - 1} more of {len(names)})" if len(bad) > 1 else ""
            raise RefusedError(
                f"after the first step the trainable tensor {bad[0]}{more} {what}",
                where=where,
                fix="the model would be trained in part only: try another stage or engine, or train adapters (`lora`)",
            )
