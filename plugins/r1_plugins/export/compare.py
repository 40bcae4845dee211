"""Is it the same model? Logits before and after, on texts that never change.

Both sides are computed on the CPU, in the wider of their two formats, so that what differs is what was done to the
weights and not how they were multiplied. The bound is on max |difference| over max |logit|.
"""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from r1core.errors import NumericsError, RecipeError, RefusedError
from r1core.nn import load_lm, load_score_model
from r1core.types import Floats

TEXTS = (
    "What is 6 times 7? Let me think about it step by step.",
    "<think>\nSix sevens are forty-two.\n</think>\n\n<answer>42</answer>",
    "已知 x + 3 = 10，求 x。首先两边同时减去 3。",
    "def add(a, b):\n    return a + b\n\nassert add(2, 3) == 5",
    "Let $f(x) = x^2 + 1$. Then $f'(x) = 2x$, so wait, let me check: 2 * 3 = 6.",
)
BOUNDS = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""The largest relative difference by the format of the export: in float32 none but the order of sums; below it each
weight is rounded to 11 or 8 bits, and logits are sums of thousands of products."""
WIDTH = {"float32": 2, "float16": 1, "bfloat16": 1, "float64": 2}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What was measured between two models."""

    max_difference: float
    relative: float
    bound: float
    same_argmax: float
    """The share of positions at which both would say the same."""
    texts: int
    positions: int
    computed_in: str

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def wider(one: str, other: str) -> str:
    """The format that both formats' numbers are exact in."""
    return one if one == other and one in WIDTH else "float32"


def load(folder: Path, *, scores: bool, dtype: str) -> Any:
    """The model in eval mode. Raises RecipeError where this is none that transformers reads without code of its own."""
    kind = getattr(torch, dtype)
    try:
        module = load_score_model(folder, dtype=kind) if scores else load_lm(folder, dtype=kind)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        said = str(error).strip().partition("\n")[0]
        fix = "a model that transformers loads without code from the folder is expected"
        raise RecipeError(f"the model does not load: {said}", where=str(folder), fix=fix) from error
    return module.eval()


def token_ids(tokenizer: Any, prompts: Sequence[str], *, longest: int, vocabulary: int) -> list[list[int]]:
    """The texts as tokens that the model has a row for."""
    encoded = tokenizer([*prompts, *TEXTS], add_special_tokens=False)["input_ids"]
    kept = [[token for token in ids if token < vocabulary][:longest] for ids in encoded]
    return [ids for ids in kept if ids]


@torch.no_grad()
def logits_of(module: Any, texts: Sequence[Sequence[int]]) -> list[Floats]:
    """(T, V) for each text, of a score model the last (1, 1). Raises NumericsError where one is no number."""
    found = []
    for ids in texts:
        out = module(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        if not torch.isfinite(out).all():
            raise NumericsError(
                "the model's own logits are not finite", where=str(module.config.name_or_path), fix="export another one"
            )
        found.append(out.float().numpy().reshape(-1, out.shape[-1]))
    return found


def difference(before: Sequence[Floats], after: Sequence[Floats], *, format_: str, computed_in: str) -> Difference:
    """How far two models are apart."""
    pairs = list(zip(before, after, strict=True))
    most = max(float(np.abs(one - other).max()) for one, other in pairs)
    largest = max(float(np.abs(one).max()) for one in before)
    same = [one.argmax(-1) == other.argmax(-1) for one, other in pairs]
    return Difference(
        max_difference=most,
        relative=most / largest if largest > 0 else most,
        bound=BOUNDS.get(format_, BOUNDS["float32"]),
        same_argmax=float(np.concatenate(same).mean()),
        texts=len(pairs),
        positions=sum(len(one) for one in before),
        computed_in=computed_in,
    )


def require(found: Difference, *, what: str, where: str, fix: str) -> None:
    """Raises RefusedError (exit 4) above the bound; a difference that is no number is above it."""
    if not found.relative <= found.bound:
        raise RefusedError(
            f"{what}: logits differ by {found.max_difference:.3g}, {found.relative:.2g} of the largest "
            f"(at most {found.bound:g}), and {found.same_argmax:.1%} of {found.positions} positions say the same",
            where=where,
            fix=fix,
        )
