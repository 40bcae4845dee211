"""The processes that train together: started by DeepSpeed's launcher, or this one alone."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")
OUTDATED = ("all_gather_into_tensor", "reduce_scatter_tensor")
"""Functions of torch.distributed that DeepSpeed calls by their older names, at each step."""
PATIENCE = timedelta(hours=2)
"""How long a rank waits for another: one may have the long answers of a batch to sample. The watchdog of a stage is
the one who tells a stall earlier."""


class Ranks:
    """A policy's world over torch.distributed."""

    def __init__(self, device: str) -> None:
        join(device)
        self.rank = rank()
        self.size = ranks()

    def gather(self, mine: T) -> list[T]:
        """What every rank has, in order of rank. It is pickled: ranks are processes of one program and one user."""
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, mine, group=_talk())
        return found

    def first(self, mine: T) -> T:
        """What rank 0 has."""
        told: list[Any] = [mine if self.rank == 0 else None]
        distributed.broadcast_object_list(told, src=0, group=_talk(), device=torch.device("cpu"))
        found: T = told[0]
        return found

    def any(self, mine: bool) -> bool:
        """Whether it is so on some rank."""
        return any(self.gather(mine))


def started() -> bool:
    """Whether a launcher started this process as one of several ranks, or as the only one."""
    return "RANK" in os.environ


def join(device: str) -> Any:
    """Import DeepSpeed for this device ("cpu" or "cuda") and meet the other ranks; returns the library.

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

    if not distributed.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        if not started():  # no network, and nothing in the environment that a child could take for its own
            os.environ.setdefault("LOCAL_RANK", "0")  # which DeepSpeed insists on, and which alone means nothing
            distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
        elif device == "cuda":
            torch.cuda.set_device(local_rank())
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of what it has compiled
            deepspeed.init_distributed(dist_backend=backend, timeout=PATIENCE, verbose=False, auto_mpi_discovery=False)
        atexit.register(_leave)
        if device == "cpu" and started():
            distributed.barrier()  # all of them have opened what they share
            shared_memory(rank()).unlink(missing_ok=True)
    return deepspeed


def shared_memory(rank: int) -> Path:
    """Through which DeepSpeed's ranks on the CPU of one machine sum, 66 MiB each. It never takes the name away: what
    ends leaves the memory in use, and who gets the same port later begins with what it left."""
    where = f"{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}"
    return Path("/dev/shm") / f"deepspeed_allreduce_buffer_{where}_{rank}"


def _leave() -> None:
    """Before the interpreter takes everything down in any order: a thread of a group that still runs then aborts the
    process, now and then, and a stage that was done would look broken."""
    if distributed.is_initialized():
        _group.clear()
        distributed.destroy_process_group()


def device_of(wanted: str) -> str:
    """The device that `auto` stands for."""
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While DeepSpeed imports what it needs: it uses parts of torch that are on their way out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def rank() -> int:
    """This process's number among the ranks."""
    return distributed.get_rank()


def local_rank() -> int:
    """Its number on this machine, which is that of its GPU."""
    return int(os.environ["LOCAL_RANK"])


def ranks() -> int:
    """How many there are."""
    return distributed.get_world_size()


def summed(values: list[float], device: torch.device) -> list[float]:
    """Each value summed over the ranks."""
    return _reduced(values, device, distributed.ReduceOp.SUM)


def largest(value: float, device: torch.device) -> float:
    """The largest of the ranks' values."""
    return _reduced([value], device, distributed.ReduceOp.MAX)[0]


def _reduced(values: list[float], device: torch.device, how: Any) -> list[float]:
    if ranks() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, op=how)
    found: list[float] = tensor.tolist()
    return found


_group: list[Any] = []


def _talk() -> Any:
    """The group in which ranks tell each other objects: through the CPU's memory, whatever trains beside it."""
    if not _group:
        gloo = distributed.get_backend() == "gloo"
        _group.append(distributed.group.WORLD if gloo else distributed.new_group(backend="gloo", timeout=PATIENCE))
    return _group[0]
