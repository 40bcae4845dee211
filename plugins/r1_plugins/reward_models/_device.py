"""Where a reward model runs, and what to say when it cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from r1core.errors import SetupError


def device_of(name: str) -> torch.device:
    """`auto` takes a GPU if there is one."""
    return torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[None]:
    """Raises SetupError where the model fails: it is no answer's fault."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(
            f"the reward model cannot be run: {type(error).__name__}: {reason}",
            where=str(folder),
            fix="where memory is short, lower the reward's micro_batch_tokens",
        ) from error
