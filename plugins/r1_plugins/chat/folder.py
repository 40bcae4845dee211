"""Finds the Hugging Face folder that a person means: the folder itself, or a stage's `model/` in a run."""

from __future__ import annotations

from pathlib import Path

from r1core.errors import RecipeError


def model_folder(given: Path) -> Path:
    """The folder with `config.json`. Raises RecipeError (exit 2) with the models that are there."""
    for folder in (given, given / "model"):
        if (folder / "config.json").is_file():
            return folder
    if not given.is_dir():
        raise RecipeError(f"there is no folder {given}", where="MODEL", fix=_EXPECTED)
    models = sorted(config.parent for config in given.glob("stages/*/model/config.json"))
    if models:
        listed = "\n  ".join(f"r1 chat {model}" for model in models)
        raise RecipeError(f"{given} is a run with {len(models)} models", where="MODEL", fix=f"choose one:\n  {listed}")
    raise RecipeError(f"{given} holds no model: no config.json", where="MODEL", fix=_EXPECTED)


_EXPECTED = (
    "give a Hugging Face folder (config.json, *.safetensors, tokenizer files), such as runs/<name>/stages/<stage>/model"
)
