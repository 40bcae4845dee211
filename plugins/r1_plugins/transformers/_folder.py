"""Model folders: made from nothing, loaded, and written. Only safetensors; pickles are refused unread."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, GenerationConfig
from transformers.utils import logging

from r1core.components import Head
from r1core.errors import RecipeError, SetupError
from r1core.nn import ChatText, load_tokenizer
from r1core.nn.tokens import SCORE

if TYPE_CHECKING:
    from r1_plugins.transformers import TransformersPolicy

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


def create(folder: Path, architecture: Mapping[str, Any], *, seed: int) -> None:
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
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    module.generation_config = GenerationConfig(**special)
    save(module, folder)


def _config(keys: dict[str, Any]) -> Any:
    kind = keys.pop("model_type", None)
    try:
        return AutoConfig.for_model(kind, **keys)
    except ValueError as error:
        raise RecipeError(
            f"model_type {kind!r} cannot be built: {error}", where="architecture", fix="for example `model_type: qwen2`"
        ) from error


def load(folder: Path, config: TransformersPolicy.Config, *, trainable: bool, head: Head = "lm", text: ChatText) -> Any:
    """The model on its device, in eval mode (no dropout), with all its end tokens in its generation config."""
    _require_safetensors(folder)
    half = config.dtype == "bfloat16"
    dtype = torch.bfloat16 if half and not trainable else torch.float32
    module, missing = _loaded(folder, head, dtype)
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise SetupError(f"weights are missing ({names}, ...)", where=str(folder), fix="export the model again")
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    module.to(device).eval().requires_grad_(trainable)
    if head == "lm":
        module.generation_config.eos_token_id = list(text.end_ids)
    else:
        module.config.pad_token_id = text.pad_id  # whoever loads the exported folder finds the last token by it
    if half and trainable:
        _autocast(module, device)
    return module


def _loaded(folder: Path, head: Head, dtype: torch.dtype) -> tuple[Any, set[str]]:
    """The model, and the names of weights that the folder should have and does not."""
    kind: Any = AutoModelForCausalLM if head == "lm" else AutoModelForSequenceClassification
    one_score = {} if head == "lm" else {"num_labels": 1}
    with _no_progress_bars(), _quiet():
        module, info = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            dtype=dtype,
            output_loading_info=True,
            **one_score,
        )
    missing = set(info["missing_keys"])
    fresh = {f"{SCORE}.weight"} & missing if head == "score" else set()
    for name in fresh:
        torch.nn.init.zeros_(module.get_parameter(name))  # the same in every process, and no opinion to begin with
    return module, missing - fresh


def _autocast(module: Any, device: str) -> None:
    """Run the body and the head in bfloat16 over float32 weights, whoever calls them."""
    for part in filter(None, (module.base_model, module.get_output_embeddings(), getattr(module, SCORE, None))):
        part.forward = torch.autocast(device, dtype=torch.bfloat16)(part.forward)


def _require_safetensors(folder: Path) -> None:
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


def save(module: Any, folder: Path) -> None:
    """Write config, generation config and safetensors. Raises OSError when the disk does not take them."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _no_progress_bars():
            module.save_pretrained(folder)
    except SafetensorError as error:
        raise OSError(str(error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's advice to train what it has just initialised."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files and chat templates byte for byte."""
    for pattern in _TOKENIZER_FILES:
        for file in sorted(path for path in source.glob(pattern) if path.is_file()):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
