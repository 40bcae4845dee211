"""What a chat template does with thinking, found out by rendering, tokenising, decoding and parsing a conversation.

Templates differ where it hurts: some open `<think>` for the model (its text then begins within the thinking), some cut
everything up to `</think>` out of every answer, some close the block before the model has said a word. Engines and
trainers that do not know which of it happens lose the thinking without a word.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jinja2 import TemplateError

from r1core.errors import RecipeError, RefusedError
from r1core.types import Response

THOUGHT, ANSWER = "six sevens are forty-two", "42"
SAID = f"<think>\n{THOUGHT}\n</think>\n\n<answer>{ANSWER}</answer>"
QUESTION = "what is 6 times 7?"
OPENED = re.compile(r"<think>\s*\Z")
CLOSED = re.compile(r"<think>\s*</think>\s*\Z")
TAGS = ("<think>", "</think>")
Prefill = Literal["none", "opened", "closed"]


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """What was found out."""

    prefill: Prefill
    """What the prompt holds of the thinking: nothing, its opening tag, or a whole empty block."""
    prefilled: str
    """The opening as it is written, such as `<think>` and a newline."""
    kept: bool
    """Whether the thinking of the last answer comes back from its tokens."""
    history: Literal["dropped", "kept"]
    """What becomes of the thinking of earlier answers."""
    special_tags: bool
    """Whether the tags are special tokens, which decoders leave out unless told otherwise."""

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def look(tokenizer: Any, *, where: str) -> Thinking:
    """Raises RecipeError (exit 2) for a template that cannot make a prompt of a question."""
    asked = [{"role": "user", "content": QUESTION}]
    answered = [*asked, {"role": "assistant", "content": SAID}]
    try:
        prompt = _render(tokenizer, asked, prompt=True)
        whole = _render(tokenizer, answered, prompt=False)
        later = _render(tokenizer, [*answered, {"role": "user", "content": "and 7 times 7?"}], prompt=True)
    except (TemplateError, TypeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        fix = "mend the template, or give another one: --chat-template FILE"
        raise RecipeError(f"the chat template makes no prompt of a question: {said}", where=where, fix=fix) from error
    closed, opened = CLOSED.search(prompt), OPENED.search(prompt)
    return Thinking(
        prefill="closed" if closed else "opened" if opened else "none",
        prefilled=closed[0] if closed else opened[0] if opened else "",
        kept=_survives(tokenizer, whole),
        history="kept" if THOUGHT in later else "dropped",
        special_tags=_special(tokenizer),
    )


def require(found: Thinking, *, where: str) -> None:
    """Raises RefusedError (exit 4) for a template that loses the thinking, with the way out."""
    if found.kept and found.prefill != "closed":
        return
    said = (
        f"the chat template closes the thinking ({found.prefilled!r}) before the model has begun"
        if found.prefill == "closed"
        else "the chat template loses the thinking of the last answer: after a round trip through it there is none"
    )
    fix = (
        "give a template that writes the last answer as it is: --chat-template FILE (in Jinja: cut at '</think>' only "
        "`if not loop.last`); or export it so, for engines that only generate: --allow-lost-thinking"
    )
    raise RefusedError(said, where=where, fix=fix)


def _render(tokenizer: Any, turns: list[dict[str, str]], *, prompt: bool) -> str:
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
    return text


def _survives(tokenizer: Any, whole: str) -> bool:
    """Whether the last answer, to its tokens and back, still parses into the thinking and the answer."""
    if THOUGHT not in whole or not all(tag in whole for tag in TAGS):
        return False
    start = whole.rfind(TAGS[0], 0, whole.index(THOUGHT))
    parsed = Response.parse(_back(tokenizer, whole[start:]))
    return bool(parsed.thinking) and _same(parsed.thinking, _back(tokenizer, THOUGHT))


def _back(tokenizer: Any, text: str) -> str:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return decoded


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.split() == other.split()


def _special(tokenizer: Any) -> bool:
    ids = tokenizer("".join(TAGS), add_special_tokens=False)["input_ids"]
    left: str = tokenizer.decode(ids, skip_special_tokens=True)
    return not all(tag in left for tag in TAGS)
