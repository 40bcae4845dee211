"""The server's side of `transfer: files`: a backend of vLLM's weight transfer that reads safetensors from a folder.

    vllm serve MODEL --weight-transfer-config '{"backend": "r1_files"}' \\
        --worker-extension-cls r1_plugins.vllm_server.worker.Extension ..

vLLM loads the extension into each worker before it makes the backend, and so learns of it. Weights go through vLLM's
layer-wise reload: where a device computes with weights in a form of its own (a CPU has linear layers packed), those are
made again, which a plain load leaves as they were. Needs vLLM: only its servers import this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload
from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info

BACKEND = "r1_files"
VERSION = "version"
"""The key of a file's metadata that names the weights it belongs to."""
SHOWN = 3


@dataclass
class Nothing(WeightTransferInitInfo):
    """Files need no connection."""


@dataclass
class File(WeightTransferUpdateInfo):
    """A bucket: its path, and the weights it is part of."""

    path: str
    version: str


class FilesEngine(WeightTransferEngine[Nothing, File]):
    """Loads buckets, and refuses to go on with a part of the weights."""

    init_info_cls = Nothing
    update_info_cls = File

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lacking: set[str] = set()
        self._came = False
        self._tied: list[Any] = []
        self._quantised = self.vllm_config.quant_config is not None
        """Its parameters are others than those that come: there nothing is checked, or made again."""

    def init_transfer_engine(self, init_info: Nothing) -> None:
        """Nothing to open."""

    def start_weight_update(self) -> None:
        """All weights are to come."""
        self._lacking = {name for name, _ in self.model.named_parameters()}
        self._came = False
        self._tied = [] if self._quantised else list(_tied(self.model))
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: File) -> None:
        """Load one bucket."""
        with safe_open(update_info.path, framework="pt") as file:
            found = (file.metadata() or {}).get(VERSION)
            if found != update_info.version:
                raise ValueError(f"{update_info.path} holds the weights {found}, not {update_info.version}")
            self._came = True
            self._lacking -= self.model.load_weights(_tensors(file)) or set()

    def finish_weight_update(self) -> None:
        """Bring them into the form that is computed with. Raises ValueError when only a part of them came."""
        lacking = sorted({*self._lacking, *_partly_loaded(self.model)}) if self._came and not self._quantised else []
        finalize_layerwise_reload(self.model, self.model_config)
        for layer in self._tied:  # nothing came under their own name, so nothing was made again
            layer.quant_method.process_weights_after_loading(layer)
        self._lacking, self._came = set(), False
        if lacking:
            raise ValueError(f"weights did not come, or in part: {', '.join(lacking[:SHOWN])} ({len(lacking)} in all)")

    def shutdown(self) -> None:
        """Nothing to close."""


def _tensors(file: Any) -> Iterator[tuple[str, Any]]:
    for name in file.keys():  # noqa: SIM118 - a handle, not a mapping
        yield name, file.get_tensor(name)


def _partly_loaded(model: Any) -> Iterator[str]:
    """Layers that are made of several weights, of which some came. Vocabularies are padded: there it is no sign."""
    for name, layer in model.named_modules():
        info = get_layerwise_info(layer)
        came, total = info.load_numel or 0, info.load_numel_total or 0
        if 0 < came < total and not isinstance(layer, VocabParallelEmbedding):
            yield name


def _tied(model: Any) -> Iterator[Any]:
    """Layers that compute with the weight of an earlier one: an output layer tied to the embedding."""
    seen: set[int] = set()
    for layer in model.modules():
        weight = layer._parameters.get("weight")
        if weight is not None and id(weight) in seen and hasattr(layer, "quant_method"):
            yield layer
        seen.add(id(weight))


class Extension:
    """Adds nothing to a worker: importing it brings the backend."""


WeightTransferEngineFactory.register_engine(BACKEND, FilesEngine)
