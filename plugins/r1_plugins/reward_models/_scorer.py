"""The torch side of the reward: one frozen score model in float32, asked in micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from r1core.errors import SetupError
from r1core.nn import ChatText, TokenReader, collate, load_score_model, micro_batches
from r1core.types import TrainSequence

if TYPE_CHECKING:
    from r1_plugins.reward_models.reward import RewardModel


class Scorer:
    """A loaded reward model and its tokenizer."""

    def __init__(self, config: RewardModel.Config) -> None:
        folder = Path(config.model)
        device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        module = load_score_model(folder, dtype=torch.float32)
        self.text = _text(folder)
        self._folder = folder
        self._reader = TokenReader(module.to(device).eval().requires_grad_(False))
        self._device = torch.device(device)
        self._padded_tokens = config.micro_batch_tokens

    @torch.no_grad()
    def scores(self, sequences: Sequence[TrainSequence]) -> list[float]:
        """The score of each sequence, in order. Raises SetupError when the model cannot be run: no answer's fault."""
        found = [0.0] * len(sequences)
        try:
            for places in micro_batches(sequences, padded_tokens=self._padded_tokens):
                batch = collate(sequences, places, device=self._device)
                values = self._reader.read(batch, {"score"})["score"].double().tolist()
                for place, value in zip(places, values, strict=True):
                    found[place] = value
        except (RuntimeError, IndexError) as error:
            reason = str(error).partition("\n")[0]
            raise SetupError(
                f"the reward model cannot be run: {type(error).__name__}: {reason}",
                where=str(self._folder),
                fix="where memory is short, lower the reward's micro_batch_tokens",
            ) from error
        return found


def _text(folder: Path) -> ChatText:
    text = ChatText(folder)
    if text.tokenizer.chat_template is None:
        raise SetupError("the tokenizer has no chat template", where=str(folder), fix="give it the one it learned with")
    return text
