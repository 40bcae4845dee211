"""One conversation with one model: plain `model.generate` with a streamer, on whatever device there is.

Imports torch, so the command imports it only when a model is there. The folder is read without
remote code and from safetensors alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from r1_plugins.chat.shown import Shown
from r1core.errors import RecipeError, SetupError
from r1core.reasoning_stream import Reasoning, without_thinking

try:
    import torch
    import transformers

    from r1core.nn import load_lm
except ImportError as error:
    raise SetupError(
        f"chat needs torch and transformers: {error}", where="r1 chat", fix="pip install 'r1core[train]'"
    ) from error

OPENED = re.compile(r"<think>\s*$")


class Talk:
    """The model, its tokenizer and the history, in which past thinking is left out."""

    def __init__(self, folder: Path, *, temperature: float, max_new_tokens: int) -> None:
        self.history: list[dict[str, str]] = []
        self._folder = folder
        self._temperature = temperature
        self._max_new_tokens = max_new_tokens
        self._tokenizer, self._model = _load(folder)
        self._context: int = getattr(self._model.config, "max_position_embeddings", None) or 2**31

    def forget(self) -> None:
        """Start a new conversation."""
        self.history.clear()

    def ask(self, question: str) -> str:
        """Stream the reply to stdout and remember it; returns the answer, without its thinking.

        Raises RecipeError where the question alone fills the model's context.
        """
        turns = [*self.history, {"role": "user", "content": question}]
        rendered, prompt = self._prompt(turns)
        while len(turns) > 1 and prompt.shape[1] > self._context // 2:
            turns = turns[2:]
            rendered, prompt = self._prompt(turns)
        room = min(self._max_new_tokens, self._context - prompt.shape[1])
        if room < 1:
            what = f"the question is {prompt.shape[1]} tokens long, the model reads {self._context} with its answer"
            raise RecipeError(what, where=str(self._folder), fix="ask a shorter question")
        printer = _Printer(
            self._tokenizer, _stop_ids(self._model, self._tokenizer), thinking=bool(OPENED.search(rendered))
        )
        self._model.generate(
            prompt, attention_mask=torch.ones_like(prompt), streamer=printer, generation_config=self._settings(room)
        )
        self.history = without_thinking([*turns, {"role": "assistant", "content": printer.text}])
        return self.history[-1]["content"]

    def _prompt(self, turns: list[dict[str, str]]) -> tuple[str, Any]:
        """The turns as text, and their tokens, (1, N)."""
        rendered = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ids = self._tokenizer(rendered, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return rendered, ids.to(self._model.device)

    def _settings(self, max_new_tokens: int) -> Any:
        sampled = {"temperature": self._temperature, "top_k": 0} if self._temperature > 0 else {}
        stops = _stop_ids(self._model, self._tokenizer)
        return transformers.GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=self._temperature > 0,
            eos_token_id=stops,
            pad_token_id=self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else stops[0],
            **sampled,
        )


class _Printer(transformers.TextStreamer):
    """Prints as tokens arrive. Stop tokens are not shown. `text` is all of it, an opened tag included."""

    def __init__(self, tokenizer: Any, stop_ids: list[int], *, thinking: bool) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=False)
        self.text = "<think>" if thinking else ""
        self._reasoning = Reasoning(thinking=thinking)
        self._stops = [tokenizer.decode([stop]) for stop in stop_ids]
        self._shown = Shown()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called by transformers with text that will not change any more."""
        for stop in self._stops:
            text = text.removesuffix(stop) if stream_end else text
        self.text += text
        self._shown.add(self._reasoning.feed(text))
        if stream_end:
            self._shown.add(self._reasoning.end())
            self._shown.end()


def _load(folder: Path) -> tuple[Any, Any]:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # AutoTokenizer puts a model family's splitting rules in place of those in tokenizer.json
    exact = (folder / "tokenizer.json").is_file()
    reader: Any = transformers.PreTrainedTokenizerFast if exact else transformers.AutoTokenizer
    try:
        tokenizer = reader.from_pretrained(folder, local_files_only=True)
        kept: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).dtype
        model = load_lm(folder, dtype=kept or torch.float32)
    except (OSError, ValueError) as error:
        fix = "a causal language model is expected: config.json, *.safetensors and tokenizer files"
        raise RecipeError(f"the model does not load: {error}", where=str(folder), fix=fix) from error
    if tokenizer.chat_template is None:
        fix = "add chat_template.jinja to the folder"
        raise RecipeError("its tokenizer has no chat template", where=str(folder), fix=fix)
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return tokenizer, model.to(device).eval()


def _stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every id that ends an answer: the tokenizer's and the generation config's."""
    configured = model.generation_config.eos_token_id
    known = configured if isinstance(configured, list) else [configured]
    return sorted({stop for stop in (*known, tokenizer.eos_token_id) if stop is not None})
