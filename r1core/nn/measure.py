"""Which divergence between a teacher's and a student's next-token distributions: one value that says all of it.

P = teacher, Q = student, both at `temperature`. Implementations disagree about each of these fields under the same
name, so none is implied; `CONVENTIONS` says what other tools take for granted.

    Measure(kind="jsd", beta=0.1)                       # b KL(P || M) + (1-b) KL(Q || M), M = b P + (1-b) Q
    Measure.like("kdflow", kind="jsd", beta=0.1)        # the same, with b on the student's side
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from r1core.errors import RecipeError

Kind: TypeAlias = Literal[
    "forward", "reverse", "jsd", "skewed_forward", "skewed_reverse", "adaptive", "symmetric", "tvd", "ranking"
]
Convention: TypeAlias = Literal["trl", "distillkit", "torchtune", "verl", "kdflow", "distillm"]
Tail: TypeAlias = Literal["bucket", "renormalised", "teacher", "none"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One divergence. Fields that the `kind` or the `support` has no use for are ignored."""

    kind: Kind
    """`forward` KL(P || Q); `reverse` KL(Q || P); `jsd` (arXiv:2306.13649); `skewed_forward` KL(P || a P + (1-a) Q);
    `skewed_reverse` KL(Q || (1-a) P + a Q) (arXiv:2402.03898); `adaptive`, a forward and a reverse KL, weighted by
    where P and Q are apart: in P's likeliest half, or in its tail (arXiv:2404.02657); `symmetric`, `beta` forward +
    (1 - beta) reverse; `tvd` 1/2 sum |P - Q|; `ranking`, hinges on the order of each one's `top_k` likeliest tokens."""
    beta: float = 0.5
    """`jsd`: the weight of one side, 0 to 1. At 0 and 1, where the formula itself is 0, it stands for the pure KL that
    the formula tends to (b -> 0: JSD / b -> forward), as in TRL: so the loss jumps in size there, from about 0.01 times
    the forward KL at 0.01 to all of it at 0.
    `symmetric`: the forward KL's share."""
    beta_on: Literal["teacher", "student"] = "teacher"
    """`jsd`: whose KL `beta` weighs, and whose share of the mixture it is."""
    alpha: float = 0.1
    """`skewed_*`: how much of the first distribution the mixture has, 0 to 1 (1 left out)."""
    mixture: Literal["followed", "detached"] = "followed"
    """`skewed_reverse`: whether gradients go through the student's part of the mixture."""
    temperature: float = 1.0
    """Both models' logits are divided by it."""
    square: bool = False
    """Multiply by temperature squared, so that gradients keep their size."""
    entropy: Literal["subtracted", "left"] = "subtracted"
    """`forward`, `symmetric`, `adaptive`: `left` makes the forward KL a cross-entropy: the same gradient, and a value
    that is larger by the teacher's entropy."""
    support: Literal["vocabulary", "teacher", "student"] = "vocabulary"
    """Which tokens are compared: all, or the `top_k` likeliest of one of the two."""
    top_k: int = 0
    """Tokens of such a support; for `ranking` those of each side."""
    tail: Tail = "bucket"
    """What the support leaves out: `bucket`, one more token with the rest of either's mass (a lower bound of the
    divergence on the whole vocabulary); `renormalised`, both rescaled to a mass of 1 on the support; `teacher`, only
    the teacher rescaled, which then has nothing outside; `none`, neither, and nothing outside counts. Under these two a
    student that is its teacher is pushed on, towards the support."""
    floor: float | None = None
    """On a support: log-probabilities below this are raised to it."""
    at_least_zero: bool = False
    """On a support: a token whose value is negative (possible with tail `none`) gives 0, and no gradient."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise self._wrong(f"there is no divergence {self.kind!r}", f"one of: {', '.join(get_args(Kind))}")
        if not 0 <= self.beta <= 1 or not 0 <= self.alpha < 1:
            found = f"beta is {self.beta}, alpha {self.alpha}"
            raise self._wrong(found, "give a beta from 0 to 1, an alpha from 0 to below 1")
        if not self.temperature > 0:
            raise self._wrong(f"the temperature is {self.temperature}", "give one above 0")
        if self.top_k < 1 and (self.support != "vocabulary" or self.kind == "ranking"):
            raise self._wrong("no tokens are compared (top_k is 0)", "give top_k, for example 64")
        if self.support != "vocabulary" and self.kind == "ranking":
            raise self._wrong("`ranking` looks at both models' top_k tokens itself", "leave `support` out")
        if self.support != "vocabulary" and self.tail == "teacher" and self._needs_teacher_everywhere:
            found = (
                f"`{self.kind}` is infinite where the teacher has no mass, which is all that tail `teacher` leaves out"
            )
            raise self._wrong(found, "take tail `bucket`")

    @classmethod
    def like(cls, convention: Convention | None, *, kind: Kind, **given: Any) -> Measure:
        """The divergence as that tool computes it; what is `given` wins over its convention. None: as here."""
        return cls(kind=kind, **{**(CONVENTIONS[convention] if convention else {}), **given})

    @property
    def teacher_share(self) -> float:
        """`jsd`: the teacher's share of the mixture."""
        return self.beta if self.beta_on == "teacher" else 1 - self.beta

    @property
    def scale(self) -> float:
        """What the value at this temperature is multiplied by."""
        return self.temperature**2 if self.square else 1.0

    @property
    def forward_share(self) -> float | None:
        """Of a sum of both KLs, the weight of the forward one; None for what is no such sum (or no constant one)."""
        if self.kind == "jsd" and self.teacher_share in (0.0, 1.0):
            return 1.0 - self.teacher_share
        if self.kind.startswith("skewed") and self.alpha == 0:
            return 1.0 if self.kind == "skewed_forward" else 0.0
        return {"forward": 1.0, "reverse": 0.0, "symmetric": self.beta}.get(self.kind)

    @property
    def _needs_teacher_everywhere(self) -> bool:
        return self.kind == "adaptive" or (self.forward_share is not None and self.forward_share < 1)

    def _wrong(self, what: str, fix: str) -> RecipeError:
        return RecipeError(what, where="divergence", fix=fix)


CONVENTIONS: Mapping[Convention, Mapping[str, Any]] = {
    "trl": {"beta_on": "teacher", "square": False, "entropy": "subtracted", "tail": "bucket"},
    "distillkit": {"square": True, "entropy": "subtracted", "tail": "teacher"},
    "torchtune": {"temperature": 1.0, "square": False, "entropy": "left"},
    "verl": {"square": False, "entropy": "subtracted", "tail": "none", "at_least_zero": True},
    "kdflow": {"beta_on": "student", "square": False, "mixture": "followed"},
    "distillm": {"alpha": 0.1, "mixture": "detached", "square": False, "entropy": "left"},
}
"""What other tools take for granted: TRL 1.16, DistillKit with `ZERO`, torchtune, verl, KDFlow, DistiLLM-2."""
