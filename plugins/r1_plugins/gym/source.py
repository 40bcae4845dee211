"""Problems of reasoning-gym: of each generator a stream without end, drawn from by weight.

A problem's `reference` has all that its scorer reads (task, options, entry), so that a worker need not make it again.
Streams begin at a number drawn from (the run's seed, `seed`, task, chunk): the library's own seeds overlap, the second
problem of seed 0 is the first of seed 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import count, islice
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1_plugins.gym.answers import spelled
from r1_plugins.gym.generators import generators, lacking, make, unknown
from r1core.components import ProblemSource
from r1core.errors import RecipeError, SetupError
from r1core.types import Problem

CHUNK = 100
"""Problems made of one seed; some generators draw all of a size at once."""
GIVE_UP = 100
"""Problems in a row that a generator may fail to make."""
QUESTION = "{question}"


class GymSource(ProblemSource):
    """Any of the generators of reasoning-gym (`tests/benchmarks/bench_gym.py` lists them): arithmetic, algebra, logic,
    games, graphs. Scored by the reward of the same name."""

    name = "reasoning_gym"
    extra: ClassVar[str] = "gym"

    class Config(ProblemSource.Config):
        tasks: list[str] | Literal["all"] = Field(description="the generators, or all that are fit")
        size: int | None = Field(None, ge=1, description="problems; without end when absent")
        seed: int = Field(0, ge=0, description="number of the streams; the run's own seed counts too")
        config: dict[str, dict[str, Any]] = Field(
            default_factory=dict, description="options of generators, by name: {chain_sum: {max_terms: 4}}"
        )
        weights: dict[str, float] = Field(
            default_factory=dict, description="share of a generator, by name; 1 if absent"
        )
        prompt: str = Field(QUESTION, description="what is asked; {question} stands for the generator's question")
        unfit: Literal["refuse", "allow"] = Field(
            "refuse", description="generators that failed the examination: their scorers pay wrong answers, or worse"
        )

        @model_validator(mode="after")
        def _known(self) -> Self:
            known = generators()
            chosen = [] if self.tasks == "all" else self.tasks
            wrong = [unknown(name) for name in chosen if name not in known]
            wrong += [
                f"{name}: {known[name].unfit}; take it out, or write `unfit: allow`"
                for name in chosen
                if self.unfit == "refuse" and name in known and known[name].unfit
            ]
            wrong += [f"tasks names {name!r} twice" for name in dict.fromkeys(chosen) if chosen.count(name) > 1]
            drawn = self.chosen()
            for option, names in (("config", self.config), ("weights", self.weights)):
                wrong += [f"{option} names {name!r}, which is not drawn from" for name in names if name not in drawn]
            wrong += [f"the weight of {name} is {weight:g}" for name, weight in self.weights.items() if not weight > 0]
            if QUESTION not in self.prompt:
                wrong.append(f"prompt has no {QUESTION}")
            if not drawn:
                wrong.append("tasks is empty")
            if wrong:
                raise ValueError("; ".join(wrong))
            return self

        def chosen(self) -> list[str]:
            """The generators that are drawn from, in order."""
            if self.tasks != "all":
                return list(self.tasks)
            return [n for n, g in generators().items() if self.unfit == "allow" or not g.unfit]

    config: Config

    @classmethod
    def check(cls) -> list[str]:
        """Whether the version that was examined is installed."""
        return lacking()

    @property
    def fields(self) -> Mapping[str, frozenset[str]]:
        """The task, and its category."""
        chosen = self.config.chosen()
        categories = frozenset(generators()[name].category for name in chosen)
        plain = {"domain": frozenset({"reasoning"}), "language": frozenset({"en"})}
        return {**plain, "task": frozenset(chosen), "category": categories}

    @property
    def endless(self) -> bool:
        """Unless it has a size."""
        return self.config.size is None

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The next of the generator that lags most behind its share, again and again."""
        if missing := lacking():
            raise SetupError(missing[0], where="source reasoning_gym")
        return islice(self._drawn(seed), self.config.size)

    def _drawn(self, seed: int) -> Iterator[Problem]:
        weights = [self.config.weights.get(name, 1.0) for name in self.config.chosen()]
        streams = [self._stream(name, seed) for name in self.config.chosen()]
        had = [0] * len(streams)
        for taken in count(1):
            due = [weight / sum(weights) * taken - own for weight, own in zip(weights, had, strict=True)]
            number = max(range(len(due)), key=due.__getitem__)
            had[number] += 1
            yield next(streams[number])

    def _stream(self, task: str, seed: int) -> Iterator[Problem]:
        """A generator's problems; those without an answer, and what it fails to make, are passed over."""
        failed = 0
        for number, entry in self._entries(task, seed):
            problem = self._problem(task, entry, f"{task}-{self.config.seed}-{seed}-{number}") if entry else None
            failed = 0 if problem is not None else failed + 1
            if failed > GIVE_UP:
                raise RecipeError(
                    f"{task} made no problem in {GIVE_UP} tries",
                    where="source reasoning_gym",
                    fix=f"change its options: config.{task}",
                )
            if problem is not None:
                yield problem

    def _entries(self, task: str, seed: int) -> Iterator[tuple[int, dict[str, Any] | None]]:
        options = self.config.config.get(task, {})
        for chunk in count():
            own = int.from_bytes(sha256(f"{seed} {self.config.seed} {task} {chunk}".encode()).digest()[:4]) >> 1
            dataset = make(task, options, seed=own, size=CHUNK)
            for place in range(CHUNK):
                try:
                    entry = dataset[place]
                except Exception:  # generators give up on odd numbers in ways of their own
                    entry = None
                yield chunk * CHUNK + place, entry

    def _problem(self, task: str, entry: Mapping[str, Any], name: str) -> Problem | None:
        generator = generators()[task]
        plain = json.loads(json.dumps(dict(entry), default=str))
        if generator.gold:
            gold = plain["metadata"][generator.gold]
            plain["answer"] = gold if isinstance(gold, str) else json.dumps(gold)
        answer = str(plain["answer"] or "").strip()
        if generator.evaluates and not spelled(answer, generator.evaluates):
            return None  # an integral that the library could not solve either
        if not answer and not generator.unfit:
            return None
        return Problem(
            id=name,
            messages=({"role": "user", "content": self.config.prompt.replace(QUESTION, plain["question"])},),
            reference={"task": task, "config": self.config.config.get(task, {}), "entry": plain},
            meta={"task": task, "category": generator.category},
        )
