"""How to use an exported model, as the part of its card that people copy from: thinking and answer apart.

Written for the model at hand: where its template opens `<think>` the snippet puts it back, where the tags are special
tokens it keeps them, and where AutoTokenizer would read text into other tokens it names the class that does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1_plugins.export.facts import Facts


def use(facts: Facts) -> Iterator[str]:
    """The section."""
    yield "## How to use it"
    yield ""
    yield from _score(facts) if facts.scores else _chat(facts)
    yield ""


def _chat(facts: Facts) -> Iterator[str]:
    thinking = facts.thinking
    yield from ("```sh", "r1 chat .      # in this folder: thinking dimmed, apart from the answer")
    yield from ("r1 serve .     # an OpenAI-compatible endpoint: reasoning_content beside content", "```", "")
    reader = "AutoTokenizer" if facts.exact_tokenizer else "PreTrainedTokenizerFast"
    opened = thinking is not None and thinking.prefill == "opened"
    yield from ("```python", f"from transformers import AutoModelForCausalLM, {reader}", "")
    yield f'tokenizer = {reader}.from_pretrained(".")'
    yield 'model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")'
    yield 'turns = [{"role": "user", "content": "What is 6 times 7?"}]'
    yield "inputs = tokenizer.apply_chat_template("
    yield '    turns, add_generation_prompt=True, return_tensors="pt", return_dict=True'
    yield ")"
    length = min(1024, (facts.context or 2048) // 2)
    yield f"written = model.generate(**inputs, max_new_tokens={length})[0, inputs['input_ids'].shape[1] :]"
    yield "text = tokenizer.decode(written, skip_special_tokens=False)  # would drop tags that are special tokens"
    yield 'thinking, _, answer = text.partition("</think>")'
    yield 'thinking = thinking.replace("<think>", "").strip()' + (
        "   # the prompt has opened it already" if opened else ""
    )
    yield "for end in tokenizer.convert_ids_to_tokens(model.generation_config.eos_token_id):"
    yield '    answer = answer.replace(end, "")'
    yield 'print(answer.replace("<answer>", "").replace("</answer>", "").strip())'
    yield from ("```", "")
    yield "`generation_config.json` samples at temperature 0.6 and top-p 0.95, as R1 was measured; greedy decoding of"
    yield "reasoning models tends to repeat itself."
    yield ""
    yield from _template(facts)


def _template(facts: Facts) -> Iterator[str]:
    thinking = facts.thinking
    if thinking is None:
        return
    yield "What the chat template does:"
    yield ""
    if thinking.prefill == "opened":
        yield f"- The prompt ends in `{thinking.prefilled.strip()}`, so what the model writes has no opening tag."
        yield "  Servers need a parser that knows (`--reasoning-parser deepseek_r1` in vLLM); rewards and filters"
        yield "  must put it back before they look."
    elif thinking.prefill == "closed":
        yield "- The prompt closes the thinking before the model has begun, so there is none."
    else:
        yield "- The prompt does not open `<think>`: the model writes the tag itself."
    if thinking.history == "dropped":
        yield "- Thinking of earlier answers is left out of the prompt, as R1 was trained."
    else:
        yield "- Thinking of earlier answers stays in the prompt. Leave it out, as `r1 chat` and `r1 serve` do."
    if not thinking.kept:
        yield "- It drops the thinking of the last answer, too: do not train on what it renders."
    if thinking.special_tags:
        yield "- The tags are special tokens: whoever decodes with `skip_special_tokens=True` loses them."
    if not facts.exact_tokenizer:
        yield "- `AutoTokenizer` reads text into other tokens than the model knows: use the class of the example."


def _score(facts: Facts) -> Iterator[str]:
    reader = "AutoTokenizer" if facts.exact_tokenizer else "PreTrainedTokenizerFast"
    yield from ("```python", f"from transformers import AutoModelForSequenceClassification, {reader}", "")
    yield f'tokenizer = {reader}.from_pretrained(".")'
    yield 'model = AutoModelForSequenceClassification.from_pretrained(".", dtype="auto")'
    yield 'turns = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": "an answer"}]'
    yield "text = tokenizer.apply_chat_template(turns, tokenize=False)"
    yield 'inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")'
    yield "print(float(model(input_ids=inputs['input_ids']).logits[0, 0]))   # higher is better"
    yield "```"
    yield ""
    yield "It is read off the last token. In a recipe: reward `{use: reward_model, model: <stage that imports it>}`."
