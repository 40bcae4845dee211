"""Model folders read: language models, and models with a score head (one number for each token).

Only safetensors; pickles are refused unread. A score model is what Hugging Face calls sequence
classification with one label, its head a plain linear layer under the name `score`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.utils import logging

from r1core.errors import SetupError

SCORE = "score"
"""The attribute under which a sequence classification model has its head."""
_library: Any = logging
_CLASSIFIES = "ForSequenceClassification"


def load_lm(folder: Path, *, dtype: torch.dtype) -> Any:
    """The causal language model in `folder`. Raises SetupError for weights that are missing, or pickled."""
    _require_safetensors(folder)
    if is_score_model(folder):
        raise SetupError(
            "this model scores answers, it cannot write any", where=str(folder), fix="give a language model"
        )
    module, missing = _load(AutoModelForCausalLM, folder, dtype)
    _require_all(missing, folder)
    return module


def load_score_model(folder: Path, *, dtype: torch.dtype, new_head: bool = False) -> Any:
    """The score model in `folder`; with `new_head` a language model, too, whose head begins with zeros (the same in
    every process, and no opinion to begin with). Raises SetupError where there is no such model."""
    _require_safetensors(folder)
    has_head = is_score_model(folder)
    if not has_head and not new_head:
        raise SetupError(
            "this is no reward model: it has no score head", where=str(folder), fix="give a model trained to score"
        )
    labels = _config(folder).num_labels if has_head else 1
    if labels != 1:
        raise SetupError(f"the model has {labels} labels, not one score", where=str(folder), fix="give a reward model")
    module, missing = _load(AutoModelForSequenceClassification, folder, dtype, num_labels=1)
    if not isinstance(getattr(module, SCORE, None), torch.nn.Linear):
        kind = module.config.model_type
        raise SetupError(f"models of type {kind!r} have no plain score head", where=str(folder), fix="use another type")
    if not has_head:
        torch.nn.init.zeros_(module.get_parameter(f"{SCORE}.weight"))
        missing.discard(f"{SCORE}.weight")
    _require_all(missing, folder)
    return module


def is_score_model(folder: Path) -> bool:
    """Whether the folder's model classifies sequences, by what its config says."""
    return any(name.endswith(_CLASSIFIES) for name in _config(folder).architectures or ())


def _config(folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(
            f"its config cannot be read: {reason}", where=str(folder), fix="give a Hugging Face model folder"
        ) from error


def _load(kind: Any, folder: Path, dtype: torch.dtype, **options: Any) -> tuple[Any, set[str]]:
    """The model, and the names of weights that the folder should have and does not."""
    with no_progress_bars(), _quiet():
        module, info = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=dtype, output_loading_info=True, **options
        )
    return module, set(info["missing_keys"])


def _require_all(missing: set[str], folder: Path) -> None:
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise SetupError(f"weights are missing ({names}, ...)", where=str(folder), fix="export the model again")


def _require_safetensors(folder: Path) -> None:
    if not folder.is_dir():
        raise SetupError("there is no such folder", where=str(folder), fix="give a Hugging Face model folder")
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    if pickles:
        raise SetupError(
            f"its weights are pickles ({', '.join(pickles)}), which can run code when they are read",
            where=str(folder),
            fix="convert them to safetensors with a tool you trust, in a place you can lose",
        )
    raise SetupError("no *.safetensors in this folder", where=str(folder), fix="give a Hugging Face model folder")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's advice to train what it has just initialised."""
    before = _library.get_verbosity()
    _library.set_verbosity_error()
    try:
        yield
    finally:
        _library.set_verbosity(before)


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """While the library reads or writes a folder: a stage's display is the core's."""
    shown = _library.is_progress_bar_enabled()
    _library.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            _library.enable_progress_bar()
