"""The options of a judge: what it is asked, what it may see and cost, and when it is not waited for any more."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, JsonValue, model_validator

from r1core.choices import Options, Uncounted
from r1core.components import Reward
from r1core.endpoints import Caps, Endpoint, Prices

Mode: TypeAlias = Literal["verdict", "score", "pairwise"]
RESERVED = frozenset({"messages", "model", "stream", "n", "response_format"})
"""Fields of a request that the judge writes itself."""


class Outage(Options):
    """What happens when the judge does not answer."""

    open_after_s: float = Field(10.0, ge=0, description="seconds of nothing but failures after which the run pauses")
    look_every_s: float = Field(30.0, gt=0, description="seconds between looks, one call each, while it pauses")
    max_s: float = Field(600.0, gt=0, description="longest pause, seconds; then the run stops (exit 4)")


class Preflight(Options):
    """What a judge has to show before a stage begins."""

    path: str = Field(
        "", description="JSONL file with rows {prompt, gold, answer}, 9 or more; 16 in six languages are built in"
    )
    max_false_positives: float = Field(0.02, ge=0, lt=1, description="largest share of wrong answers that pass")
    min_true_positives: float = Field(0.9, gt=0, le=1, description="least share of right answers that pass")


class JudgeConfig(Reward.Config):
    """Which model, what it is asked, how it is paid for."""

    endpoint: Endpoint = Field(description="the server, {url: https://host/v1, key: {env: NAME}}")
    model: str = Field(min_length=1, description="the model, by the name that the server knows")
    mode: Mode = Field(
        "verdict",
        description="verdict: right or wrong against the reference; score: a number by the rubric; pairwise: the share "
        "of the other answers to the problem that it beats, each pair asked in both orders",
    )
    rubric: str = Field("", description="what makes an answer good, in words; added to the judge's instructions")
    low: float = Field(0.0, description="lowest number that a rubric gives")
    high: float = Field(10.0, description="highest number that a rubric gives")
    sees: Literal["answer", "response"] = Field("answer", description="what is shown of an answer")
    max_chars: int = Field(4000, ge=1, description="longest answer that is judged, characters; a longer one is wrong")
    reply: Literal["line", "json"] = Field(
        "line", description="how the verdict is told: on the last line, or as JSON by a schema that the server enforces"
    )
    max_tokens: int = Field(512, ge=1, description="longest reply, tokens")
    temperature: float | None = Field(0.0, ge=0, description="of the judge; null for a model that takes none")
    request: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of a request; one that is null is left out"
    )
    canaries: float = Field(
        0.01, ge=0, le=0.5, description="share of questions beside which a known-wrong answer is asked about"
    )
    preflight: Preflight = Field(Preflight(), description="what it has to show before the stage begins")
    concurrent: Annotated[int, Uncounted()] = Field(16, ge=1, description="calls at once")
    per_minute: Annotated[int | None, Uncounted()] = Field(None, ge=1, description="most calls in a minute")
    max_calls: Annotated[int | None, Uncounted()] = Field(
        None,
        ge=1,
        description="most calls of the stage (of each of its ranks), preflight included; then the run stops (exit 4). "
        "One that was sent and brought no reply counts; one that the server refused (429, 503) does not",
    )
    max_usd: Annotated[float | None, Uncounted()] = Field(
        None,
        gt=0,
        description="most that the stage (each of its ranks) may cost, USD; then the run stops (exit 4). A call with "
        "no bill, and one that was sent and brought no reply, count with the most that they can have cost",
    )
    prices: Annotated[Prices | None, Uncounted()] = Field(None, description="what the endpoint takes, {input, output}")
    outage: Annotated[Outage, Uncounted()] = Field(Outage(), description="when it is not waited for any more")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.mode == "score" and not self.rubric.strip():
            raise ValueError("mode score needs a rubric: say what makes an answer good")
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g}, high {self.high:g}: no range")
        if self.max_usd is not None and self.prices is None:
            raise ValueError("max_usd needs prices: {input: .., output: ..}, USD per million tokens")
        written = RESERVED & self.request.keys()
        if written:
            raise ValueError(f"request may not set {', '.join(sorted(written))}: the judge writes that itself")
        return self

    @property
    def caps(self) -> Caps:
        """How far it may go."""
        return Caps(
            prices=self.prices,
            max_calls=self.max_calls,
            max_usd=self.max_usd,
            max_tokens=self.max_tokens,
            where=f"reward judge, model {self.model}",
            kept="every verdict",
        )

    def body(self, messages: list[dict[str, str]], schema: dict[str, Any] | None) -> dict[str, Any]:
        """A request. With the same options and messages it is the same, to the byte."""
        body: dict[str, Any] = {"model": self.model, "messages": messages, "max_tokens": self.max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if schema is not None:
            form = {"name": "verdict", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return {key: value for key, value in {**body, **self.request}.items() if value is not None}
