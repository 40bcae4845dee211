"""The options of a teacher behind an endpoint: which model, what else a request says, how fast, at what cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from r1core.choices import Uncounted
from r1core.components import Sampler
from r1core.endpoints import Caps, Endpoint, Prices
from r1core.types import SampleRequest

RESERVED = frozenset({"messages", "model", "stream", "n", "tools", "seed", "max_tokens", "max_completion_tokens"})
"""Fields of a request that the sampler writes itself, or whose replies it does not read."""
SEED_BITS = 31
"""Servers take a seed of so many bits."""


class TeacherEndpoint(Endpoint):
    """A server that thinks for minutes before it answers."""

    timeout_s: Annotated[float, Uncounted()] = Field(
        600.0, gt=0, le=3600, description="longest that one attempt may take, seconds"
    )
    give_up_s: Annotated[float, Uncounted()] = Field(
        900.0, gt=0, le=3600, description="how long a failing call is tried again (429, 5xx, no connection), seconds"
    )
    max_reply_kib: Annotated[int, Uncounted()] = Field(4096, ge=1, description="largest reply that is read, KiB")


class OpenAIConfig(Sampler.Config):
    """Which model is asked, and how it is paid for."""

    endpoint: Annotated[TeacherEndpoint, Uncounted(unless="teacher")] = Field(
        description="the server, {url: https://host/v1, key: {env: NAME}}"
    )
    teacher: str = Field(
        "",
        description="who answers, in the place of the server's address: a name of your own, with which the answers in "
        "the trace ledger stay good when the server moves to another host or port. Answers that were asked for without "
        "one stay good, too, where it is the old URL",
    )
    model: str = Field(min_length=1, description="the model, by the name that the server knows")
    revision: str = Field(
        "", description="tells one state of the model from another: answers of another revision are asked for anew"
    )
    request: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="further fields of a request; one that is null is left out, such as `temperature` where the model "
        "takes none",
    )
    limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the server calls the longest answer (`sampling.max_new_tokens`)"
    )
    seeded: bool = Field(
        False, description="send each call a seed, derived from the answer's key, to a server that takes one"
    )
    concurrent: Annotated[int, Uncounted()] = Field(
        32,
        ge=1,
        description="calls at once; a unit ends with its last answer, so let `chunk` x `samples` be many times it",
    )
    failing: Annotated[Literal["stop", "refuse"], Uncounted()] = Field(
        "stop",
        description="a question that fails to the end (give_up_s) while others are answered: stop the run when the "
        "others are done (exit 3), or put it down as refused",
    )
    max_calls: Annotated[int | None, Uncounted()] = Field(
        None,
        ge=1,
        description="most calls to this model that the trace ledger may hold; then the run stops (exit 4). One that "
        "was sent and brought no reply counts; one that the server turned away (429, 503) does not",
    )
    max_usd: Annotated[float | None, Uncounted()] = Field(
        None,
        gt=0,
        description="most that they may cost, USD; then the run stops (exit 4). A call with no bill, one that brought "
        "no reply, and one under way at a kill count with the most that they can have cost",
    )
    prices: Annotated[Prices | None, Uncounted()] = Field(None, description="what the endpoint takes, {input, output}")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_usd is not None and self.prices is None:
            raise ValueError("max_usd needs prices: {input: .., output: ..}, USD per million tokens")
        written = RESERVED & self.request.keys()
        if written:
            raise ValueError(
                f"request may not set {', '.join(sorted(written))}: the sampler writes it, by its own options"
            )
        return self

    @property
    def name(self) -> str:
        """Who is asked, for people."""
        return f"teacher {self.model} at {self.endpoint.origin}"

    @property
    def caps(self) -> Caps:
        """How far it may go."""
        return Caps(
            prices=self.prices,
            max_calls=self.max_calls,
            max_usd=self.max_usd,
            max_tokens=0,  # every request says its own limit
            where=self.name,
            kept="every answer",
        )

    def body(self, request: SampleRequest, number: int) -> dict[str, Any]:
        """The call for one answer to a request. With the same options and keys it is the same, to the byte."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [dict(message) for message in request.problem.messages],
            self.limit: request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
        }
        if self.seeded:
            body["seed"] = request.keys[number] & (1 << SEED_BITS) - 1
        return {key: value for key, value in {**body, **self.request}.items() if value is not None}
