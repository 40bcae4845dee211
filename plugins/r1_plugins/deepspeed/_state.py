"""The training state on disk: float32 weights and AdamW's moments, parameter by parameter, as safetensors.

A parameter is gathered, written by one rank (its number modulo the ranks), and forgotten, so memory stays bounded;
nothing of what is written tells how many ranks there were, or at which ZeRO stage.

    state-00000-of-00002.safetensors    <parameter>/weight, <parameter>/exp_avg, <parameter>/exp_avg_sq
    state.json                          {"files": 2, "step": 12}
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from r1core.errors import SetupError
from r1core.nn import Part, as_exported, parts, save_model, trained

if TYPE_CHECKING:
    from r1_plugins.deepspeed._engine import Engine

WEIGHT = "weight"
MOMENTS = ("exp_avg", "exp_avg_sq")
INDEX = "state.json"
MIB = 2**20


def save(engine: Engine, folder: Path) -> None:
    """Every rank writes its share. Raises OSError when the disk does not take it, after all that ranks do together."""
    ranks, rank = engine.world.size, engine.world.rank
    step = steps(engine)
    own: dict[str, torch.Tensor] = {}
    for number, (name, parameter) in enumerate(trained(engine.module).items()):
        for key in (WEIGHT, *MOMENTS) if step else (WEIGHT,):
            value = _gathered(engine, parameter, key)
            if number % ranks == rank:
                own[f"{name}/{key}"] = value
    folder.mkdir(parents=True, exist_ok=True)
    _write(own, folder / _file(rank, ranks))
    if rank == 0:
        (folder / INDEX).write_text(json.dumps({"files": ranks, "step": step}) + "\n", encoding="utf-8")


def restore(engine: Engine, folder: Path) -> None:
    """Put saved values back into every rank's part. Raises SetupError when they are another model's."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    files = [safe_open(folder / _file(number, index["files"]), framework="pt") for number in range(index["files"])]
    where = {key: file for file in files for key in file.keys()}  # noqa: SIM118 - a file is no mapping
    parameters = trained(engine.module)
    odd = sorted({key.rpartition("/")[0] for key in where} ^ parameters.keys())
    if odd:
        raise SetupError(f"the saved weights are another model's ({odd[0]}, ...)", where=str(folder), fix="start over")
    if index["step"]:
        _begin(engine, index["step"])
    with _partitioned(engine):
        for name, parameter in parameters.items():
            for key in (WEIGHT, *MOMENTS) if index["step"] else (WEIGHT,):
                _put(engine, parameter, key, where[f"{name}/{key}"].get_tensor(f"{name}/{key}").to(engine.device))


def export(engine: Engine, folder: Path) -> bool:
    """Rank 0 writes the model in float32; whether this is the one."""
    is_first = engine.world.rank == 0
    weights: dict[str, torch.Tensor] = {}
    for part in parts(engine.module):
        values = [_gathered(engine, parameter, WEIGHT) for parameter in part.parameters]
        if is_first:
            weights[part.name] = part.merged(*values)
    if is_first:
        save_model(engine.module, folder, weights=weights)
    return is_first


def weights(engine: Engine) -> Iterator[tuple[str, torch.Tensor]]:
    """Each weight whole, as it is computed with; at stage 3 a bucket of them is gathered at a time."""
    from deepspeed.runtime.zero import GatheredParameters

    dtype = torch.bfloat16 if engine.config.dtype == "bfloat16" else torch.float32
    most = engine.config.bucket_mib * MIB if engine.engine is not None and engine.config.stage == 3 else 0
    for bucket in _buckets(parts(engine.module), most):
        with GatheredParameters([parameter for part in bucket for parameter in part.parameters], enabled=most > 0):
            for part in bucket:
                whole = part.merged(*(parameter.detach() for parameter in part.parameters))
                yield from as_exported(engine.module, part.name, whole.to(dtype))


def _buckets(found: Iterable[Part], most_bytes: int) -> Iterator[list[Part]]:
    """Neighbours of at most so many bytes together; a larger one goes alone."""
    bucket: list[Part] = []
    size = 0
    for part in found:
        own = sum(getattr(each, "ds_numel", each.numel()) * each.element_size() for each in part.parameters)
        if bucket and size + own > most_bytes:
            yield bucket
            bucket, size = [], 0
        bucket.append(part)
        size += own
    yield bucket


# --- one parameter -------------------------------------------------------------------------------


