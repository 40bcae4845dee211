"""What a signals stage keeps of a teacher: `signals: {k: 32, temperature: 1.0, scheme: top_k, chunk: 64}`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from r1core.choices import Options

TOP_K = 32
"""Tokens of a teacher's distribution that are kept in each place unless a recipe says otherwise."""


class SignalsSpec(Options):
    """A signals stage: what a teacher (`model`) says of each token of the texts in `data`, kept for a student."""

    scheme: Literal["top_k", "sampled"] = Field(
        "top_k", description="top_k: the likeliest next tokens and their log-probs; sampled: the text's own token alone"
    )
    k: int | None = Field(None, ge=1, description="top_k: tokens kept in each place; 32 when absent")
    temperature: float = Field(1.0, gt=0, description="softmax temperature of the log-probs, the one to train with")
    chunk: int = Field(64, ge=1, description="texts in one unit of replay")

    @model_validator(mode="after")
    def _k_is_read(self) -> Self:
        if self.scheme == "sampled" and self.k is not None:
            raise ValueError(f"scheme sampled keeps the text's own token alone: remove `k` (got {self.k})")
        return self

    @property
    def kept(self) -> int:
        """Tokens kept in each place, beside the text's own."""
        return 0 if self.scheme == "sampled" else self.k or TOP_K
