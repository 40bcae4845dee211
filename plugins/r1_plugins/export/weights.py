"""The weights of a folder written anew, one shard in memory at a time: as they are, or in another format.

A plain model is never built for this. Its tensors are read from their safetensors one by one, cast where they are
floating-point numbers and asked to be, and written in shards of at most `shard_bytes` each with the index beside them,
under the names that every engine knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from r1core.errors import RecipeError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
"""What safetensors calls a format -> what torch and config.json call it."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
METADATA = {"format": "pt"}


def where_weights_are(folder: Path) -> dict[str, Path]:
    """Each tensor's file, in the order of the files. Raises RecipeError for a folder with a file missing or cut off."""
    files = sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_model"))
    promised: dict[str, str] = {}
    if (folder / INDEX).is_file():
        try:
            promised = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        except (ValueError, KeyError, TypeError) as error:
            raise _half(folder, f"{INDEX} is damaged: {error}") from error
        missing = sorted({name for name in promised.values() if not (folder / name).is_file()})
        if missing:
            raise _half(folder, f"{', '.join(missing[:3])} missing, of {len(set(promised.values()))} files of weights")
        files = sorted({folder / name for name in promised.values()})
    if not files:
        raise _half(folder, "no *.safetensors")
    found: dict[str, Path] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                found |= dict.fromkeys(opened.keys(), file)
        except (SafetensorError, OSError) as error:
            raise _half(folder, f"{file.name} cannot be read: {error}") from error
    lost = sorted(promised.keys() - found.keys())
    if lost:
        raise _half(folder, f"{lost[0]} and {len(lost) - 1} others are in no file")
    return found


def _half(folder: Path, said: str) -> RecipeError:
    return RecipeError(
        f"the model is not whole: {said}", where=str(folder), fix="copy it again, or finish what writes it"
    )


def sizes_of(where: Mapping[str, Path], dtype: str | None) -> dict[str, int]:
    """The bytes that each tensor will take."""
    return {name: _elements(piece) * BYTES.get(_written(piece, dtype), 1) for name, piece in _pieces(where)}


def format_of(where: Mapping[str, Path]) -> str:
    """The format of most of the weights, as torch calls it; other formats under their own name."""
    counted: dict[str, int] = {}
    for _, piece in _pieces(where):
        kind = str(piece.get_dtype())
        counted[kind] = counted.get(kind, 0) + _elements(piece)
    most = max(counted, key=lambda kind: counted[kind], default="F32")
    return NAMES.get(most, most)


def write_weights(
    where: Mapping[str, Path], folder: Path, *, dtype: str | None, shard_bytes: int, merged: Any = None
) -> None:
    """Write shards and index into `folder`. `merged` has tensors by name that take the place of those in the files.
    Raises OSError when the disk does not take them."""
    shards = _split(sizes_of(where, dtype), shard_bytes)
    names = [SINGLE] if len(shards) == 1 else [_shard_name(i, len(shards)) for i in range(len(shards))]
    total = 0
    for name, keys in zip(names, shards, strict=True):
        tensors = {key: _cast(_read(where, key, merged), dtype) for key in keys}
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        try:
            save_file(tensors, folder / name, metadata=METADATA)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        (folder / name).chmod((folder / name).parent.stat().st_mode & 0o666)  # the library lets the owner alone read
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": total},
            "weight_map": {key: name for name, keys in zip(names, shards, strict=True) for key in keys},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shard_name(place: int, count: int) -> str:
    return f"model-{place + 1:05d}-of-{count:05d}.safetensors"


def _split(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Neighbours of at most so many bytes together; a larger one goes alone."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > most:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _pieces(where: Mapping[str, Path]) -> Iterator[tuple[str, Any]]:
    """(name, what is known of the tensor without reading it)."""
    for file in dict.fromkeys(where.values()):
        with safe_open(file, framework="pt") as opened:
            yield from ((name, opened.get_slice(name)) for name in opened.keys() if where[name] == file)  # noqa: SIM118


def _elements(piece: Any) -> int:
    count = 1
    for size in piece.get_shape():
        count *= int(size)
    return count


def _written(piece: Any, dtype: str | None) -> str:
    kind = str(piece.get_dtype())
    own = NAMES.get(kind, kind)
    return dtype if dtype is not None and own in BYTES else own


def _read(where: Mapping[str, Path], name: str, merged: Any) -> torch.Tensor:
    if merged is not None and name in merged:
        return merged[name]  # type: ignore[no-any-return]
    with safe_open(where[name], framework="pt") as opened:
        return opened.get_tensor(name)  # type: ignore[no-any-return]


def _cast(tensor: torch.Tensor, dtype: str | None) -> torch.Tensor:
    cast = tensor.to(DTYPES[dtype]) if dtype is not None and tensor.is_floating_point() else tensor
    return cast.contiguous()


def parameters_of(where: Mapping[str, Path]) -> int:
    """How many numbers there are."""
    return sum(_elements(piece) for _, piece in _pieces(where))
