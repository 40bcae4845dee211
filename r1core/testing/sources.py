"""The suite of problem sources: the same problems in the same order, for ever, and each of them well formed.

    class TestMolecules(SourceSuite):
        component = "chem/molecules"
        reward = "chem/smiles"         # optional: each problem's gold has to earn 1 from it

Only the first problems are looked at, so a source may be endless.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from r1core.cases import TOLERANCE, asking
from r1core.components import ProblemSource
from r1core.errors import R1Error
from r1core.plugins import Loaded, PluginHost
from r1core.stress.probes import tagged
from r1core.testing.suite import ComponentSuite, fail
from r1core.types import Problem, Response

ROLES = ("system", "user", "assistant")
SEEDS = (0, 1)
OTHER_PROCESS = """
import json, sys
from r1core.scoring.worker import load_class
from r1core.testing.sources import digests
target, options, seed, count = json.loads(sys.argv[1])
cls = load_class(target)
print(json.dumps(digests(cls(cls.Config.model_validate(options)), seed=seed, count=count)))
"""


class SourceSuite(ComponentSuite):
    """What a source promises."""

    kind = "source"
    count: ClassVar[int] = 200
    """Problems that are looked at."""
    reward: ClassVar[str] = ""
    """The name of a reward that pays 1 for the gold of each problem, given as a tagged answer."""
    reward_options: ClassVar[Mapping[str, Any]] = {}
    """Options of that reward."""

    def gold(self, problem: Problem) -> str:
        """The answer that is worth 1: the reference, the first of several. Override it where that is no answer."""
        reference = problem.reference
        first = reference[0] if isinstance(reference, list) and reference else reference
        return first if isinstance(first, str) else json.dumps(first, ensure_ascii=False)

    # --- order -----------------------------------------------------------------------------------------

    def test_it_has_problems(self) -> None:
        """Also with another seed: a run that gets none stops."""
        for seed in SEEDS:
            if not self._first(seed):
                fail(f"there is no problem with seed {seed}; a source is never empty")

    def test_the_order_is_the_same_twice(self) -> None:
        """The n-th problem is a function of the options, the seed and n: going on after a kill depends on it."""
        source = self._source()
        first = self._digests(source)
        for how, other in {"asked again": source, "from a new instance": self._source()}.items():
            self._refuse_difference(first, self._digests(other), how)

    def test_the_order_is_the_same_in_another_process(self) -> None:
        """Whatever PYTHONHASHSEED is: sets and hashes of text differ from process to process."""
        first = self._digests(self._source())
        options = self._source().config.model_dump(mode="json", by_alias=True)
        argument = json.dumps([self.loaded.target, options, SEEDS[0], self.count])
        hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, argument],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            fail(f"a fresh process cannot read it: {done.stderr.strip().splitlines()[-1]}")
        found = json.loads(done.stdout.splitlines()[-1])
        self._refuse_difference(first, found, f"in a process with PYTHONHASHSEED={hash_seed}")

    # --- problems --------------------------------------------------------------------------------------

    def test_ids_are_unique(self) -> None:
        """Rollouts, reviews and keys of randomness go by the id."""
        for seed in SEEDS:
            seen: dict[str, int] = {}
            for number, problem in enumerate(self._first(seed)):
                if problem.id in seen:
                    fail(f"problems {seen[problem.id]} and {number} (seed {seed}) have the same id {problem.id!r}")
                seen[problem.id] = number

    def test_messages_are_well_formed(self) -> None:
        """Messages of known roles with text, the last one to be answered or gone on from; or a plain document."""
        for where, problem in self._problems():
            wrong = _malformed(problem)
            if wrong:
                fail(f"{where}: {wrong}")

    def test_references_and_meta_are_json(self) -> None:
        """They cross processes and are stored: what JSON turns into something else is not compared with any more."""
        for where, problem in self._problems():
            for name, value in (("reference", problem.reference), ("meta", dict(problem.meta))):
                try:
                    same = json.loads(json.dumps(value, allow_nan=False)) == value
                except (TypeError, ValueError) as error:
                    fail(f"{where}: {name} is not JSON: {error}")
                if not same:
                    fail(f"{where}: {name} {value!r:.100} changes on its way through JSON; use lists and text keys")

    def test_the_gold_is_worth_one(self) -> None:
        """By the reward that is named, for each problem; and an empty answer is not."""
        if not self.reward:
            return
        reward, options = self._rewarded()
        try:
            with asking(reward, options) as ask:
                for where, problem in self._problems():
                    gold = ask(problem, Response.parse(tagged("", self.gold(problem)))).score
                    if not (gold.known and abs(gold.value - 1.0) <= TOLERANCE):
                        said = f"{gold.value:g} ({gold.reason or gold.status})"
                        fail(f"{where}: its gold {self.gold(problem)!r:.100} is worth {said} by {self.reward}, not 1")
                    empty = ask(problem, Response.parse(tagged("", ""))).score
                    if empty.known and empty.value >= 1.0 - TOLERANCE:
                        fail(f"{where}: an empty answer is worth {empty.value:g} by {self.reward}, as much as the gold")
        except R1Error as error:
            fail(str(error))

    # --- asking ----------------------------------------------------------------------------------------

    def _source(self) -> ProblemSource:
        source: ProblemSource = self.build()
        return source

    def _first(self, seed: int) -> list[Problem]:
        try:
            return list(islice(self._source().problems(seed=seed), self.count))
        except Exception as error:
            said = str(error) if isinstance(error, R1Error) else f"{type(error).__name__}: {error}"
            fail(f"problems(seed={seed}) raised {said}")

    def _digests(self, source: ProblemSource) -> list[str]:
        self._first(SEEDS[0])  # what it raises is said there
        return digests(source, seed=SEEDS[0], count=self.count)

    def _problems(self) -> Iterator[tuple[str, Problem]]:
        """(where, problem) with each seed."""
        for seed in SEEDS:
            for number, problem in enumerate(self._first(seed)):
                yield f"problem {number} (seed {seed}, id {problem.id!r})", problem

    def _rewarded(self) -> tuple[Loaded, dict[str, Any]]:
        """The named reward with its options, as JSON."""
        try:
            reward = PluginHost.discover().load("reward", self.reward, Path(inspect.getfile(type(self))).parent)
            config = reward.cls.Config.model_validate(dict(self.reward_options))
        except R1Error as error:
            fail(f"{type(self).__name__}.reward: {error}")
        except ValidationError as error:
            fail(f"{type(self).__name__}.reward_options are not valid: {error}")
        return reward, config.model_dump(mode="json", by_alias=True)

    def _refuse_difference(self, first: list[str], other: list[str], how: str) -> None:
        for number, (one, two) in enumerate(zip(first, other, strict=False)):
            if one != two:
                fix = "draw from Random(seed), sort what is a set"
                fail(f"problem {number} (seed {SEEDS[0]}) is another one {how}; {fix}")
        if len(first) != len(other):
            fail(f"there are {len(first)} problems (seed {SEEDS[0]}), but {len(other)} {how}")


def digests(source: ProblemSource, *, seed: int, count: int) -> list[str]:
    """A hash of each of the first `count` problems, all that is in them."""
    return [
        hashlib.sha256(_text(problem).encode()).hexdigest() for problem in islice(source.problems(seed=seed), count)
    ]


def _text(problem: Problem) -> str:
    return json.dumps(vars(problem), sort_keys=True, default=repr)


def _malformed(problem: Problem) -> str:
    """What is wrong with a problem's text, "" when nothing is."""
    if not problem.messages:
        return "" if problem.completion else "neither messages nor a completion: there is nothing to ask or to learn"
    for number, message in enumerate(problem.messages):
        if set(message) != {"role", "content"}:
            return f"message {number} has the keys {', '.join(message)}; give it role and content"
        if message["role"] not in ROLES:
            return f"message {number} has the role {message['role']!r}; roles: {', '.join(ROLES)}"
        if not isinstance(message["content"], str) or not message["content"].strip():
            return f"message {number} says {message['content']!r}; give it text"
    if problem.messages[-1]["role"] == "system":
        return "the last message is the system's; ask something behind it"
    empty = [name for name in ("id", "domain", "language") if not getattr(problem, name)]
    return f"its {' and '.join(empty)} is empty" if empty else ""
