"""Every generator of reasoning-gym that is let in: is its own answer worth 1, and nothing else?

    python tests/benchmarks/bench_gym.py                 # 100 problems of each; about ten minutes on one core
    python tests/benchmarks/bench_gym.py --problems 20 --tasks gcd n_queens

Of each problem: its answer, nothing, a blank, the question, and the different answers of the next five problems,
alone and beside its own. The same problems have to come in a process with another PYTHONHASHSEED. Exits 1 when a
generator fails that is not listed as unfit, or more than 15 % are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from r1_plugins.gym import GymReward, GymSource
from r1_plugins.gym.generators import examined, generators
from r1core.types import Problem, Response

NEXT = 5
REPEATED = 20
MOST_UNFIT = 0.15
MOST_SEVERAL = 0.15
"""Most of the other problems' answers that may be right where several are."""


@dataclass(kw_only=True)
class Found:
    """What one generator's examination came to."""

    problems: int = 0
    wrong: list[str] = field(default_factory=list)
    others: int = 0
    others_paid: int = 0
    slowest_s: float = 0.0


def problems_of(task: str, count: int) -> list[Problem]:
    """As a worker gets them."""
    source = GymSource(GymSource.Config(tasks=[task], unfit="allow"))
    told = [json.loads(json.dumps(vars(each))) for each in islice(source.problems(seed=0), count)]
    return [Problem(**{**each, "messages": tuple(each["messages"])}) for each in told]


def digest(task: str) -> str:
    """Of the first problems."""
    text = json.dumps([[p.question, p.reference] for p in problems_of(task, REPEATED)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def examine(task: str, count: int) -> Found:
    """Ask for all that may and may not be paid."""
    reward, found = GymReward(GymReward.Config()), Found()

    def paid(problem: Problem, answer: str | None) -> bool:
        started = time.perf_counter()
        score = reward.score(problem, Response(text="", thinking=None, answer=answer, tagged=True))
        found.slowest_s = max(found.slowest_s, time.perf_counter() - started)
        return score.value >= 1.0

    problems = problems_of(task, count)
    golds = [str(problem.reference["entry"]["answer"]) for problem in problems]
    found.problems = len(problems)
    for number, problem in enumerate(problems):
        if not paid(problem, golds[number]):
            found.wrong.append(f"{problem.id}: its answer is not paid")
        for said, answer in (("nothing", None), ("nothing", ""), ("a blank", "  "), ("the question", problem.question)):
            if paid(problem, answer):
                found.wrong.append(f"{problem.id}: {said} is paid")
        for other in {golds[(number + k) % len(golds)] for k in range(1, NEXT + 1)} - {golds[number]}:
            found.others += 1
            found.others_paid += paid(problem, other)
            hedged = [f"{golds[number]} or {other}", f"{golds[number]}\n{other}", f"{golds[number]}, {other}"]
            hedged += [f"{other} or {golds[number]}", f"{other}\n{golds[number]}"]
            if not generators()[task].several and any(paid(problem, hedge) for hedge in hedged):
                found.wrong.append(f"{problem.id}: its answer among two is paid")
    allowed = MOST_SEVERAL * found.others if generators()[task].several else 0
    if found.others_paid > allowed:
        found.wrong.append(f"{found.others_paid} of {found.others} answers to other problems are paid")
    return found


def elsewhere(tasks: list[str]) -> dict[str, str]:
    """The digests in a process with another hash seed."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    with tempfile.NamedTemporaryFile() as file:  # some generators print
        command = [sys.executable, __file__, "--digests", file.name, "--tasks", *tasks]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        told: dict[str, str] = json.loads(file.read())
    return told


def main() -> None:
    """Print a line for each generator, and what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--digests", type=Path, help="write the hashes of problems to this file, and nothing else")
    asked = parser.parse_args()
    tasks = asked.tasks or list(generators())
    if asked.digests:
        asked.digests.write_text(json.dumps({task: digest(task) for task in tasks}))
        return
    fit = [task for task in tasks if not generators()[task].unfit]
    there, failed = elsewhere(fit), 0
    for task in tasks:
        if generators()[task].unfit:
            print(f"{task:26} unfit: {generators()[task].unfit}")
            continue
        found = examine(task, asked.problems)
        if digest(task) != there[task]:
            found.wrong.append("its problems are others in another process")
        failed += bool(found.wrong)
        told = "; ".join(found.wrong[:3]) + (f" ({len(found.wrong)})" if found.wrong else "ok")
        others = f"others {found.others_paid}/{found.others}"
        print(
            f"{task:26} {found.problems:4} problems  {others:16} slowest {found.slowest_s:6.3f} s  {told}", flush=True
        )
    unfit = 1 - len(fit) / len(tasks)
    print(f"\nreasoning-gym {examined()}: {len(tasks)} generators, {unfit:.1%} unfit, {failed} failed")
    sys.exit(failed > 0 or (not asked.tasks and unfit > MOST_UNFIT))


if __name__ == "__main__":
    main()
