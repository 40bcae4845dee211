"""The torch side of a model that a stage has trained: one frozen score model in float32, asked in micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from r1_plugins.reward_models._device import device_of, running
from r1_plugins.reward_models.shown import Shown
from r1_plugins.reward_models.text import Sees, scored_sequence
from r1core.errors import SetupError
from r1core.nn import ChatText, TokenReader, collate, load_score_model, micro_batches
from r1core.types import Floats, Problem, Response, TrainSequence


class Scorer:
    """A loaded reward model and its tokenizer."""

    labels = ("score",)

    def __init__(self, folder: Path, *, device: str, micro_batch_tokens: int) -> None:
        self._device = device_of(device)
        module = load_score_model(folder, dtype=torch.float32)
        self.text = _text(folder)
        self.longest: int | None = getattr(module.config, "max_position_embeddings", None)
        self._folder = folder
        self._reader = TokenReader(module.to(self._device).eval().requires_grad_(False))
        self._padded_tokens = micro_batch_tokens

    def shown(self, problem: Problem, response: Response, sees: Sees) -> Shown | None:
        """As in its training; None where the final answer is to be seen and there is none."""
        sequence = scored_sequence(self.text, problem, response, sees)
        return None if sequence is None else Shown(ids=sequence.ids[: sequence.start])

    @torch.no_grad()
    def logits(self, asked: Sequence[Shown]) -> Floats:
        """(N, 1) the scores, in order. Raises SetupError when the model cannot be run: no answer's fault."""
        found = np.zeros((len(asked), 1))
        sequences = [
            TrainSequence(ids=np.append(one.ids, one.ids[-1]), start=len(one.ids), columns={}) for one in asked
        ]
        with running(self._folder):
            for places in micro_batches(sequences, padded_tokens=self._padded_tokens):
                batch = collate(sequences, places, device=self._device)
                found[list(places), 0] = self._reader.read(batch, {"score"})["score"].double().cpu().numpy()
        return found


def _text(folder: Path) -> ChatText:
    text = ChatText(folder)
    if text.tokenizer.chat_template is None:
        raise SetupError("the tokenizer has no chat template", where=str(folder), fix="give it the one it learned with")
    return text
