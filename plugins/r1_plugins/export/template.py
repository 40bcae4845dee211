"""The tokenizer and the chat template that go with a model: copied as they are, or given anew.

`chat_template.jinja` is written for everyone, also where the template has been a line of tokenizer_config.json so far:
engines look for it there first. A template that is given takes the place of the old one in both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from r1_plugins.export.compare import TEXTS
from r1_plugins.export.source import Source, read_object
from r1_plugins.export.thinking import QUESTION, SAID
from r1core.errors import RecipeError
from r1core.nn import load_tokenizer

TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer_config.json"
LARGEST = 1_000_000
_auto: Any = AutoTokenizer


@dataclass(frozen=True, kw_only=True)
class Text:
    """A model's tokenizer, with the template that will be exported."""

    tokenizer: Any
    where: str

    @classmethod
    def open(cls, source: Source, *, template: Path | None) -> Text:
        """Raises RecipeError (exit 2) for a language model without a template."""
        try:
            tokenizer = load_tokenizer(source.text)
        except (OSError, ValueError, KeyError) as error:
            said = str(error).partition("\n")[0]
            fix = "tokenizer.json, or the tokenizer's own files, are expected"
            raise RecipeError(f"the tokenizer does not load: {said}", where=str(source.text), fix=fix) from error
        if template is not None and source.scores:
            raise RecipeError("a score model is not talked to", where="--chat-template", fix="leave the option out")
        if template is not None:
            tokenizer.chat_template = _read(template)
        if isinstance(tokenizer.chat_template, dict):
            tokenizer.chat_template = tokenizer.chat_template.get("default")
        if not tokenizer.chat_template and not source.scores:
            raise RecipeError(
                "the model has no chat template, so nobody can tell how to talk to it",
                where=str(source.text),
                fix="give the one that it was trained with: --chat-template FILE (Jinja, as in chat_template.jinja)",
            )
        return cls(tokenizer=tokenizer, where=str(template or source.text))

    def prompts(self) -> list[str]:
        """Conversations as text, where there is a template."""
        if not self.tokenizer.chat_template:
            return []
        asked = [{"role": "user", "content": QUESTION}]
        told = [*asked, {"role": "assistant", "content": SAID}]
        return [
            self.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True),
            self.tokenizer.apply_chat_template(told, tokenize=False),
        ]

    def is_what_auto_reads(self, folder: Path) -> bool:
        """Whether AutoTokenizer, as people call it on the new folder, reads text into the same tokens."""
        try:
            theirs = _auto.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError):
            return False
        texts = [*TEXTS, *self.prompts()]
        ours, auto = (each(texts, add_special_tokens=False)["input_ids"] for each in (self.tokenizer, theirs))
        return bool(ours == auto)


def put_template(text: Text, folder: Path, *, given: Path | None) -> None:
    """Write `chat_template.jinja` where the copied files have none, or another one."""
    template = text.tokenizer.chat_template
    if not template:
        return
    place = folder / TEMPLATE
    if given is not None or not place.is_file():
        place.write_text(template, encoding="utf-8", newline="\n")
    config = folder / TOKENIZER
    if given is not None and config.is_file() and "chat_template" in (old := read_object(config)):
        changed = {**old, "chat_template": template}
        config.write_text(json.dumps(changed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(template: Path) -> str:
    try:
        if template.stat().st_size > LARGEST:
            raise RecipeError("is too large for a template", where=str(template), fix="give the Jinja file")
        found = template.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot be read: {error}", where=str(template), fix="give the Jinja file") from error
    if not found.strip():
        raise RecipeError("is empty", where=str(template), fix="give the Jinja file")
    return found
