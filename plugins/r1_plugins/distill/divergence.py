"""The options of a divergence: which one, at which temperature, on which tokens, and how tokens are averaged.

    divergence: {kind: jsd, beta: 0.1}                      # b KL(P || M) + (1-b) KL(Q || M),  b on the teacher
    divergence: {like: kdflow, kind: jsd, beta: 0.1}        # that tool's convention; what is written on top wins

What each option means is `r1core.nn.Measure`'s to say. An option that changes nothing with the others as they are is
refused: elsewhere a temperature that the loss ignores, or a key that nobody reads, has cost whole runs. `like` alone
may say what is so anyway (TRL's convention is ours); `told` says what it came to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from r1core.choices import Options

if TYPE_CHECKING:
    from r1core.nn import Measure

Kind: TypeAlias = Literal[
    "forward", "reverse", "jsd", "skewed_forward", "skewed_reverse", "adaptive", "symmetric", "tvd", "ranking"
]
NEEDED_BY = {
    "beta": ("jsd", "symmetric"),
    "beta_on": ("jsd",),
    "alpha": ("skewed_forward", "skewed_reverse"),
    "mixture": ("skewed_reverse",),
    "entropy": ("forward", "symmetric", "adaptive"),
}
"""Options that only some kinds have a use for."""
OF_SUPPORT = ("tail", "floor", "at_least_zero")
"""Options that say how a part of the vocabulary stands for all of it."""


class Divergence(Options):
    """How far the student's next-token distribution Q is from the teacher's P."""

    like: Literal["trl", "distillkit", "torchtune", "verl", "kdflow", "distillm"] | None = Field(
        None, description="take for granted what that tool does; options given beside it win"
    )
    kind: Kind | None = Field(
        None,
        description="which divergence: forward KL(P||Q), reverse KL(Q||P), jsd, skewed_*, adaptive, symmetric, tvd or "
        "ranking; forward on given texts and reverse on the student's own answers when absent",
    )
    beta: float | None = Field(None, ge=0, le=1, description="jsd, symmetric: weight of one side; 0.5 when absent")
    beta_on: Literal["teacher", "student"] | None = Field(
        None, description="jsd: the side that beta weighs; the teacher's when absent"
    )
    alpha: float | None = Field(
        None, ge=0, lt=1, description="skewed_*: share of the first distribution in the mixture; 0.1 when absent"
    )
    mixture: Literal["followed", "detached"] | None = Field(
        None, description="skewed_reverse: whether gradients go through the mixture; followed when absent"
    )
    temperature: float | None = Field(
        None, gt=0, description="divides both models' logits; when absent 1, or that of the cache"
    )
    square: bool | None = Field(
        None, description="multiply by the temperature squared, so that gradients keep their size"
    )
    entropy: Literal["subtracted", "left"] | None = Field(
        None, description="whether the forward KL is one, or a cross-entropy (left): the same gradient, another value"
    )
    support: Literal["vocabulary", "teacher", "student"] | None = Field(
        None, description="tokens that are compared: all, or the top_k likeliest of one of the two"
    )
    top_k: int | None = Field(None, ge=1, description="tokens of a support, or of either side for ranking")
    tail: Literal["bucket", "renormalised", "teacher", "none"] | None = Field(
        None,
        description="what a support leaves out: one more token (bucket), nothing since both are renormalised, or the "
        "teacher alone, or nothing counted (none); bucket when absent",
    )
    floor: float | None = Field(None, lt=0, description="on a support: log-probs below it are raised to it")
    at_least_zero: bool | None = Field(None, description="on a support: a negative value counts as 0, without gradient")
    reduction: Literal["token_mean", "sequence_mean"] = Field(
        "token_mean", description="every token counts the same, or every answer, whatever its length"
    )

    @model_validator(mode="after")
    def _all_can_be(self) -> Self:
        if self.kind == "ranking" and self.top_k is None:
            raise ValueError("kind ranking compares the top_k likeliest tokens of either side: give top_k")
        if self.support in ("teacher", "student") and self.top_k is None:
            raise ValueError(f"support: {self.support} has the top_k likeliest tokens: give top_k")
        return self

    def useless(self, kind: Kind, *, cached: bool) -> Iterator[str]:
        """Options that change nothing, as sentences that say what to do. `kind` is its own or the default; `cached`:
        the support is what a cache holds."""
        for name, kinds in NEEDED_BY.items():
            if getattr(self, name) is not None and kind not in kinds:
                yield f"{name} changes nothing with kind {kind}: remove it, or take kind {' or '.join(kinds)}"
        on_support = cached or self.support in ("teacher", "student")
        for name in OF_SUPPORT:
            if getattr(self, name) is not None and not on_support:
                yield f"{name} changes nothing where the whole vocabulary is compared: remove it, or give a support"
        if self.top_k is not None and not (on_support or kind == "ranking"):
            yield "top_k changes nothing where the whole vocabulary is compared: remove it, or give support: teacher"
        yield from self._useless_heat(kind, cached=cached)
        yield from self._impossible(kind, cached=cached)

    def _useless_heat(self, kind: Kind, *, cached: bool) -> Iterator[str]:
        if kind == "ranking" and self.temperature not in (None, 1.0):
            yield "temperature changes nothing with kind ranking, which compares at temperature 1: remove it"
        unheated = self.temperature == 1.0 or (self.temperature is None and not cached)
        if self.square is not None and (kind == "ranking" or unheated):
            yield "square changes nothing at temperature 1: remove it, or give another temperature"

    def _impossible(self, kind: Kind, *, cached: bool) -> Iterator[str]:
        if kind == "ranking" and self.support not in (None, "vocabulary"):
            yield "kind ranking looks at both models' top_k tokens itself: remove support"
        if cached and kind == "ranking":
            yield "kind ranking needs the teacher's view of the student's likeliest tokens, which no cache holds"
        if cached and self.support not in (None, "teacher"):
            yield f"support: {self.support} is not what a cache holds, the teacher's likeliest tokens: remove it"
        tail = self.tail or ("teacher" if self.like == "distillkit" else None)
        if (cached or self.support in ("teacher", "student")) and tail == "teacher" and self._infinite_outside(kind):
            yield f"kind {kind} is infinite where the teacher has no mass, which is all that tail: teacher leaves out"

    def _infinite_outside(self, kind: Kind) -> bool:
        """Whether it has a part of KL(Q||P)."""
        beta = 0.5 if self.beta is None else self.beta
        of_teacher = (
            beta if (self.beta_on or ("student" if self.like == "kdflow" else "teacher")) == "teacher" else 1 - beta
        )
        return (
            kind in ("reverse", "adaptive")
            or (kind == "symmetric" and beta < 1)
            or (kind == "jsd" and of_teacher == 1)
            or (kind == "skewed_reverse" and self.alpha == 0)
        )

    def measure(self, default: Kind, *, cached_k: int | None = None, temperature: float | None = None) -> Measure:
        """The divergence that is computed. A cache gives `cached_k`, its tokens of a place, and its `temperature`."""
        from r1core.nn import Measure  # brings torch, which checks of recipes do without

        fields: dict[str, Any] = {
            "kind": self.kind,
            "beta": self.beta,
            "beta_on": self.beta_on,
            "alpha": self.alpha,
            "mixture": self.mixture,
            "temperature": self.temperature,
            "square": self.square,
            "entropy": self.entropy,
            "support": self.support,
            "top_k": self.top_k,
            "tail": self.tail,
            "floor": self.floor,
            "at_least_zero": self.at_least_zero,
        }
        written = {name: value for name, value in fields.items() if value is not None}
        if cached_k is not None:
            written |= {"support": "teacher", "top_k": min(self.top_k or cached_k, cached_k)}
        if temperature is not None:
            written["temperature"] = temperature
        return Measure.like(self.like, **{"kind": default, **written})


def told(measure: Measure, reduction: str = "token_mean") -> str:
    """The convention in words, each field that has a say: what other tools call by the same name may be another number.
    For whoever watches, and for the stage's record."""
    parts = [f"{measure.kind} divergence", *_of_kind(measure)]
    if measure.support != "vocabulary":
        parts.append(f"on the {measure.support}'s {measure.top_k} likeliest tokens, tail {measure.tail}")
        parts += [] if measure.floor is None else [f"log-probs raised to {measure.floor:g}"]
        parts += ["negative values as 0"] if measure.at_least_zero else []
    squared = " (squared into the loss)" if measure.square and measure.temperature != 1 else ""
    return ", ".join([*parts, f"temperature {measure.temperature:g}{squared}", reduction.replace("_", " ")])


def _of_kind(measure: Measure) -> Iterator[str]:
    """What only some kinds have."""
    kind = measure.kind
    if kind in NEEDED_BY["beta"]:
        yield f"beta {measure.beta:g}" + (f" on the {measure.beta_on}" if kind == "jsd" else "")
    if kind in NEEDED_BY["alpha"]:
        yield f"alpha {measure.alpha:g}"
    if kind in NEEDED_BY["mixture"]:
        yield f"mixture {measure.mixture}"
    if kind in NEEDED_BY["entropy"]:
        yield "a KL" if measure.entropy == "subtracted" else "a cross-entropy (the teacher's entropy left in)"
    if kind == "ranking":
        yield f"the {measure.top_k} likeliest tokens of either"
