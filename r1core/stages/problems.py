"""Where a stage's problems come from: one endless stream for each source, taken in order.

A finite source starts over at its end. The problem a stage takes as its n-th from a source is a
function of the source's config, the run's seed and n, so which problems a batch holds never depends
on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from r1core.choices import Use
from r1core.components import ProblemSource
from r1core.errors import RecipeError
from r1core.schedules import Schedule
from r1core.types import Problem

Build = Callable[[Use], ProblemSource]


def endless(source: ProblemSource, *, seed: int) -> Iterator[Problem]:
    """The source's problems, from the start again at its end."""
    while True:
        empty = True
        for problem in source.problems(seed=seed):
            empty = False
            yield problem
        if empty:
            raise RecipeError(f"source {source.name!r} has no problems", fix="check its options or its file")


def first(source: ProblemSource, count: int, *, seed: int) -> list[Problem]:
    """At most `count` problems: a finite source is not repeated."""
    return list(islice(source.problems(seed=seed), count))


class ProblemStream:
    """A stage's `problems`: a source, or a schedule of sources, each with a cursor of its own."""

    def __init__(self, problems: Schedule[Use | str], build: Build, *, seed: int) -> None:
        self._problems = problems
        self._build = build
        self._seed = seed
        self._streams: dict[str, Iterator[Problem]] = {}
        self._taken: dict[str, int] = {}

    def take(self, count: int, *, step: int, total: int) -> Sequence[Problem]:
        """The next `count` problems of the source that holds at `step` of `total`."""
        use = self._problems.at(step, total)
        assert isinstance(use, Use), "the plan resolves problem slots"
        name = use.model_dump_json()
        taken = self._taken.get(name, 0)
        if name not in self._streams:
            self._streams[name] = islice(endless(self._build(use), seed=self._seed), taken, None)
        self._taken[name] = taken + count
        return list(islice(self._streams[name], count))

    def cursors(self) -> dict[str, int]:
        """How many problems were taken from each source, by its config as JSON."""
        return dict(self._taken)

    def skip(self, cursors: Mapping[str, int]) -> None:
        """Go on where `cursors` were, before the first is taken."""
        self._taken = dict(cursors)
