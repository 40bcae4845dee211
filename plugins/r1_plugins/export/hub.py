"""The hub, only when asked: private unless --public, never a prompt, and the revision is what comes back.

The token is the one that huggingface_hub finds (HF_TOKEN, or a login before). A repository that is public already is
refused without --public: "private" must not be a wish.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from r1core.errors import R1Error, RecipeError, RefusedError, SetupError

NAME = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?\Z")
REPLACED = ("*.safetensors", "*.safetensors.index.json", "*.gguf", "Modelfile", "*.jinja", "*.json")
"""What an earlier export left there and this one does not have goes: old weights beside new ones would be loaded."""
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def check_hub(name: str) -> None:
    """Before any work: raises RecipeError for what is no name, SetupError without the client or a token."""
    if NAME.match(name) is None:
        raise RecipeError(f"{name!r} is no name on the hub", where="--push-to-hub", fix="give owner/model")
    try:
        from huggingface_hub import get_token
    except ImportError as error:
        fix = "pip install 'r1core[train]'"
        raise SetupError("the hub's client is not installed", where="--push-to-hub", fix=fix) from error
    if not get_token():
        raise SetupError("there is no token for the hub", where="--push-to-hub", fix=LOGIN)


def push(folder: Path, name: str, *, public: bool) -> str:
    """Create the repository where it is missing, upload the folder; a line with the revision. Raises SetupError
    (exit 3) when the hub cannot be reached or says no; the folder stays."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # the client's own errors, whichever of the two packages it is built on
    kinds = [kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError" and issubclass(kind, Exception)]
    failures: tuple[type[Exception], ...] = (HfHubHTTPError, OSError, ValueError, *kinds)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        created = api.create_repo(name, private=not public, exist_ok=True, repo_type="model")
        whole = created.repo_id
        if not public and not api.repo_info(whole).private:
            raise RefusedError(
                f"{whole} is there and is public", where="--push-to-hub", fix="choose another name, or say --public"
            )
        message = "Exported by r1core"
        commit = api.upload_folder(
            repo_id=whole, folder_path=folder, commit_message=message, delete_patterns=list(REPLACED)
        )
    except R1Error:
        raise
    except failures as error:
        said = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise SetupError(
            f"the hub did not take it: {said}",
            where="--push-to-hub",
            fix=f"the export is whole: {folder}; try again with `hf upload {name} {folder}`, or by the same command",
        ) from error
    return f"pushed to {whole} ({'public' if public else 'private'}), revision {commit.oid}"
