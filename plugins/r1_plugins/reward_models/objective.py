"""The losses of reward models, in numbers: a batch's loss, its slope in each logit, and how well answers are ranked.

    pairwise (Bradley-Terry)   - log sigmoid(s_chosen - s_rejected)
    pointwise                  - y log sigmoid(s) - (1 - y) log sigmoid(-s)

Both are the logistic loss of a logit z and a label y: log(1 + e^z) - y z, with slope sigmoid(z) - y; of a pair,
z = s_chosen - s_rejected and y = 1. N = examples of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from r1core.types import Floats

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView


class Slope:
    """Score times `weight`. With the slope of any loss in each score as the weights, this has that loss's gradient,
    however the scores depend on each other in it and wherever the micro-batches are cut."""

    reads = frozenset({"score"})

    def __call__(self, view: TokenView) -> torch.Tensor:
        """(N,) the scores."""
        return view.score


def sigmoid(logits_N: Floats) -> Floats:
    """1 / (1 + e^-z), without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits_N))


def logistic(logits_N: Floats, labels_N: Floats) -> tuple[float, Floats]:
    """The mean loss and its slope in each logit, (N,). Logits that are not finite give what is not finite."""
    with np.errstate(invalid="ignore"):
        loss = np.mean(np.logaddexp(0.0, logits_N) - labels_N * logits_N)
        return float(loss), (sigmoid(logits_N) - labels_N) / len(logits_N)


def accuracy(logits_N: Floats, labels_N: Floats) -> float:
    """The share of logits on the side of their label; 0 counts half."""
    return float(np.mean(np.sign(logits_N) * (2 * labels_N - 1)) / 2 + 0.5)


def auc(logits_N: Floats, labels_N: Floats) -> float:
    """The probability that an answer labelled 1 has a higher logit than one labelled 0, ties half. Needs both."""
    _, inverse, counts = np.unique(logits_N, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = int(labels_N.sum())
    return float((ranks[labels_N == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(labels_N) - ones)))
