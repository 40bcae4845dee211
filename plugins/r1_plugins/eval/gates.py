"""Limits on what an evaluation finds, `pass@1>=0.7`: read, and held against what will be measured, before anything is
computed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1core.errors import RecipeError
from r1core.stages.repeated import points
from r1core.suggest import did_you_mean

GATE = re.compile(r"\s*([^\s<>=]+(?:=\d+)?)\s*(>=|<=)\s*(\S+)\s*")
LOOKS = ("length", "clipped_ratio")
"""What is measured of the answers themselves."""


def bounds(gates: Sequence[str], models: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A limit on each model. Raises RecipeError for what is none."""
    for gate in gates:
        metric, sign, value = _read(gate)
        for model in models:
            yield {"metric": f"{model}/{metric}", "min" if sign == ">=" else "max": value}


def check_gates(gates: Sequence[str], sets: Mapping[str, Mapping[str, Any]], rewards: Sequence[str]) -> None:
    """Raises RecipeError for a limit on what these sets do not measure; `rewards` are those beside the first."""
    measured = [*sets, *rewards, *LOOKS]
    for name, wanted in sets.items():
        samples = wanted.get("samples", 1)
        further = {*points(samples), *wanted.get("also_k", ())} if samples > 1 else set()
        measured += [f"{name}/k={k}" for k in sorted(further)]
        measured += [f"{name}/cons={samples}"] if samples > 1 else []
    for gate in gates:
        metric, _, _ = _read(gate)
        if metric not in measured:
            fix = did_you_mean(metric, measured, otherwise="measured: ")
            raise RecipeError(f"{metric!r} is not measured", where=f"--gate {gate!r}", fix=fix)


def _read(gate: str) -> tuple[str, str, float]:
    match = GATE.fullmatch(gate)
    try:
        if match is not None and math.isfinite(float(match[3])):
            return match[1], match[2], float(match[3])
    except ValueError:
        pass
    raise RecipeError(f"{gate!r} is no limit", where="--gate", fix="write 'pass@1>=0.7'")
