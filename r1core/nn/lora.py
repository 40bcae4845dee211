"""Low-rank adapters (LoRA, arXiv:2106.09685) by peft: W + alpha / rank * B A, where B and A alone are trained.

They are put into the module in place, so that it stays the Hugging Face model that it was and samples as it trains. A
model is exported with the product added to W, under W's own name: a plain folder, which any engine reads.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from r1core.errors import RecipeError, SetupError
from r1core.nn.loading import SCORE

ALL = "all-linear"
"""peft's word for every linear layer but the head."""
_ADAPTER = "default"
_BASE = "base_layer"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A weight under its name in the model without adapters, and what is added to it: scale * up @ down."""

    name: str
    weight: torch.nn.Parameter
    down: torch.nn.Parameter | None = None
    up: torch.nn.Parameter | None = None
    scale: float = 1.0
    turned: bool = False

    @property
    def parameters(self) -> tuple[torch.nn.Parameter, ...]:
        """The tensors that `merged` is given, in this order."""
        return tuple(parameter for parameter in (self.weight, self.down, self.up) if parameter is not None)

    @torch.no_grad()
    def merged(
        self, weight: torch.Tensor, down: torch.Tensor | None = None, up: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The weight to export: itself, or, with adapters, the sum in float32."""
        if down is None or up is None:
            return weight
        added = self.scale * (up.float() @ down.float())
        return weight.float() + (added.T if self.turned else added)


def add_adapters(module: Any, *, rank: int, alpha: float, targets: Sequence[str]) -> None:
    """Put adapters beside the linear layers whose names end in one of `targets` (none: all but the head), and train
    nothing else, but for a score head. The same in every process: B begins at nought, A from a seed of its own."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise SetupError(
            "adapters need peft, which is not installed", where="lora", fix="pip install 'r1core[train]'"
        ) from error
    settings: Any = LoraConfig
    config = settings(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=list(targets) or ALL, task_type=None
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the layers that keep their weight transposed, which it sees itself
        torch.manual_seed(0)
        try:
            inject_adapter_in_model(config, module, _ADAPTER)
        except ValueError as error:
            names = sorted({name.rpartition(".")[2] for name, part in module.named_modules() if _is_linear(part)})
            raise RecipeError(
                f"adapters cannot be put beside {', '.join(targets)}: {str(error).partition('.')[0]}",
                where="lora.targets",
                fix=f"this model's linear layers are {', '.join(names)}",
            ) from error
    for name, layer in _layers(module):
        if not _is_linear(layer.get_base_layer()):
            raise RecipeError(
                f"the adapters of {name} cannot be merged: it is no linear layer",
                where="lora.targets",
                fix="name linear layers alone",
            )
    head = getattr(module, SCORE, None)
    if head is not None:
        head.requires_grad_(True)


def parts(module: Any) -> Iterator[Part]:
    """Every weight once, in the module's order."""
    layers = dict(_layers(module))
    for name, parameter in module.named_parameters():
        owner, _, last = name.removesuffix(".weight").rpartition(".")
        if last == _BASE and owner in layers and name.endswith(".weight"):
            layer = layers[owner]
            yield Part(
                name=f"{owner}.weight",
                weight=parameter,
                down=layer.lora_A[_ADAPTER].weight,
                up=layer.lora_B[_ADAPTER].weight,
                scale=float(layer.scaling[_ADAPTER]),
                turned=bool(layer.fan_in_fan_out),
            )
        elif not any(f".{kind}.{_ADAPTER}." in name for kind in ("lora_A", "lora_B")):
            yield Part(name=name.replace(f".{_BASE}.", "."), weight=parameter)


def _layers(module: Any) -> Iterator[tuple[str, Any]]:
    """The layers with adapters, by what they have: peft itself is asked only where there are to be some."""
    return ((name, layer) for name, layer in module.named_modules() if hasattr(layer, "lora_A"))


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, torch.nn.Linear) or type(layer).__name__ == "Conv1D"
