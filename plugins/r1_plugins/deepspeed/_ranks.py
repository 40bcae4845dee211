"""The processes that train together: started by DeepSpeed's launcher, or this one alone."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

OUTDATED = ("all_gather_into_tensor", "reduce_scatter_tensor")
"""Functions of torch.distributed that DeepSpeed calls by their older names, at each step."""
MOST_BYTES = 4096
"""Of words that ranks tell each other."""


def join(device: str) -> Any:
    """Import DeepSpeed for this device and meet the other ranks; returns the library.

    Without a launcher's variables this process is the only rank. DeepSpeed takes its device from the environment and
    reads it once, at import.
    """
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with quiet():
        import deepspeed
    for name in OUTDATED:
        warnings.filterwarnings("ignore", message=f".*{name}", category=FutureWarning)

    if not torch.distributed.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        if "RANK" not in os.environ:  # no network, and nothing in the environment that a child could take for its own
            os.environ.setdefault("LOCAL_RANK", "0")  # which DeepSpeed insists on, and which alone means nothing
            alone = torch.distributed.HashStore()
            torch.distributed.init_process_group(backend, store=alone, rank=0, world_size=1)
        deepspeed.init_distributed(dist_backend=backend, verbose=False, auto_mpi_discovery=False)
    return deepspeed


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While DeepSpeed imports what it needs: it uses parts of torch that are on their way out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def rank() -> int:
    """This process's number among the ranks."""
    return torch.distributed.get_rank()


def local_rank() -> int:
    """Its number on this machine, which is that of its GPU."""
    return int(os.environ["LOCAL_RANK"])


def ranks() -> int:
    """How many there are."""
    return torch.distributed.get_world_size()


def summed(values: list[float], device: torch.device) -> list[float]:
    """Each value summed over the ranks."""
    return _reduced(values, device, torch.distributed.ReduceOp.SUM)


def largest(value: float, device: torch.device) -> float:
    """The largest of the ranks' values."""
    return _reduced([value], device, torch.distributed.ReduceOp.MAX)[0]


def told(words: Sequence[str], device: torch.device) -> list[str]:
    """The words of those ranks that have any; they all have the same."""
    if ranks() == 1:
        return list(words)
    text = json.dumps(list(words)).encode() if words else b""
    tensor = torch.zeros(MOST_BYTES, dtype=torch.uint8, device=device)
    tensor[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else 0
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    found: list[str] = json.loads(bytes(tensor.tolist()).rstrip(b"\0") or b"[]")
    return found


def _reduced(values: list[float], device: torch.device, how: Any) -> list[float]:
    if ranks() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(tensor, op=how)
    found: list[float] = tensor.tolist()
    return found
