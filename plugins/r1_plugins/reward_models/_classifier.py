"""Any Hugging Face sequence classification model, asked as its makers ask it: text in its own form, its own forward.

    chat    the whole conversation, the answer in it, as its tokenizer's chat template writes it
    pair    the question and the answer as two texts, with the special tokens that the tokenizer puts around them

Rows of a batch are padded on the right and masked. Nothing is cut: what is too long is the reward's to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from r1_plugins.reward_models._device import device_of, running
from r1_plugins.reward_models.shown import Layout, Shown, conversation
from r1_plugins.reward_models.text import Sees
from r1core.errors import SetupError
from r1core.nn import load_tokenizer, micro_batches, no_progress_bars
from r1core.types import Floats, Problem, Response, TrainSequence

ENDLESS = 10**6
"""Tokenizers without a limit say a huge number."""


class Classifier:
    """A loaded model of any architecture that classifies sequences, and its tokenizer."""

    def __init__(self, folder: Path, *, layout: Layout, device: str, micro_batch_tokens: int) -> None:
        self._folder = folder
        self._layout = layout
        self._device = device_of(device)
        self._module = _load(folder).to(self._device)
        self._tokenizer = load_tokenizer(folder)
        self._padded_tokens = micro_batch_tokens
        if layout == "chat" and self._tokenizer.chat_template is None:
            raise SetupError(
                "the tokenizer has no chat template", where=str(folder), fix="write `layout: pair`, or give it one"
            )
        config = self._module.config
        self.labels: list[str] = [config.id2label[number] for number in range(config.num_labels)]
        self.longest = self._longest()
        own = (self._tokenizer.pad_token_id, config.pad_token_id, self._tokenizer.eos_token_id, 0)
        self._pad = next(token for token in own if token is not None)
        config.pad_token_id = self._pad if config.pad_token_id is None else config.pad_token_id

    def shown(self, problem: Problem, response: Response, sees: Sees) -> Shown | None:
        """The tokens of what it is asked; None where the final answer is to be seen and there is none."""
        messages, answer = conversation(problem, response, sees)
        if answer is None:
            return None
        if self._layout == "chat":
            said = [*(dict(m) for m in messages), {"role": "assistant", "content": answer}]
            text = self._tokenizer.apply_chat_template(said, tokenize=False)
            found = self._tokenizer(text, add_special_tokens=False)
        else:
            question = "\n\n".join(message["content"] for message in messages)
            found = self._tokenizer(question, answer)
        kinds = found.get("token_type_ids")
        return Shown(ids=np.array(found["input_ids"], dtype=np.int64), kinds=None if kinds is None else tuple(kinds))

    @torch.no_grad()
    def logits(self, asked: Sequence[Shown]) -> Floats:
        """(N, labels), in order. Raises SetupError when the model cannot be run: no answer's fault."""
        found = np.zeros((len(asked), len(self.labels)))
        sequences = [TrainSequence(ids=one.ids, start=len(one.ids), columns={}) for one in asked]
        with running(self._folder):
            for places in micro_batches(sequences, padded_tokens=self._padded_tokens):
                inputs = self._batch([asked[place] for place in places])
                found[list(places)] = self._module(**inputs).logits.double().cpu().numpy()
        return found

    def _batch(self, rows: Sequence[Shown]) -> dict[str, torch.Tensor]:
        width = max(len(row.ids) for row in rows)
        filled = {
            "input_ids": np.full((len(rows), width), self._pad, dtype=np.int64),
            "attention_mask": np.zeros((len(rows), width), dtype=np.int64),
        }
        if rows[0].kinds is not None:
            filled["token_type_ids"] = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            filled["input_ids"][number, : len(row.ids)] = row.ids
            filled["attention_mask"][number, : len(row.ids)] = 1
            if row.kinds is not None:
                filled["token_type_ids"][number, : len(row.ids)] = row.kinds
        return {name: torch.from_numpy(array).to(self._device) for name, array in filled.items()}

    def _longest(self) -> int | None:
        """Tokens that it can read at most, by its tokenizer and its table of positions."""
        config = self._module.config
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None and config.model_type in ("roberta", "xlm-roberta", "camembert"):
            positions -= config.pad_token_id + 1  # their positions begin behind the padding's
        known = [limit for limit in (self._tokenizer.model_max_length, positions) if limit and limit < ENDLESS]
        return min(known) if known else None


def _load(folder: Path) -> Any:
    """The model in float32, safetensors alone, all of its weights there."""
    from transformers import AutoModelForSequenceClassification

    if not any(folder.glob("*.safetensors")):
        raise SetupError(
            "no *.safetensors in this folder", where=str(folder), fix="give a Hugging Face model folder; no pickles"
        )
    try:
        with no_progress_bars():
            module, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SetupError(
            f"this is no model that classifies: {reason}", where=str(folder), fix="give one trained to score"
        ) from error
    if info["missing_keys"]:
        names = ", ".join(sorted(info["missing_keys"])[:3])
        raise SetupError(
            f"this is no model that classifies: it lacks {names}", where=str(folder), fix="give one trained to score"
        )
    return module.eval().requires_grad_(False)
