"""Arrays as safetensors: eight bytes for the length of a JSON header, the header, the numbers.

By hand, because the library is not part of a light install. Only float64, all that `echo` has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from r1core.errors import SetupError
from r1core.types import Floats


def write_arrays(path: Path, arrays: Mapping[str, Floats]) -> None:
    """Write the arrays, in the order of their names. Raises OSError when the disk does not take them."""
    header, data = {}, b""
    for name in sorted(arrays):
        raw = np.ascontiguousarray(arrays[name], dtype="<f8").tobytes()
        shape = list(arrays[name].shape)
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def read_arrays(path: Path) -> dict[str, Floats]:
    """The arrays of a file that `write_arrays` wrote. Raises SetupError where it is none."""
    try:
        content = path.read_bytes()
        begin = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:begin])
        return {name: _array(content[begin:], entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"no model of policy echo: {error}", where=str(path), fix="give it a model that policy echo made"
        ) from error


def _array(data: bytes, entry: Mapping[str, list[int]]) -> Floats:
    if entry["dtype"] != "F64":
        raise ValueError(f"its numbers are {entry['dtype']}, those of echo F64")
    first, last = entry["data_offsets"]
    return np.frombuffer(data[first:last], dtype="<f8").reshape(entry["shape"]).astype(np.float64)
