"""What is to be exported: a stage's model in a run, a model folder, or an adapter beside the model that it changes.

Everything here is read from JSON files; no weight is opened. A stage's model is held against the hashes that its stage
wrote when it finished, so that half a folder, or one that somebody edited, is found out before it is published.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError, RefusedError
from r1core.model_names import find_model
from r1core.store import RunDirectory

ADAPTER, CONFIG = "adapter_config.json", "config.json"
RESOLVED = "recipe.resolved.yaml"
SCORES = "ForSequenceClassification"
EXPECTED = "give a Hugging Face folder, a stage's folder in a run, or the folder of a LoRA adapter"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model as it lies on the disk."""

    folder: Path
    """The folder with the weights; of an adapter, the one that it is merged into."""
    adapter: Path | None = None
    run: Path | None = None
    """The run that made it, where it lies in one."""
    stage: str = ""
    base_name: str = ""
    """What the adapter says that it was trained on."""

    @property
    def text(self) -> Path:
        """The folder whose tokenizer counts: the adapter's own, where it brought one."""
        own = self.adapter is not None and any(self.adapter.glob("tokenizer*.json"))
        return self.adapter if own and self.adapter is not None else self.folder

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises RecipeError where it cannot be read."""
        return read_object(self.folder / CONFIG)

    @property
    def scores(self) -> bool:
        """Whether it gives answers a score, and writes none."""
        return any(str(name).endswith(SCORES) for name in self.config.get("architectures") or ())

    @property
    def name(self) -> str:
        """What people call it: the stage, or the folder."""
        place = self.adapter or self.folder
        return self.stage or (place.parent.name if place.name == "model" else place.resolve().name)


def find_source(model: Path, base: Path | None) -> Source:
    """Raises RecipeError (exit 2) where there is no whole model, RefusedError (4) where it is not what was sealed."""
    for folder in (model, model / "model"):
        if (folder / ADAPTER).is_file():
            return _adapter(folder, base)
    if base is not None:
        raise RecipeError("--base goes with an adapter, and this is none", where=str(model), fix="leave --base out")
    folder = find_model(str(model), command="export")
    stage = folder.parent
    run = stage.parent.parent
    if folder.name != "model" or stage.parent.name != "stages" or not (run / RESOLVED).is_file():
        return Source(folder=folder)
    _require_sealed(run, stage.name)
    return Source(folder=folder, run=run, stage=stage.name)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RecipeError where the file is missing or holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot be read: {error}", where=str(path), fix=EXPECTED) from error
    if not isinstance(found, dict):
        raise RecipeError("holds no JSON object", where=str(path), fix=EXPECTED)
    return found


def _adapter(folder: Path, base: Path | None) -> Source:
    weights = sorted(path.name for path in folder.glob("adapter_model.*"))
    if "adapter_model.safetensors" not in weights:
        found = f" ({', '.join(weights)} is a pickle, which can run code)" if weights else ""
        raise RecipeError(
            f"the adapter has no adapter_model.safetensors{found}", where=str(folder), fix="save it again"
        )
    named = str(read_object(folder / ADAPTER).get("base_model_name_or_path") or "")
    whole = any(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_model"))
    beside = folder if whole and (folder / CONFIG).is_file() else None
    chosen = base or beside or (Path(named) if named and (Path(named) / CONFIG).is_file() else None)
    if chosen is None:
        said = f"it was trained on {named!r}" if named else "it does not say what it was trained on"
        fix = "give the folder of that model: --base FOLDER"
        raise RecipeError(f"the adapter needs its model, and {said}, no folder here", where=str(folder), fix=fix)
    return Source(folder=find_model(str(chosen), command="export"), adapter=folder, base_name=named)


def _require_sealed(run: Path, stage: str) -> None:
    record = RunDirectory(run).stage(stage).record()
    if record is None or record.status != "finished":
        said = "has no stage.json" if record is None else "is not finished"
        fix = f"finish it: r1 recipe {run / RESOLVED} --run-dir {run} --until {stage}"
        raise RecipeError(f"stage {stage!r} {said}: its model may be half a model", where=str(run), fix=fix)
    folder = run / "stages" / stage
    broken = [
        name for name, mark in record.files.items() if name.startswith("model/") and not mark.holds(folder / name)
    ]
    if broken:
        raise RefusedError(
            f"{', '.join(broken)}: not what the stage wrote (size or sha256 differ)",
            where=str(folder),
            fix=f"make the stage again: r1 recipe {run / RESOLVED} --run-dir {run} --from {stage}",
        )
