"""Models that lie on this disk: the shape by `config.json`, the weights counted from the headers of safetensors files.

Headers are JSON before the numbers, so nothing of the weights is read. A hub id is found where the hub's own library
keeps what it has downloaded; nothing is asked over the network.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from r1core.estimates.shapes import ModelShape, Unknown, shape_of

LARGEST_HEADER = 100 * 2**20
"""As the format allows, bytes."""
POSITIONS = ("max_position_embeddings", "n_positions")
"""What configs call the tokens of a sequence at most; GPT-2's is the second."""


def shape_of_name(name: str) -> ModelShape | Unknown:
    """The model in a folder, or of a hub id that has been downloaded."""
    folder = Path(name) if Path(name).is_dir() else _downloaded(name)
    return shape_in(folder) if folder is not None else Unknown(f"{name} is not on this disk: unknown until downloaded")


def shape_in(folder: Path) -> ModelShape | Unknown:
    """The shape of a folder's model, its weights counted."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Unknown(f"its config.json cannot be read: {error}")
    shape = shape_of(config if isinstance(config, dict) else {})
    sizes = dict(_tensors(folder)) if isinstance(shape, ModelShape) else {}
    if isinstance(shape, Unknown) or not sizes:
        return shape
    norms = sum(_norm_width(name, size, shape) for name, size in sizes.items() if ".layers." in name)
    return replace(shape, counted=sum(math.prod(size) for size in sizes.values()), norms=norms or None)


def positions_in(folder: Path) -> int | None:
    """Tokens of a sequence at most, as the folder's config has it; None where it does not say."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    own = config.get("text_config") or config if isinstance(config, dict) else {}
    found = next((own[key] for key in POSITIONS if own.get(key)), None)
    return found if isinstance(found, int) else None


def _norm_width(name: str, size: list[int], shape: ModelShape) -> int:
    """How wide what a normalisation works on is: a head's own is done for every head."""
    if "norm" not in name or len(size) != 1 or name.endswith(".bias"):
        return 0
    own = {"q_norm": shape.queries, "k_norm": shape.keys}
    return next((width for part, width in own.items() if f".{part}." in name), size[0])


def _tensors(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Name and size of each tensor; none at all where a file is broken, since half a count misleads."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        header = _header(file)
        if header is None:
            return
        found |= {name: told["shape"] for name, told in header.items() if name != "__metadata__"}
    yield from found.items()


def _header(file: Path) -> dict[str, Any] | None:
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(size)) if size <= LARGEST_HEADER else None
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) else None


def _downloaded(name: str) -> Path | None:
    """Where the hub's library has put the model's main revision."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    place = hub / f"models--{name.replace('/', '--')}"
    try:
        return place / "snapshots" / (place / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