def _gathered(engine: Engine, parameter: Any, key: str) -> torch.Tensor:
    """A parameter's weight or moment, whole, in float32, on the CPU. All ranks ask together."""
    import deepspeed.utils as tools
    from deepspeed.runtime.zero import GatheredParameters

    if _is_spread(engine) and not parameter.requires_grad:
        with GatheredParameters([parameter]):  # one that is not trained has no float32 copy; no-op below stage 3
            return parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
    if _is_spread(engine):
        found = (
            tools.safe_get_full_fp32_param(parameter)
            if key == WEIGHT
            else tools.safe_get_full_optimizer_state(parameter, key)
        )
    else:
        found = parameter if key == WEIGHT else engine.engine.optimizer.state[parameter][key]
    return found.detach().to("cpu", torch.float32, copy=True).contiguous()


def own(engine: Engine, parameter: Any, key: str) -> torch.Tensor | None:
    """This rank's part of a parameter's float32 weight or moment, where it lies; None where it has none."""
    import deepspeed.utils as tools

    if not _is_spread(engine):
        state = engine.engine.optimizer.state.get(parameter, {})
        return parameter if key == WEIGHT else state.get(key)
    if engine.config.stage == 3:
        outer = engine.engine.optimizer
        if outer.get_param_id(parameter) not in outer.grad_position:
            return None
        found: torch.Tensor = (
            tools.safe_get_local_fp32_param(parameter)
            if key == WEIGHT
            else tools.safe_get_local_optimizer_state(parameter, key)
        )
        return found
    part = getattr(parameter, "_hp_mapping", None)
    return None if part is None else part.get_hp_fragment(None if key == WEIGHT else key)


@torch.no_grad()
def _put(engine: Engine, parameter: Any, key: str, value: torch.Tensor) -> None:
    """The opposite; the copy that is computed with follows the weight."""
    import deepspeed.utils as tools

    if not _is_spread(engine):
        (parameter if key == WEIGHT else engine.engine.optimizer.state[parameter][key]).copy_(value)
    elif key != WEIGHT:
        tools.safe_set_full_optimizer_state(parameter, value, key)
    else:
        tools.safe_set_full_fp32_param(parameter, value)
        if not hasattr(parameter, "ds_id"):  # stage 3 keeps no whole copy
            parameter.data.copy_(value)


@contextlib.contextmanager
def _partitioned(engine: Engine) -> Iterator[None]:
    """At stage 3: while weights are put into the float32 parts, nobody holds whole ones; then all copies follow."""
    if engine.config.stage != 3:
        yield
        return
    outer = engine.engine.optimizer
    outer.checkpoint_event_prologue()
    yield
    for number in range(len(outer.fp16_groups)):
        outer._reassign_or_swap_out_partitioned_parameters(number)  # as DeepSpeed does after a step
    outer.checkpoint_event_epilogue()


# --- AdamW's own books ----------------------------------------------------------------------------


def _is_spread(engine: Engine) -> bool:
    """Whether ZeRO holds the training state, in flat parts; else it lies with the parameters."""
    return engine.engine is not None and engine.config.stage > 0


def _parts(engine: Engine) -> tuple[torch.optim.Optimizer, list[torch.Tensor]]:
    """AdamW, and what it updates on this rank."""
    outer = engine.engine.optimizer
    if not _is_spread(engine):
        return outer, list(trained(engine.module).values())
    flat = outer.fp32_partitioned_groups_flat if engine.config.stage == 3 else outer.single_partition_of_fp32_groups
    return outer.optimizer, list(flat)


def steps(engine: Engine) -> int:
    """How many steps AdamW has made."""
    if engine.engine is None:
        return 0
    optimizer, parts = _parts(engine)
    state = optimizer.state.get(parts[0], {})
    return int(state["step"]) if "step" in state else 0


def _begin(engine: Engine, step: int) -> None:
    """AdamW's state as after so many steps, its moments still nought."""
    optimizer, parts = _parts(engine)
    for part in parts:
        counted = torch.tensor(float(step), dtype=torch.float32, device=part.device)
        optimizer.state[part] = {"step": counted, **{key: torch.zeros_like(part) for key in MOMENTS}}
    if engine.config.stage in (1, 2):
        engine.engine.optimizer._lazy_init_hp_params_optimizer_state()  # as DeepSpeed does in its first step


# --- files -----------------------------------------------------------------------------------------


def _file(number: int, files: int) -> str:
    return f"state-{number:05d}-of-{files:05d}.safetensors"


def _write(tensors: dict[str, torch.Tensor], file: Path) -> None:
    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
