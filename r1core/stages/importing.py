"""`import`: a Hugging Face folder, or a hub id, becomes this stage's model artifact, byte for byte.

A hub id is downloaded by huggingface_hub (safetensors, tokenizer and JSON files only: nothing that is
a pickle or code is ever fetched); a folder is copied.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from r1core.errors import SetupError
from r1core.stages.base import Job

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")


def run(job: Job) -> dict[str, float]:
    """Fill `model/` with the files of the model that the stage names."""
    name = job.stage.stage.import_
    assert name is not None, "an import stage names a model"
    job.started(None)
    with job.artifact("model") as target:
        copied = _fetch(name, target, stage=job.stage.id)
        if not any(target.glob("*.safetensors")):
            raise SetupError(
                f"{name} holds no .safetensors weights",
                where=f"stages.{job.stage.id}.import",
                fix="convert it first: pickled weights (.bin, .pt) are never loaded",
            )
    return {"files": float(copied)}


def _fetch(name: str, target: Path, *, stage: str) -> int:
    source = Path(name)
    if source.is_dir():
        return _copy(source, target)
    if source.is_absolute() or name.startswith("."):
        raise SetupError(f"there is no folder {name}", where=f"stages.{stage}.import", fix="check the path")
    return _download(name, target, stage=stage)


def _copy(source: Path, target: Path) -> int:
    files = sorted({path for pattern in WANTED for path in source.glob(pattern)})
    for path in files:
        shutil.copyfile(path, target / path.name)
    return len(files)


def _download(name: str, target: Path, *, stage: str) -> int:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        snapshot = snapshot_download(name, allow_patterns=list(WANTED))
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise SetupError(
            f"cannot fetch {name!r} from the hub: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=f"stages.{stage}.import",
            fix="check the id and the network, or give the path of a local folder",
        ) from error
    return _copy(Path(snapshot), target)
