"""What a request may say, and why another is refused: errors in OpenAI's shape, with the field's name."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_STOPS, MOST_CHOICES = 4, 16
TOOK_TOO_LONG = (504, "the request took too long")


class Refused(Exception):
    """A request that gets no answer."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def comes_again(self) -> bool:
        """Whether the same request may be answered in a moment."""
        return self.status in (429, 503)

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def queue_is_full() -> Refused:
    """For one who asks when as many wait as may."""
    return Refused(429, "too many requests wait already", code="queue_full")


def too_long(field: str, wanted: int, most: int) -> Refused:
    """For one who asks for more tokens than are written here."""
    return Refused(400, f"{field} is {wanted}, at most {most} are written here", param=field)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """A piece of a message: text alone, no image, file or URL."""

    type: Literal["text"]
    text: str


class Turn(_Strict):
    """A message. Reasoning of earlier answers may come along, and is left out of the prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """Its content, parts joined."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Strict):
    """How a stream ends."""

    include_usage: bool = False


class Asked(_Strict):
    """The body of /v1/chat/completions. `return_token_ids` is vLLM's extension."""

    model: str
    messages: list[Turn] = Field(min_length=1)
    temperature: float = Field(0.6, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: bool = False
    top_logprobs: Literal[0] | None = None
    return_token_ids: bool = False
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def limit(self) -> int | None:
        """Tokens that an answer may have."""
        return self.max_completion_tokens or self.max_tokens


def read(body: bytes, *, model: str, max_tokens: int) -> Asked:
    """The request. Raises Refused with 400, or 404 for another model."""
    try:
        given = json.loads(body)
        asked = Asked.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(each) for each in first["loc"])
        raise Refused(400, f"{place or 'body'}: {first['msg']}", param=place or None) from None
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if asked.model != model:
        raise Refused(404, f"there is no model {asked.model!r}; it is {model!r}", param="model", code="model_not_found")
    if asked.limit is not None and asked.limit > max_tokens:
        field = "max_completion_tokens" if asked.max_completion_tokens else "max_tokens"
        raise too_long(field, asked.limit, max_tokens)
    if len(asked.stops) > MOST_STOPS or not all(asked.stops):
        raise Refused(400, f"stop: at most {MOST_STOPS} strings, none of them empty", param="stop")
    if asked.messages[-1].role == "assistant":
        raise Refused(400, "the last message is the assistant's: nothing is asked", param="messages")
    return asked
