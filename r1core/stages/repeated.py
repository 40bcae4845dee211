"""What several answers to each problem say beyond their mean: the pass@k curve, the majority's answer, two error bars.

    pass@1/k=1, /k=2, /k=4, ...   the unbiased pass@k from all answers (estimates.py)
    pass@1/cons=8                 the majority's answer of 8 is right (cons@8 of the paper, D.1)
    pass@1_se_sampling            other answers to these problems: the jackknife over each problem's answers,
                                  for k = 1 the mean of p (1 - p) / (n - 1) over P, root
    pass@1_se_problem             other problems, too: the spread of the problems' values / sqrt(P)

A vote is what the set's reward says it read (`Score.extracted`); where it says nothing, the last box or the tagged
answer, with case, width and spaces evened out. An answer without one casts none; where such a one is right, there is no
telling, and no majority. A majority is worth the share of right marks among its votes; of several equally large ones
the mean, as if by lot. P = problems, G = answers to each.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from r1core.boxes import boxed
from r1core.stages.estimates import mean, pass_at_k
from r1core.store.rows import response_of
from r1core.types import Floats

Marked: TypeAlias = Sequence[tuple[str | None, bool]]
"""The answers to one problem that have a verdict: what each votes for, and whether it is right."""


def repeated(name: str, marked_PG: Sequence[Marked], samples: int) -> dict[str, float]:
    """The curve and the vote of a set with several answers to each problem; nothing of one with single ones."""
    if samples < 2:
        return {}
    known = [marked_G for marked_G in marked_PG if marked_G]
    curve = {f"{name}/k={k}": mean(pass_at_k(len(m), rights(m), k) for m in known) for k in points(samples)}
    if any(right and not vote for marked_G in known for vote, right in marked_G):
        return curve
    return {**curve, f"{name}/cons={samples}": mean(majority(marked_G) for marked_G in known)}


def points(samples: int) -> list[int]:
    """1, 2, 4, ... up to the number of answers, which is the last."""
    powers = [2**i for i in range(samples.bit_length()) if 2**i < samples]
    return [*powers, samples]


def rights(marked_G: Marked) -> int:
    """How many are right."""
    return sum(right for _, right in marked_G)


def majority(marked_G: Marked) -> float:
    """What the answer that most answers agree on is worth; 0 where none has a final answer."""
    votes: dict[str, list[bool]] = defaultdict(list)
    for vote, right in marked_G:
        if vote:
            votes[vote].append(right)
    most = max(map(len, votes.values()), default=0)
    return mean(sum(own) / most for own in votes.values() if len(own) == most) if votes else 0.0


def ballot(row: Mapping[str, Any]) -> str:
    """What an answer votes for whose reward does not say what it read; "" for nothing."""
    answer = row["answer"] or ""
    contents = boxed(answer)
    final = contents[-1] if contents else answer if response_of(row).tagged else ""
    return " ".join(unicodedata.normalize("NFKC", final).casefold().split())


def standard_errors(values_P: Floats, marked_PG: Sequence[Marked], *, k: int, samples: int) -> dict[str, float]:
    """ "sampling" where more answers than `k` tell it, and "problem" where there are several problems."""
    known_P = values_P[~np.isnan(values_P)]
    found: dict[str, float] = {}
    variances = [spread for marked_G in marked_PG if marked_G and (spread := _jackknife(marked_G, k)) is not None]
    if samples > k and len(variances) == len(known_P) > 0:
        found["sampling"] = math.sqrt(math.fsum(variances)) / len(known_P)
    if len(known_P) > 1:
        found["problem"] = float(known_P.std(ddof=1)) / math.sqrt(len(known_P))
    return found


def _jackknife(marked_G: Marked, k: int) -> float | None:
    """The variance of one problem's pass@k over other draws of its answers; None where too few tell it."""
    n, correct = len(marked_G), rights(marked_G)
    if n <= k:
        return None
    without_right = pass_at_k(n - 1, correct - 1, k) if correct else 0.0
    without_wrong = pass_at_k(n - 1, correct, k) if correct < n else 1.0
    share = correct / n
    return (n - 1) * share * (1 - share) * (without_wrong - without_right) ** 2


def marked(
    rows_PG: Sequence[Sequence[Mapping[str, Any]]], part: str, *, at_least: float, votes: bool = True
) -> list[Marked]:
    """Each problem's answers with a verdict on `part`; without `votes` none is cast, and no text is read."""
    is_said = not votes or any(part in row.get("extracts", {}) for rows_G in rows_PG for row in rows_G)
    return [
        [
            (row.get("extracts", {}).get(part, "") if is_said else ballot(row), row["parts"][part] >= at_least)
            for row in rows_G
            if row["status"] != "infrastructure" and part in row["parts"]
        ]
        for rows_G in rows_PG
    ]
