"""What to do where a server has said no: chosen by the status, and by what the error says of itself.

OpenAI's servers name a code and a field (`{"error": {"message", "code", "param"}}`), vLLM's the same or their message
alone. What they wrote is read here and never shown: the failure shows it, cleaned.
"""

from __future__ import annotations

import json
import re
from typing import Any

from r1core.endpoints.options import Endpoint

_TOO_LONG = re.compile(r"context.length|max(imum)? model len|too many tokens|max_(completion_|new_)?tokens", re.I)
_TOKENS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})


def fix_of(endpoint: Endpoint, status: int, content: bytes) -> str:
    """One sentence for the reader of the failure."""
    error = _error(content)
    code, param, message = (str(error.get(name) or "") for name in ("code", "param", "message"))
    if status in (401, 403):
        if endpoint.key is None:
            return "give its key: the variable that holds it, {env: NAME}"
        return f"look at the key in {endpoint.key.env}: this server does not take it"
    if status == 404 and (code == "model_not_found" or param == "model" or "model" in message.lower()):
        return "mend the model's name: this server does not have it"
    if status in (404, 405):
        return "mend url: there is nothing at this address; it ends in the version, /v1"
    if code == "context_length_exceeded" or param in _TOKENS or _TOO_LONG.search(message):
        return "ask for fewer tokens (max_tokens, max_new_tokens), or give a shorter prompt"
    return "mend what it names" if message or param else "look at the log of the server"


def _error(content: bytes) -> dict[str, Any]:
    """The error object; an empty one where there is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    inner = body.get("error") if isinstance(body, dict) else None
    found = inner if isinstance(inner, dict) else body
    return found if isinstance(found, dict) else {}
