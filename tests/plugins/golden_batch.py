"""The batch on which verl 0.9.1, TRL 1.16.0, OpenRLHF and slime were run: two prompts, three answers each.

Its numbers come from one seeded generator, so that every implementation sees the same float32 values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from r1_plugins.grpo import Grpo
from r1core.batching import weighted
from r1core.nn import TokenView
from r1core.types import Floats, GroupSignals, TrainSequence

LENGTHS = (4, 2, 3, 1, 4, 2)
REWARDS = ([1.0, 0.0, 0.5], [0.0, 0.0, 1.0])


def golden() -> dict[str, torch.Tensor]:
    """(6, 4) log-probabilities of the new, old and reference policy."""
    g = torch.Generator().manual_seed(0)
    old = -torch.rand(6, 4, generator=g) * 2 - 0.1
    new = old + 0.6 * (torch.rand(6, 4, generator=g) - 0.5)
    ref = old + 0.2 * (torch.rand(6, 4, generator=g) - 0.5)
    return {"new": new, "old_logprob": old, "ref_logprob": ref}


def batch() -> list[TrainSequence]:
    """The six answers, with GRPO's advantages; column `new` holds the policy's log-probs."""
    tables = golden()
    advantages = [a for r in REWARDS for a in Grpo(Grpo.Config())([signals(np.array(r), [1] * 3)])[0]]
    rows = []
    for number, length in enumerate(LENGTHS):
        columns = {name: table[number, :length].double().numpy() for name, table in tables.items()}
        columns["advantage"] = np.full(length, advantages[number])
        rows.append(TrainSequence(ids=np.arange(length + 1), start=1, columns=columns))
    return rows


def view(how: Any, longest: int = 4) -> TokenView:
    """The counted tokens of that batch, with the weights of an aggregation."""
    return seen(weighted(batch(), how, longest=longest))


def seen(rows: list[TrainSequence]) -> TokenView:
    """What a loss sees of sequences whose column `new` holds the policy's log-probs (and `entropy`, if it is there)."""
    columns = {name: torch.from_numpy(np.concatenate([r.columns[name] for r in rows])) for name in rows[0].columns}
    lengths = torch.tensor([len(r.ids) - r.start for r in rows])
    given = {"logprob": columns.pop("new").clone().requires_grad_()}
    if "entropy" in columns:
        given["entropy"] = columns.pop("entropy").clone().requires_grad_()
    return TokenView(
        given=given,
        columns=columns,
        sequence=torch.repeat_interleave(torch.arange(len(rows)), lengths),
        targets=torch.zeros(int(lengths.sum()), dtype=torch.long),
    )


def with_columns(rows: list[TrainSequence], make: Callable[[TrainSequence], dict[str, Floats]]) -> list[TrainSequence]:
    """The sequences with more columns."""
    return [replace(row, columns={**row.columns, **make(row)}) for row in rows]


def signals(rewards_G: Floats, lengths: list[int], states: Any = None, values: Any = None) -> GroupSignals:
    return GroupSignals(rewards_G=rewards_G, lengths_G=np.array(lengths), states_GK=states, values_GK=values)


def total(loss: Any, given: TokenView) -> float:
    """The step's loss, a number."""
    return float((given.columns["weight"] * loss(given)).sum().detach())


def gradient(loss: Any, given: TokenView) -> torch.Tensor:
    """(N,) the slope of the step's loss in each token's log-probability."""
    (given.columns["weight"] * loss(given)).sum().backward()
    slope = given.logprob.grad
    assert slope is not None
    return slope
