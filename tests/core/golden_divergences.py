"""What other tools compute for one token, by their own code: TRL 1.16.0, DistillKit, KDFlow, torchtune.

Teacher and student logits over a vocabulary of five; values to six digits. Each is asked for by the tool's convention.
"""

from __future__ import annotations

from typing import Any

TEACHER = (2.0, 1.0, 0.5, -1.0, -2.0)
STUDENT = (1.0, 1.5, 0.0, -0.5, -1.0)

Golden = tuple[str | None, dict[str, Any], float]


def jsd(tool: str, values: dict[float, float]) -> list[Golden]:
    """One for each beta."""
    return [(tool, {"kind": "jsd", "beta": beta}, value) for beta, value in values.items()]


def top_two(tool: str | None, tail: dict[str, str], **values: float) -> list[Golden]:
    """On the teacher's two likeliest tokens."""
    return [(tool, {"kind": kind, "support": "teacher", "top_k": 2, **tail}, value) for kind, value in values.items()]


GOLDEN: list[Golden] = [
    ("trl", {"kind": "forward"}, 0.243198),
    ("trl", {"kind": "reverse"}, 0.256482),
    *jsd("trl", {0.0: 0.243198, 0.01: 0.002407, 0.1: 0.021807, 0.5: 0.060847}),
    *jsd("trl", {0.9: 0.022726, 0.99: 0.002535, 1.0: 0.256482}),
    *jsd("kdflow", {0.1: 0.022726, 0.5: 0.060847, 0.9: 0.021807}),
    ("kdflow", {"kind": "forward"}, 0.243198),
    ("kdflow", {"kind": "reverse"}, 0.256482),
    ("kdflow", {"kind": "skewed_forward", "alpha": 0.1}, 0.195736),
    ("kdflow", {"kind": "skewed_reverse", "alpha": 0.1}, 0.201651),
    ("kdflow", {"kind": "adaptive"}, 0.250350),
    ("kdflow", {"kind": "ranking", "top_k": 5}, 0.410433),
    ("torchtune", {"kind": "forward"}, 1.307127),
    ("torchtune", {"kind": "reverse"}, 0.256482),
    ("torchtune", {"kind": "symmetric", "beta": 0.5}, 0.781805),
    ("distillkit", {"kind": "forward"}, 0.243198),
    ("distillkit", {"kind": "tvd"}, 0.331930),
    ("trl", {"kind": "forward", "temperature": 2.0}, 0.066436),
    ("kdflow", {"kind": "forward", "temperature": 2.0}, 0.066436),
    ("distillkit", {"kind": "forward", "temperature": 2.0}, 0.265744),
    ("trl", {"kind": "jsd", "beta": 0.5, "temperature": 2.0}, 0.016511),
    ("trl", {"kind": "reverse", "temperature": 2.0}, 0.066629),
    *top_two("trl", {}, forward=0.217111, jsd=0.053328, reverse=0.219298),
    *top_two("trl", {"tail": "renormalised"}, forward=0.257403, jsd=0.064713, reverse=0.272874),
    *top_two("distillkit", {}, forward=0.499741, jsd=0.138207),
    *top_two("verl", {}, forward=0.252880, reverse=0.175445),
    *top_two(None, {"tail": "teacher", "entropy": "left"}, forward=1.081944),
]
GRADIENT_NORMS: list[Golden] = [
    (None, {"kind": "forward"}, 0.409718),
    (None, {"kind": "forward", "temperature": 2.0}, 0.091350),
    (None, {"kind": "forward", "temperature": 4.0}, 0.021439),
    *[
        ("trl", {"kind": "jsd", "beta": beta}, norm)
        for beta, norm in {0.0: 0.409718, 0.01: 0.004047, 0.5: 0.095998, 0.99: 0.003897, 1.0: 0.394287}.items()
    ],
]
EVERY: list[dict[str, Any]] = [
    *({"kind": kind} for kind in ("forward", "reverse", "symmetric", "tvd", "adaptive")),
    *({"kind": "jsd", "beta": 0.3, "beta_on": side} for side in ("teacher", "student")),
    {"kind": "skewed_forward", "alpha": 0.2},
    *({"kind": "skewed_reverse", "alpha": 0.2, "mixture": mixture} for mixture in ("followed", "detached")),
    *({"kind": kind, "support": side, "top_k": 4} for kind in ("forward", "jsd") for side in ("teacher", "student")),
    *({"kind": "reverse", "support": "teacher", "top_k": 4, "tail": tail} for tail in ("bucket", "renormalised")),
    {"kind": "ranking", "top_k": 4},
]
"""Every kind, support and tail that vanishes where teacher and student are the same."""
OPEN: list[dict[str, Any]] = [
    {"kind": "forward", "support": "teacher", "top_k": 4, "tail": "teacher"},
    {"kind": "reverse", "support": "teacher", "top_k": 4, "tail": "none"},
]
"""And those that do not: nothing holds the mass outside."""
