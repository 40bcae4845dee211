"""How weights travel, a bucket at a time, so that the memory for it is bounded.

`prepare` runs where the policy's weights are gone through, and copies what it keeps: the next may overwrite them.
`send` runs once for each server. Files stay in the folder until the next sync, for a server that comes back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from r1_plugins.vllm_server.servers import WHERE, Line
from r1core.errors import SetupError

if TYPE_CHECKING:
    import torch

Bucket: TypeAlias = "list[tuple[str, torch.Tensor]]"
MIB = 2**20
VERSION = "version"
"""The key of a file's metadata that names the weights it belongs to; worker.py reads it."""


class Transfer(Protocol):
    """A way."""

    async def open(self, line: Line) -> None:
        """Meet a server that this process has not met, or that was started again."""
        ...

    def prepare(self, bucket: Bucket, *, version: str) -> Any:
        """A parcel of copies, for all servers."""
        ...

    async def send(self, line: Line, parcel: Any) -> None:
        """Give it to a server, until that has it. Raises EndpointError."""
        ...


def buckets(weights: Iterable[tuple[str, torch.Tensor]], most_bytes: int) -> Iterator[Bucket]:
    """Copies of the weights, in order, `most_bytes` at a time; a larger one goes alone."""
    bucket: Bucket = []
    held_bytes = 0
    for name, tensor in weights:
        if bucket and held_bytes + tensor.nbytes > most_bytes:
            yield bucket
            bucket, held_bytes = [], 0
        bucket.append((name, tensor.detach().clone().contiguous()))
        held_bytes += tensor.nbytes
    if bucket:
        yield bucket


class Files:
    """Safetensors in a folder, each written beside its place and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.sent: list[dict[str, str]] = []
        """The present weights, for servers that come back."""
        self._written: dict[Path, int] = {}
        """The files, and when each was written: another may have taken its place."""
        Finalize(self, _remove, args=(self._written, os.getpid()), exitpriority=0)  # also where a stage's process ends

    def begin(self) -> None:
        """New weights are to come, in the place of the old ones."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        self.sent = []

    async def open(self, line: Line) -> None:
        """Files need no connection."""

    def prepare(self, bucket: Bucket, *, version: str) -> dict[str, str]:
        """Write them."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self._folder / f"weights-{len(self.sent):05}.safetensors"
        beside = path.with_suffix(".partial")
        try:
            save_file({name: tensor.cpu() for name, tensor in bucket}, beside, metadata={VERSION: version})
            self._written[path] = beside.stat().st_mtime_ns
            beside.replace(path)
        except (OSError, SafetensorError) as error:
            beside.unlink(missing_ok=True)
            raise self._refused(error) from error
        self.sent.append({"path": str(path), VERSION: version})
        return self.sent[-1]

    async def send(self, line: Line, parcel: dict[str, str]) -> None:
        """Have the server read them."""
        await line.control.post("/update_weights", {"update_info": parcel})

    def _refused(self, error: Exception) -> SetupError:
        return SetupError(
            f"weights cannot be written: {error}",
            where=f"{WHERE}: folder {self._folder}",
            fix="name a folder with room for the model's weights; the same command goes on",
        )


def _remove(written: dict[Path, int], owner: int) -> None:
    if os.getpid() != owner:  # a child that was forked has a copy of it all
        return
    for path, mtime_ns in written.items():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime_ns == mtime_ns:
                path.unlink()
