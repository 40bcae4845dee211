"""Model folders: made from nothing, read for training or sampling, and written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.core_model_loading import revert_weight_conversion

from r1core.errors import RecipeError
from r1core.nn.heap import trim_heap
from r1core.nn.loading import SCORE, load_lm, load_score_model, no_progress_bars
from r1core.nn.text import ChatText, load_tokenizer
from r1core.types import Head

_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
    "additional_chat_templates/*",
)

_models: Any = AutoModelForCausalLM
_generation: Any = GenerationConfig


def create_model(folder: Path, architecture: Mapping[str, Any], *, seed: int) -> None:
    """Write config, generation config and random weights into `folder`, which holds the tokenizer."""
    tokenizer = load_tokenizer(folder)
    size = architecture.get("vocab_size", len(tokenizer))
    if size < len(tokenizer):
        raise RecipeError(
            f"vocab_size is {size}, but the tokenizer has {len(tokenizer)} tokens",
            where="architecture",
            fix="leave vocab_size out",
        )
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
    }
    config = _config({**architecture, **special, "vocab_size": size})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _models.from_config(config, dtype=torch.float32)
    module.generation_config = _generation(**special)
    save_model(module, folder)


def _config(keys: dict[str, Any]) -> Any:
    kind = keys.pop("model_type", None)
    try:
        return AutoConfig.for_model(kind, **keys)
    except ValueError as error:
        raise RecipeError(
            f"model_type {kind!r} cannot be built: {error}", where="architecture", fix="for example `model_type: qwen2`"
        ) from error


def open_model(folder: Path, *, dtype: torch.dtype, head: Head, text: ChatText) -> Any:
    """The model on the CPU, in eval mode (no dropout), with all its end tokens in its generation config."""
    module = load_lm(folder, dtype=dtype) if head == "lm" else load_score_model(folder, dtype=dtype, new_head=True)
    module.eval()
    if head == "lm":
        module.generation_config.eos_token_id = list(text.end_ids)
    else:
        module.config.pad_token_id = text.pad_id  # whoever loads the exported folder finds the last token by it
    return module


def trained(module: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that updates change, by name: adapters where it has them. All of a module that is not trained."""
    named = dict(module.named_parameters())
    return {name: parameter for name, parameter in named.items() if parameter.requires_grad} or named


def compute_in_half(module: Any, device: str) -> None:
    """Run the body and the head in bfloat16 over float32 weights, whoever calls them."""
    for part in filter(None, (module.base_model, module.get_output_embeddings(), getattr(module, SCORE, None))):
        part.forward = torch.autocast(device, dtype=torch.bfloat16)(part.forward)


def checkpoint_gradients(module: Any) -> None:
    """Compute activations again in the backward passes of a `recomputing` block. The library does so in training mode
    only, so dropout is set to nought whatever the mode."""
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if isinstance(getattr(part, "attention_dropout", None), float):
            part.attention_dropout = 0.0


@contextlib.contextmanager
def recomputing(module: Any) -> Iterator[None]:
    """While an update is computed: elsewhere the library would keep no cache to sample with."""
    trim_heap()
    module.train(module.is_gradient_checkpointing)
    try:
        yield
    finally:
        module.eval()


def save_model(module: Any, folder: Path, *, weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write config, generation config and safetensors (`weights` in place of the module's own, where its parameters
    lie elsewhere). Raises OSError when the disk does not take them."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with no_progress_bars():
            module.save_pretrained(folder, state_dict=weights)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def as_exported(module: Any, name: str, weight: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """One of the module's weights under its name, or names, in an exported folder: the library computes with some
    (experts) in another shape than it writes."""
    yield from revert_weight_conversion(module, {name: weight}).items()


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files and chat templates byte for byte."""
    for pattern in _TOKENIZER_FILES:
        for file in sorted(path for path in source.glob(pattern) if path.is_file()):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
