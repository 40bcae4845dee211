"""What vLLM would change in the process that it is imported and started in, and that is not its own here.

It takes a process to be a server's: it seeds every random generator, replaces `torch.set_num_threads`, freezes the
heap, sets variables that later children would inherit, and sends usage statistics. All of this is put back, or told
not to be.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

SET = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, where the weights are
    "VLLM_NO_USAGE_STATS": "1",
}
ALARMS = "vllm.model_executor.model_loader.reload.layerwise"
"""Warns at every reload of layers without weights of their own: tied heads, tables of angles."""
CHILDREN = ("LD_PRELOAD", "LOCAL_WORLD_SIZE")
"""Meant for workers of its own, and taken over by any child."""


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """While vLLM is imported and started."""
    before = {name: os.environ.get(name) for name in (*SET, *CHILDREN)}
    frozen = gc.get_freeze_count()
    set_threads, threads = torch.set_num_threads, torch.get_num_threads()
    os.environ.update(SET)
    logging.getLogger(ALARMS).setLevel(logging.ERROR)
    try:
        with _generators(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses parts of torch that are on their way out
            yield
    finally:
        if not frozen:
            gc.unfreeze()  # an engine that is gone could not be collected
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _generators() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else ()):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def join(ranks: int) -> dict[str, Any]:
    """How an engine finds its place among the processes: none but this, or as many as train together, each with an
    engine of its own. A process that is alone gets a group here, which needs no network and leaves no file."""
    if ranks > 1:
        return {"distributed_executor_backend": "external_launcher"}
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        alone: Any = torch.distributed
        alone.init_process_group(backend, store=alone.HashStore(), rank=0, world_size=1)
    return {"distributed_executor_backend": "uni"}
