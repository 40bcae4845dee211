"""What the reward `math` says where graders err, beside math-verify alone; how fast it is; and what random pairs show.

    python tests/benchmarks/bench_math.py                    # the table of README, the rate, the bombs: two minutes
    python tests/benchmarks/bench_math.py --pairs 100000     # and random pairs against an exact oracle: ten more
    PYTHONPATH=<folder with gmpy2> python ...                # bombs with gmpy2, whose C code heeds no alarm

math-verify is called as its README says, `verify(parse(gold), parse(answer))`, with the reference as "$...$". Aims:
0 false positives, recall 0.97, 0.8 x cores of math-verify's own rate, bombs over within a deadline (two where a
time-out is confirmed) and 250 ms.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from math_hostile import BOMBS, EXPRESSION, NUMBER, ROOT
from math_pairs import Pair, pair

import r1_plugins.math
from r1_plugins.math import Math
from r1core.cases import asking, read_cases, spec_of
from r1core.plugins import Loaded, PluginHost
from r1core.scoring import ScoringService
from r1core.types import Group, Problem, Response, Rollout

DATA = Path(r1_plugins.math.__file__).parent
SHOWN = 20
ORDINARY = 2_000


def ours(gold: object, question: str, response: Response) -> bool:
    """Our verdict, in this process."""
    problem = Problem(id="p", reference=gold, messages=({"role": "user", "content": question},))
    return Math(Math.Config()).score(problem, response).value == 1.0


def theirs(gold: object, text: str) -> bool:
    """math-verify's, with its defaults."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(text)))


# --- the table -----------------------------------------------------------------------------------------


def table() -> None:
    """False positives and recall on both corpora."""
    equivalent, adversarial = (read_cases(DATA / f"math_{name}.jsonl") for name in ("equivalent", "adversarial"))
    ways: list[tuple[str, Callable[..., bool]]] = [
        ("`math`", lambda case: ours(case.problem.reference, case.problem.question, case.response)),
        ("math-verify, after the thinking", lambda case: theirs(case.problem.reference, case.response.answer or "")),
        ("math-verify, whole text", lambda case: theirs(case.problem.reference, case.response.text)),
    ]
    print(f"| | paid wrongly, of {len(adversarial)} | recognised, of {len(equivalent)} |")
    print("| --- | --- | --- |")
    for name, judge in ways:
        paid = sum(map(judge, adversarial))
        known = sum(map(judge, equivalent))
        print(f"| {name} | {paid} | {known} ({known / len(equivalent):.1%}) |", flush=True)


# --- the rate --------------------------------------------------------------------------------------------


def rate(loaded: Loaded, kinds: Sequence[str]) -> None:
    """Ordinary answers in a second: math-verify in one process, ours through the scoring service."""
    rng = random.Random(0)
    pairs = [one for one in (pair(rng) for _ in range(4 * ORDINARY)) if one.kind in kinds][:ORDINARY]
    theirs("1", "$1$")
    started = time.perf_counter()
    for one in pairs[: ORDINARY // 4]:
        theirs(one.gold, f"The answer is $\\boxed{{{one.answer}}}$.")
    alone = ORDINARY // 4 / (time.perf_counter() - started)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ScoringService([spec_of(loaded, {})], workers=cores) as service:
        service.score([_group(pairs[:8])])
        started = time.perf_counter()
        service.score([_group(pairs)])
        served = len(pairs) / (time.perf_counter() - started)
    print(f"{len(pairs)} answers ({', '.join(kinds)}): math-verify in one process {alone:.0f}/s; `math` through the "
          f"scoring service, {cores} workers, {served:.0f}/s: {served / alone:.1f} times (aim {0.8 * cores:.1f})",
          flush=True)  # fmt: skip


def _group(pairs: Sequence[Pair]) -> Group:
    none = np.zeros(0, dtype=np.int64)
    rollouts = []
    for number, one in enumerate(pairs):
        problem = Problem(id=f"p{number}", reference=one.gold)
        response = _response(one)
        rollouts.append(
            Rollout(
                problem=problem, sample=number, prompt_ids=none, completion_ids=none, logprobs=None, response=response
            )
        )
    return Group(problem=rollouts[0].problem, rollouts=tuple(rollouts))


def _response(one: Pair) -> Response:
    return Response.parse(f"<think>step by step</think>The answer is $\\boxed{{{one.answer}}}$.")


# --- bombs ------------------------------------------------------------------------------------------------


def bombs(loaded: Loaded) -> None:
    """How long the worst of them takes, restarts of workers among it."""
    with_gmpy2 = "with" if importlib.util.find_spec("gmpy2") else "without"
    verdicts, timeouts = [0.0], [0.0]
    with asking(loaded, {}) as ask:
        for gold in (NUMBER, ROOT, EXPRESSION):
            for bomb in BOMBS:
                response = Response.parse(f"<think>hm</think>\\boxed{{{bomb}}}")
                score, seconds = ask(Problem(id="p", reference=gold), response)
                (timeouts if score.reason == "verifier_timeout" else verdicts).append(seconds)
    print(f"{3 * len(BOMBS)} bombs {with_gmpy2} gmpy2, deadline {Math.timeout_s:g} s: {len(verdicts) - 1} verdicts, "
          f"the last after {max(verdicts):.2f} s; {len(timeouts) - 1} confirmed time-outs, the last after "
          f"{max(timeouts):.2f} s", flush=True)  # fmt: skip


# --- random pairs -------------------------------------------------------------------------------------------


def differential(number: int, theirs_too: int) -> None:
    """Our verdict on each pair, and math-verify's on the first ones, against the oracle's."""
    rng = random.Random(1)
    counts: Counter[str] = Counter()
    shown: dict[str, list[Pair]] = {}
    for index in range(number):
        one = pair(rng)
        verdicts = {"math": ours(one.gold, "", _response(one))}
        if index < theirs_too:
            verdicts["math-verify"] = theirs(one.gold, f"\\boxed{{{one.answer}}}")
        for name, verdict in verdicts.items():
            kind = "right" if verdict == one.equal else "paid wrongly" if verdict else "not recognised"
            counts[f"{name}: {kind}"] += 1
            if kind != "right":
                shown.setdefault(f"{name}: {kind}", []).append(one)
    print(f"{number} random pairs:", dict(sorted(counts.items())))
    for kind, pairs in shown.items():
        print(f"{kind}, the first of {len(pairs)}:")
        for one in pairs[:SHOWN]:
            print(f"    {one.kind}: {one.gold[:60]} | {one.answer[:60]}")


def main() -> None:
    """Print it all."""
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=0, help="random pairs")
    options.add_argument("--theirs", type=int, default=10_000, help="of these, how many math-verify is asked about")
    chosen = options.parse_args()
    logging.disable(logging.WARNING)  # math-verify's time-outs
    loaded = PluginHost.discover().load("reward", "math", Path())
    table()
    rate(loaded, ("rational", "root"))
    rate(loaded, ("rational", "root", "polynomial"))
    bombs(loaded)
    if chosen.pairs:
        differential(chosen.pairs, chosen.theirs)


if __name__ == "__main__":
    main()
