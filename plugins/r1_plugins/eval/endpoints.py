"""Endpoints before anything is asked of them: one that is down is told at once, one that has a single model needs no
name."""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from r1core.errors import RecipeError, SetupError

ENDPOINT = re.compile(r"https?://", re.IGNORECASE)
PROBE_S = 5.0


def named(models: Sequence[str], key: str | None) -> tuple[str, ...]:
    """The same, each endpoint as URL#NAME. Raises SetupError for one that is down, RecipeError where it has several
    models, or none, and the address names none."""
    return tuple(_named(model, key) if ENDPOINT.match(model) else model for model in models)


def reading(models: Sequence[str], key: str | None) -> dict[str, int]:
    """How many tokens each endpoint's model reads, of those whose server says it (`max_model_len`)."""
    found: dict[str, int] = {}
    for given in models:
        if ENDPOINT.match(given):
            url, _, model = given.partition("#")
            own = next((each for each in _listed(_asked(url, key)) if each.get("id") == model), {})
            if isinstance(own.get("max_model_len"), int):
                found[given] = own["max_model_len"]
    return found


def _named(given: str, key: str | None) -> str:
    url, _, model = given.partition("#")
    url = url.rstrip("/")
    reply = _asked(url, key)
    if model:
        return f"{url}#{model}"
    found = _ids(reply)
    if len(found) == 1:
        return f"{url}#{found[0]}"
    listed = "".join(f"\n  {url}#{each}" for each in found)
    fix = f"choose one:{listed}" if found else f"write {url}#<name of the model>"
    raise RecipeError(f"{url} names {len(found)} models, not one", where="MODEL", fix=fix)


def _asked(url: str, key: str | None) -> bytes:
    """What it says of its models; nothing where it refuses to."""
    request = urllib.request.Request(f"{url}/models")
    if key and (secret := os.environ.get(key)):
        request.add_header("Authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S) as reply:
            found: bytes = reply.read()
            return found
    except urllib.error.HTTPError as error:  # it is there, which is what is asked for
        error.close()
        return b""
    except (OSError, http.client.HTTPException, ValueError) as error:
        fix = "start the server, or check the address"
        raise SetupError(f"endpoint {url} is down: {error}", where="MODEL", fix=fix) from error


def _ids(reply: bytes) -> list[str]:
    return [str(each["id"]) for each in _listed(reply) if "id" in each]


def _listed(reply: bytes) -> list[dict[str, Any]]:
    """The models of the reply, as objects."""
    try:
        return [each for each in json.loads(reply)["data"] if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError):
        return []
