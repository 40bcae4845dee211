"""The policy `echo`: four logits, one for each form of an answer, and Adam. It tests plugins; it is no language model.

`update` makes a policy-gradient step, the gradient of  sum_t weight_t advantage_t log pi_t  with an
advantage of 1 where there is none, **whatever the loss**: a loss is written for torch, and numpy cannot
differentiate it. So cross-entropy and a policy gradient are exact, a clipped objective counts as
unclipped, and a KL penalty does nothing. The learning rate is Adam's: about how far a form's logit moves
in one step, so 0.05 to 0.5 are sensible.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from r1_plugins.echo import tokens
from r1_plugins.echo.forms import FORMS, Decision, decisions
from r1_plugins.echo.weights import read_arrays, write_arrays
from r1core.components import Loss, Policy
from r1core.errors import RecipeError, SetupError
from r1core.suggest import did_you_mean
from r1core.types import Floats, Head, Message, Tokens, TrainSequence

WEIGHTS = "model.safetensors"
STATE = "state.safetensors"
ARCHITECTURE = ("model_type", "initializer_range")
BETAS, EPS = (0.9, 0.95), 1e-8


class EchoPolicy(Policy):
    """Four numbers that can be trained in microseconds: how much it likes each form of an answer. To test plugins."""

    name = "echo"

    class Config(Policy.Config):
        """No options; the learning rate comes with each step."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.logits: Floats | None = None
        self.trainable = False
        self._moments = np.zeros((2, len(FORMS)))
        self._steps = 0

    def create(self, folder: Path, architecture: Mapping[str, Any], *, seed: int) -> None:
        """Write logits near nought: `initializer_range` (0.02) is their standard deviation."""
        unknown = [key for key in architecture if key not in ARCHITECTURE]
        if unknown:
            hint = did_you_mean(unknown[0], ARCHITECTURE, otherwise="keys: ")
            raise RecipeError(f"policy echo has no key {unknown[0]!r}", where="architecture", fix=hint)
        if (kind := architecture.get("model_type")) != "echo":
            raise RecipeError(
                f"policy echo makes no {kind!r} model", where="architecture", fix="write `model_type: echo`"
            )
        spread = float(architecture.get("initializer_range", 0.02))
        _write(folder, np.random.default_rng(seed).normal(0.0, spread, len(FORMS)))

    def open(self, folder: Path, *, trainable: bool, head: Head = "lm") -> Self:
        """Load the logits; returns itself. The folder's tokenizer is not read: tokens are bytes."""
        if head != "lm":
            raise SetupError("policy echo has no score head", where=str(folder), fix="train it with another policy")
        logits = read_arrays(folder / WEIGHTS).get("logits", np.zeros(0))
        if logits.shape != (len(FORMS),):
            raise SetupError(
                f"no model of policy echo: its logits are {logits.shape}, not ({len(FORMS)},)",
                where=str(folder / WEIGHTS),
                fix="give it a model that policy echo made",
            )
        self.logits, self.trainable = logits, trainable
        return self

    def frozen(self, folder: Path) -> Policy:
        """The same kind of policy on another folder, which does not learn."""
        return type(self)(self.config).open(folder, trainable=False)

    def prompt_ids(self, messages: Sequence[Message]) -> Tokens:
        """The tokens up to where the answer begins."""
        return tokens.render(messages)

    def prefilled(self, messages: Sequence[Message]) -> str:
        """The start of the assistant's own message, where that is the last."""
        return messages[-1]["content"] if messages and messages[-1]["role"] == "assistant" else ""

    def completion_ids(self, text: str) -> Tokens:
        """The answer's tokens and the end token."""
        return np.append(tokens.encode(text), tokens.END)

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of plain documents, which teach it nothing: only an answer has a form."""
        return [tokens.encode(text, special=True) for text in texts]

    def decode(self, ids: Tokens) -> str:
        """The text without end and padding tokens."""
        return tokens.decode(ids)

    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """(T,) for each sequence: nought but at its decisions."""
        logits = self._opened
        found = [np.zeros(len(sequence.ids) - sequence.start) for sequence in sequences]
        for logprobs, sequence in zip(found, sequences, strict=True):
            for decision in _counted(sequence):
                logprobs[decision.position - sequence.start] = _logprob(logits, decision)
        return found

    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One step of Adam on the policy gradient; the loss itself is not asked. When a number is not finite nothing
        changes and `skipped` is 1."""
        logits = self._opened
        if not self.trainable:
            raise SetupError("this model is frozen", where="policy echo", fix="open it with trainable=True")
        value, gradient = 0.0, np.zeros(len(FORMS))
        for sequence in sequences:
            for decision in _counted(sequence):
                place = decision.position - sequence.start
                share = float(sequence.columns["weight"][place])
                if "advantage" in sequence.columns:
                    share *= float(sequence.columns["advantage"][place])
                value -= share * _logprob(logits, decision)
                gradient += share * (_shares(logits, decision.chosen) - _shares(logits, decision.among))
        report = {"loss": value, "grad_norm": float(np.linalg.norm(gradient))}
        if not all(math.isfinite(number) for number in report.values()):
            return {**report, "skipped": 1.0}
        self.logits = logits + lr * self._direction(gradient)
        return report

    def _direction(self, gradient: Floats) -> Floats:
        """Adam's: the gradient's running mean, in units of its running size."""
        self._steps += 1
        new = np.stack([gradient, gradient**2])
        decay = np.array(BETAS)[:, None]
        self._moments = decay * self._moments + (1 - decay) * new
        mean, square = self._moments / (1 - decay**self._steps)
        direction: Floats = mean / (np.sqrt(square) + EPS)
        return direction

    def export(self, folder: Path) -> None:
        """Write config, safetensors and tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, self._opened)
        tokens.write_tokenizer(folder)

    def save(self, folder: Path) -> None:
        """Write logits and Adam's moments into `state.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        steps = np.array([float(self._steps)])
        write_arrays(folder / STATE, {"logits": self._opened, "moments": self._moments, "steps": steps})

    def restore(self, folder: Path) -> None:
        """Take them back."""
        state = read_arrays(folder / STATE)
        self.logits, self._moments, self._steps = state["logits"], state["moments"], int(state["steps"][0])

    def module(self) -> Any:
        """There is none. Raises SetupError."""
        raise SetupError(
            "policy echo has no torch module to share", where="policy echo", fix="take the sampler echo with it"
        )

    @property
    def _opened(self) -> Floats:
        if self.logits is None:
            raise SetupError("no model is open", where="policy echo", fix="call open(folder, trainable=...) first")
        return self.logits


def _write(folder: Path, logits: Floats) -> None:
    config = {"model_type": "echo", "vocab_size": tokens.BYTES + len(tokens.NUMBER), "eos_token_id": tokens.END}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    write_arrays(folder / WEIGHTS, {"logits": logits})


def _counted(sequence: TrainSequence) -> list[Decision]:
    """The decisions among the sequence's counted tokens."""
    return [decision for decision in decisions(sequence.ids) if decision.position >= sequence.start]


def _logprob(logits: Floats, decision: Decision) -> float:
    """log P(one of the chosen | one of those still open)."""
    return min(0.0, _logsumexp(logits, decision.chosen) - _logsumexp(logits, decision.among))


def _logsumexp(logits: Floats, forms: tuple[int, ...]) -> float:
    return float(np.logaddexp.reduce(logits[list(forms)]))


def _shares(logits: Floats, forms: tuple[int, ...]) -> Floats:
    """(4,) the probability of each form given that it is one of these."""
    shares = np.zeros(len(FORMS))
    shares[list(forms)] = np.exp(logits[list(forms)] - _logsumexp(logits, forms))
    return shares
