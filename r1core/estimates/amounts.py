"""An estimate is a range, and memory has named parts: what a policy tells of itself, and what it is asked about.

Of a part, what stays from step to step (weights, gradients, optimizer) is apart from what comes and goes within one
(activations, logits, cache, buffers): models in one process stay together, and take turns with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["policy", "critic", "reference", "teacher", "reward"]
"""What a model is for; the first two are trained."""


@dataclass(frozen=True)
class Range:
    """At least, most likely, at most. One number alone is certain."""

    low: float
    expected: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Range:
        """A number that is known."""
        return cls(value, value, value)

    @classmethod
    def about(cls, values: Iterable[float]) -> Range:
        """The smallest, the middle and the largest of three guesses."""
        low, expected, high = sorted(values)
        return cls(low, expected, high)

    @property
    def all(self) -> tuple[float, float, float]:
        """The three numbers, the smallest first."""
        return self.low, self.expected, self.high

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.expected * factor, self.high * factor)

    def times(self, other: Range) -> Range:
        """The product of two ranges of positive numbers."""
        return Range(self.low * other.low, self.expected * other.expected, self.high * other.high)

    def over(self, other: Range) -> Range:
        """The quotient of two ranges of positive numbers: little of much is the least."""
        return Range(self.low / other.high, self.expected / other.expected, self.high / other.low)

    def capped(self, bound: float) -> Range:
        """No number of it above `bound`."""
        return Range(min(self.low, bound), min(self.expected, bound), min(self.high, bound))


@dataclass(frozen=True, kw_only=True)
class RolloutBatches:
    """What a train stage samples of the model that it trains: so many batches, `samples` answers to each of `prompts`
    problems, one batch for `updates` optimizer steps. `at_least`: the data decides how many batches more."""

    batches: int
    prompts: int
    samples: int
    updates: int = 1
    at_least: bool = False

    @property
    def answers(self) -> int:
        """All of them."""
        return self.batches * self.prompts * self.samples


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What calls elsewhere will take: tokens of all, USD (None where no prices are known), seconds (None where the
    server decides)."""

    calls: int
    tokens_in: Range
    tokens_out: Range
    usd: Range | None
    time_s: Range | None


NOTHING = Range(0.0, 0.0, 0.0)


def total(ranges: Iterable[Range]) -> Range:
    """Their sum."""
    return sum(ranges, NOTHING)


def biggest(ranges: Iterable[Range]) -> Range:
    """What is enough for each of them in turn."""
    found = [NOTHING, *ranges]
    return Range(max(r.low for r in found), max(r.expected for r in found), max(r.high for r in found))


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one process of an engine takes for one model, bytes, at its peak."""

    weights: Range = NOTHING
    gradients: Range = NOTHING
    optimizer: Range = NOTHING
    activations: Range = NOTHING
    logits: Range = NOTHING
    cache: Range = NOTHING
    """Keys and values of what is being sampled."""
    buffers: Range = NOTHING
    """What engine and allocator need besides: gathered weights, buckets, holes."""
    saving: Range = NOTHING
    """What a checkpoint needs in place of the parts above that come and go."""
    passing: Range | None = None
    """Of the gradients, what is there beside the activations, where they are let go after the step; None where they
    stay from one step to the next."""
    host: Range = NOTHING
    """The share of all this that lies in the CPU's memory although the model is on a GPU: what is offloaded."""

    @property
    def stays(self) -> Range:
        """What it holds from one step to the next."""
        return total((self.weights, self.optimizer, self.gradients if self.passing is None else NOTHING))

    @property
    def comes_and_goes(self) -> Range:
        """What it needs besides while it works."""
        working = total((self.activations, self.logits, self.cache, self.buffers))
        if self.passing is None:
            return biggest((self.saving, working))
        return biggest((self.saving, working + self.passing, self.gradients))

    @property
    def parts(self) -> dict[str, Range]:
        """Those that take anything, by name."""
        found = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("host", "passing")
        }
        return {name: part for name, part in found.items() if part.high > 0}


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a stage asks of a model. Lengths are tokens of a prompt and its answer together."""

    length: Range
    update_tokens: Range | None = None
    """Tokens of one optimizer step, or of one reading; None where the data decides, and micro-batches are full."""
    samples: int = 0
    """Answers asked for at a time; 0 where nothing is sampled."""
    trained: bool = False
    scores: bool = False
    """Whether the model ends in one number and not in a vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What an engine cannot do with a model: a sentence, what to set, and the option of the engine it is about (""
    where it is the model itself)."""

    message: str
    hint: str
    option: str = ""
