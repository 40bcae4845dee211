"""Where a stage's problems come from: one endless stream for each source, taken in order.

A finite source starts over at its end. The problem a stage takes as its n-th from a source is a
function of the source's config, the run's seed and n, so which problems a batch holds never depends
on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice

from r1core.choices import Use
from r1core.components import ProblemSource
from r1core.errors import RecipeError
from r1core.recipe.schema import Mix
from r1core.schedules import Schedule
from r1core.types import Problem

Build = Callable[[Use], ProblemSource]


class Without(ProblemSource):
    """A source without some of its problems, by their numbers."""

    def __init__(self, source: ProblemSource, numbers: Collection[int]) -> None:
        super().__init__(source.config)
        self._source = source
        self._numbers = numbers

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The others, in their order."""
        return (each for number, each in enumerate(self._source.problems(seed=seed)) if number not in self._numbers)


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


def first_of(point: Mix | Use | str, count: int, build: Build, *, seed: int) -> list[Problem]:
    """At most `count` problems of one source, or of several mixed; those that have no more are left out."""
    if not isinstance(point, Mix):
        assert isinstance(point, Use), "the plan resolves problem slots"
        return first(build(point), count, seed=seed)
    order = interleaved([share.weight for share in point.mix], count)
    streams = [
        iter(first_of(share.problems.at(0, 1), order.count(number), build, seed=seed))
        for number, share in enumerate(point.mix)
    ]
    return [problem for number in order if (problem := next(streams[number], None)) is not None]


def balanced(sets: Sequence[Sequence[Problem]], weights: Sequence[float]) -> list[Problem]:
    """As much of each set as its weight allows when the scarcest is taken whole, spread evenly over each, mixed."""
    whole = min(len(own) / weight for own, weight in zip(sets, weights, strict=True))
    counts = [int(whole * weight + 1e-9) for weight in weights]
    chosen = [[own[i * len(own) // count] for i in range(count)] for own, count in zip(sets, counts, strict=True)]
    streams = [iter(own) for own in chosen]
    order = interleaved([max(count, 1e-9) for count in counts], sum(counts))
    return [problem for number in order if (problem := next(streams[number], None)) is not None]


def interleaved(weights: Sequence[float], count: int, *, taken: Sequence[int] = ()) -> list[int]:
    """Which of several sources each of the next `count` items comes from: always the one that lags most behind its
    share of all that were taken, the earlier of equals."""
    had = list(taken) or [0] * len(weights)
    order = []
    for _ in range(count):
        due = [weight / sum(weights) * (sum(had) + 1) - own for weight, own in zip(weights, had, strict=True)]
        chosen = max(range(len(due)), key=lambda number: due[number])
        had[chosen] += 1
        order.append(chosen)
    return order


class ProblemStream:
    """A stage's `problems`: a source, or a schedule of sources, each with a cursor of its own."""

    def __init__(self, problems: Schedule[Mix | Use | str], build: Build, *, seed: int) -> None:
        self._problems = problems
        self._build = build
        self._seed = seed
        self._streams: dict[str, Iterator[Problem]] = {}
        self._taken: dict[str, int] = {}

    def take(self, count: int, *, step: int, total: int) -> Sequence[Problem]:
        """The next `count` problems of what holds at `step` of `total`: one source, or several mixed."""
        point = self._problems.at(step, total)
        if not isinstance(point, Mix):
            return self._of(point, count)
        places = [f"{point.model_dump_json()} {number}" for number in range(len(point.mix))]
        taken = [self._taken.get(place, 0) for place in places]  # of this mix, whatever its sources gave elsewhere
        order = interleaved([share.weight for share in point.mix], count, taken=taken)
        streams = []
        for number, (place, share) in enumerate(zip(places, point.mix, strict=True)):
            self._taken[place] = taken[number] + order.count(number)
            streams.append(iter(self._of(share.problems.at(step, total), order.count(number))))
        return [next(streams[number]) for number in order]

    def _of(self, use: Use | str, count: int) -> list[Problem]:
        assert isinstance(use, Use), "the plan resolves problem slots"
        name = use.model_dump_json()
        taken = self._taken.get(name, 0)
        if name not in self._streams:
            self._streams[name] = islice(endless(self._build(use), seed=self._seed), taken, None)
        self._taken[name] = taken + count
        return list(islice(self._streams[name], count))

    def cursors(self) -> dict[str, int]:
        """How many problems were taken from each source and for each share of a mix, by their config as JSON."""
        return dict(self._taken)

    def skip(self, cursors: Mapping[str, int]) -> None:
        """Go on where `cursors` were, before the first is taken."""
        self._taken = dict(cursors)
