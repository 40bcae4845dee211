"""A model folder's tokenizer: prompts through its chat template, completions, and back to text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from r1core.errors import RecipeError, SetupError
from r1core.nn.alignment import pieces
from r1core.nn.marks import text_marks
from r1core.types import Message, Tokens

_OPENED = re.compile(r"<think>\s*$")
_FILES = ("tokenizer*", "vocab.*", "*.model", "*.tiktoken")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer as its own file says: for some model types AutoTokenizer would put the family's splitting rules
    in place of those in tokenizer.json."""
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if not any(file for pattern in _FILES for file in folder.glob(pattern)):  # the library would make an empty one
        raise SetupError("there is no tokenizer in this folder", where=str(folder), fix="copy its tokenizer there")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


class ChatText:
    """The tokenizer in a model folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = load_tokenizer(folder)
        if self.tokenizer.eos_token_id is None:
            raise SetupError(
                "the tokenizer has no end token", where=str(folder), fix="set eos_token in its tokenizer_config.json"
            )
        self.end_ids = sorted({self.tokenizer.eos_token_id, *_configured_ends(folder)})
        self.pad_id = (
            self.tokenizer.eos_token_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        )
        dropped = (*self.end_ids, self.tokenizer.pad_token_id, self.tokenizer.bos_token_id)
        self.dropped = np.array([token for token in dropped if token is not None], dtype=np.int64)
        """Ids that stand for no text: ends, padding, beginning."""

    @cached_property
    def vocabulary(self) -> int:
        """Ids below this are tokens; a model's head may have more rows."""
        return int(max(self.tokenizer.get_vocab().values())) + 1

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes that each token stands for (`r1core.nn.alignment`)."""
        return pieces(self.tokenizer)

    @cached_property
    def marks(self) -> dict[str, str]:
        """The hashes of its tokenizer and of its chat template, by content."""
        return text_marks(self.tokenizer)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, up to where the answer begins."""
        if self.tokenizer.chat_template is None:
            raise RecipeError(
                "the model has no chat template, so nobody knows how to ask it",
                where=str(self.tokenizer.name_or_path),
                fix="add chat_template.jinja to its folder, or take the chat model of its family",
            )
        continues = messages[-1]["role"] == "assistant"
        try:
            text: str = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=not continues,
                continue_final_message=continues,
            )
        except ValueError as error:
            if continues:
                raise self._rewritten() from error
            raise
        return text

    def prompt_ids(self, messages: Sequence[Message]) -> Tokens:
        """The rendered prompt's tokens; without messages, the beginning-of-text token if the tokenizer has one."""
        if not messages:
            start = self.tokenizer.bos_token_id
            return np.array([] if start is None else [start], dtype=np.int64)
        return self._encode(self.render(messages))

    def prefilled(self, messages: Sequence[Message]) -> str:
        """The "<think>" that the template opened, or the start of the assistant's message as it was rendered."""
        if not messages:
            return ""
        rendered = self.render(messages)
        if messages[-1]["role"] != "assistant":
            opened = _OPENED.search(rendered)
            return opened[0] if opened else ""
        content = messages[-1]["content"]
        start = next((form for form in (content, content.strip()) if rendered.endswith(form)), None)
        if start is None:
            raise self._rewritten()
        return start

    def completion_ids(self, text: str) -> Tokens:
        """The tokens of an answer and the end token."""
        return np.append(self._encode(text), np.int64(self.tokenizer.eos_token_id))

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text as it stands, encoded in one batch."""
        encoded = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        return [np.array(ids, dtype=np.int64) for ids in encoded]

    def decode(self, ids: Tokens) -> str:
        """The text of completion tokens; end, padding and beginning tokens are left out, tags are kept."""
        kept = ids[~np.isin(ids, self.dropped)]
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _rewritten(self) -> SetupError:
        return SetupError(
            "the chat template rewrites the start of the answer, so the model cannot go on from it",
            where=str(self.folder),
            fix="use a chat template that keeps the last message of the assistant as it is",
        )

    def _encode(self, text: str) -> Tokens:
        valid = text.encode("utf-8", "replace").decode()  # half a surrogate pair would raise
        return np.array(self.tokenizer(valid, add_special_tokens=False)["input_ids"], dtype=np.int64)


def _configured_ends(folder: Path) -> list[int]:
    """The end tokens that the folder's generation config and config name."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        if (folder / name).exists():
            ends = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
            found += [ends] if isinstance(ends, int) else ends or []
    return found
