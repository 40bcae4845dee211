"""The training state on disk: weights in full precision and AdamW's moments, as safetensors, bit for bit.

`optimizer.safetensors` has `<parameter>/exp_avg`, `<parameter>/exp_avg_sq` and `<parameter>/step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from r1core.errors import SetupError
from r1core.nn import trained

if TYPE_CHECKING:
    from r1_plugins.transformers._engine import Engine

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"


def save(engine: Engine, folder: Path) -> None:
    """Write the state. Raises OSError when the disk does not take it."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(_weights(engine), folder / WEIGHTS)
    if engine.optimizer is not None:
        state = engine.optimizer.state
        moments = {
            f"{name}/{key}": value
            for name, parameter in trained(engine.module).items()
            for key, value in state.get(parameter, {}).items()
        }
        _write(moments, folder / OPTIMIZER)


@torch.no_grad()
def restore(engine: Engine, folder: Path) -> None:
    """Put saved values into the engine's own tensors."""
    saved, own = load_file(folder / WEIGHTS, device=str(engine.module.device)), _weights(engine)
    if saved.keys() != own.keys():
        odd = ", ".join(sorted(saved.keys() ^ own.keys())[:3])
        raise SetupError(f"the saved weights are another model's ({odd}, ...)", where=str(folder), fix="start over")
    for name, value in saved.items():
        own[name].copy_(value)
    engine.optimizer = _optimizer(engine, folder / OPTIMIZER)


def _weights(engine: Engine) -> dict[str, torch.Tensor]:
    """Every trained parameter once (tied ones share a tensor), and the buffers that a model folder holds."""
    kept = engine.module.state_dict().keys()
    buffers = {name: buffer for name, buffer in engine.module.named_buffers() if name in kept}
    return {**trained(engine.module), **buffers}


def _optimizer(engine: Engine, file: Path) -> torch.optim.Optimizer | None:
    if not file.exists():
        return None
    optimizer = engine.new_optimizer()
    parameters = trained(engine.module)
    for name, value in load_file(file, device=str(engine.module.device)).items():
        owner, _, key = name.rpartition("/")
        optimizer.state[parameters[owner]][key] = value.clone()  # memory of its own, aligned as torch aligns it
    return optimizer


def _write(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
