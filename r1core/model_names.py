"""How people name a model: a Hugging Face folder, a stage's folder of a run, a model of the hub, or an endpoint.

find_model("runs/deepseek-r1/stages/dev3", command="chat")   # .../dev3/model
find_model("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", command="chat")   # its folder in the hub's cache
is_endpoint("http://127.0.0.1:8000/v1")                      # True: there is no folder
"""

from __future__ import annotations

import re
from pathlib import Path

from r1core.errors import RecipeError, SetupError

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""What is fetched of a model of the hub: no pickles, no code."""
EXPECTED = (
    "give a Hugging Face folder (config.json, *.safetensors, tokenizer files), such as runs/<name>/stages/<stage>/model"
)


def is_endpoint(given: str) -> bool:
    """Whether it is the address of a server."""
    return given.lower().startswith(("http://", "https://"))


def is_hub_id(given: str) -> bool:
    """Whether it may be `owner/name` of the hub: nothing of that name lies here, and it is no other kind of path."""
    return HUB_ID.fullmatch(given) is not None and not Path(given).exists()


def find_model(given: str, *, command: str) -> Path:
    """The folder with `config.json`; a model of the hub is taken from the cache or fetched.

    `command` is what a person would type before one of a run's models. Raises RecipeError (exit 2) with what is there,
    SetupError (exit 3) where the hub does not answer.
    """
    if is_endpoint(given):
        raise RecipeError(f"{given} is an endpoint, r1 {command} needs a folder", where="MODEL", fix=EXPECTED)
    path = Path(given)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if is_hub_id(given):
        return _from_hub(given)
    if not path.is_dir():
        raise RecipeError(f"there is no folder {path}", where="MODEL", fix=EXPECTED)
    models = sorted(config.parent for config in path.glob("stages/*/model/config.json"))
    if models:
        listed = "\n  ".join(f"r1 {command} {model}" for model in models)
        raise RecipeError(f"{path} is a run with {len(models)} models", where="MODEL", fix=f"choose one:\n  {listed}")
    raise RecipeError(f"{path} holds no model: no config.json", where="MODEL", fix=EXPECTED)


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError
    except ImportError as error:
        raise SetupError(
            f"there is no folder {name}, and models of the hub need {error.name}",
            where="MODEL",
            fix="pip install 'r1core[train]'",
        ) from error
    for cached in (True, False):
        try:
            folder = Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=cached))
        except RepositoryNotFoundError as error:
            raise RecipeError(
                f"there is no folder {name}, and no such model on the hub that may be read", where="MODEL", fix=EXPECTED
            ) from error
        except Exception as error:  # whatever its HTTP library raises: offline, no such host, a broken cache
            if not cached:
                reason = str(error).strip().partition("\n")[0]
                raise SetupError(
                    f"there is no folder {name}, and the hub does not give a model of that name: {reason}",
                    where="MODEL",
                    fix="mend the path, or the connection; a model in the hub's cache needs none",
                ) from error
            continue
        if (folder / "config.json").is_file() and (not cached or any(folder.glob("*.safetensors"))):
            return folder
    raise RecipeError(f"{name} of the hub holds no model: no config.json", where="MODEL", fix=EXPECTED)
