"""What a request may say, and why another is refused: errors in OpenAI's shape, with the field's name.

Clients send fields that they leave at their defaults: null means the default, and what asks for nothing is accepted
where the same field with another value is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MOST_STOPS, MOST_CHOICES = 4, 16
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "metadata": ({},),
    "min_p": (0,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_k": (0, -1),
}
"""Fields of OpenAI's API and of vLLM's that are not served, and the values by which they ask for nothing."""
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


def no_model(asked: str, served: str) -> Refused:
    """For one who asks for another model."""
    return Refused(404, f"there is no model {asked!r}; it is {served!r}", param="model", code="model_not_found")


def too_long(field: str, wanted: int, most: int) -> Refused:
    """For one who asks for more tokens than are written here."""
    return Refused(400, f"{field} is {wanted}, at most {most} are written here", param=field)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Options(_Strict):
    """One in which null means the default."""

    @model_validator(mode="before")
    @classmethod
    def _given(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None}


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
    tool_calls: list[Any] | None = Field(None, max_length=0)
    name: str | None = None

    @property
    def text(self) -> str:
        """Its content, parts joined."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Options):
    """How a stream ends."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class Asked(_Options):
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
        asked = Asked.model_validate(_without_neutral(json.loads(body)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(each) for each in first["loc"])
        raise Refused(400, f"{place or 'body'}: {first['msg']}", param=place or None) from None
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if asked.model != model:
        raise no_model(asked.model, model)
    if asked.limit is not None and asked.limit > max_tokens:
        field = "max_completion_tokens" if asked.max_completion_tokens else "max_tokens"
        raise too_long(field, asked.limit, max_tokens)
    if len(asked.stops) > MOST_STOPS or not all(asked.stops):
        raise Refused(400, f"stop: at most {MOST_STOPS} strings, none of them empty", param="stop")
    if asked.messages[-1].role == "assistant":
        raise Refused(400, "the last message is the assistant's: nothing is asked", param="messages")
    return asked


def _without_neutral(given: Any) -> Any:
    """The same without the fields that ask for nothing. Raises Refused for one that asks for something."""
    if not isinstance(given, dict):
        return given
    for field in NEUTRAL.keys() & given.keys():
        if given[field] is not None and given[field] not in NEUTRAL[field]:
            taken = " or ".join(json.dumps(value) for value in NEUTRAL[field])
            raise Refused(400, f"{field} is not served here, but as {taken}: leave it out", param=field)
    return {name: value for name, value in given.items() if name not in NEUTRAL}
