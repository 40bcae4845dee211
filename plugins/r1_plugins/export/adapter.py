"""A LoRA adapter merged into its model, and proof that the merged model says what the two said together.

Merged in float32, whatever the model's format, and rounded once, when the export is written: a bfloat16 sum loses most
of a small adapter.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from r1_plugins.export.compare import Difference, difference, load, logits_of, require
from r1core.errors import RecipeError, SetupError
from r1core.nn import as_exported
from r1core.types import Floats


def merge(
    base: Path, adapter: Path, texts: Sequence[Sequence[int]]
) -> tuple[dict[str, torch.Tensor], list[Floats], Difference]:
    """The weights that changed, under their exported names; the merged model's logits; how far they are from the
    unmerged ones. Raises RecipeError for an adapter of another model, RefusedError for a merge that is not exact."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise SetupError(
            "adapters need peft, which is not installed", where=str(adapter), fix="pip install 'r1core[train]'"
        ) from error
    reader: Any = PeftModel
    with _alone(base) as folder:
        module = load(folder, scores=False, dtype="float32")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            wrapped = reader.from_pretrained(module, str(adapter), is_trainable=False).eval()
        except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            fix = "give the model that it was trained on: --base FOLDER"
            raise RecipeError(f"the adapter does not fit {base}: {reason}", where=str(adapter), fix=fix) from error
    missing = [str(each.message) for each in said if "missing adapter keys" in str(each.message).lower()]
    if missing:
        fix = "give the model that it was trained on: --base FOLDER"
        raise RecipeError(f"the adapter does not fit {base}: {missing[0][:300]}", where=str(adapter), fix=fix)
    before = logits_of(wrapped, texts)
    merged = wrapped.merge_and_unload(safe_merge=True)
    after = logits_of(merged, texts)
    found = difference(before, after, format_="float32", computed_in="float32")
    require(
        found,
        what="merging changes what the model says",
        where=str(adapter),
        fix="serve the adapter beside its model, or train it as plain low-rank matrices",
    )
    return dict(_exported(merged)), after, found


@contextlib.contextmanager
def _alone(base: Path) -> Iterator[Path]:
    """The model's folder without an adapter in it, which transformers would add of itself."""
    if not any(base.glob("adapter_*")):
        yield base
        return
    with tempfile.TemporaryDirectory() as place:
        for path in base.iterdir():
            if not path.name.startswith("adapter_"):
                (Path(place) / path.name).symlink_to(path.resolve())
        yield Path(place)


def _exported(module: Any) -> Any:
    for name, parameter in module.named_parameters():
        yield from as_exported(module, name, parameter.detach())
