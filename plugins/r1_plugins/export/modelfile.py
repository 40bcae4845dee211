"""An Ollama Modelfile, for chat templates whose form is known: each family is pieces of text around the turns.

Which family a template is of is not read off a name. Its pieces are put together for probe conversations and held
against what the Jinja template renders for the same ones, letter for letter; only a family that agrees on all of them
gets its Go template. Tools and images are in none of them.
"""

# ruff: noqa: RUF001

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Turns = Sequence[Mapping[str, str]]
THINK = ("<think>", "</think>")
TEMPERATURE, TOP_P = 0.6, 0.95


@dataclass(frozen=True, kw_only=True)
class Family:
    """What stands around the turns of a conversation."""

    name: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    system: tuple[str, str] | None = None
    """None: there is no place for one."""
    begin: str = ""
    """The beginning of the text, which llama.cpp writes itself."""
    default_system: str = ""
    """What the system says where the conversation has none."""
    prefill: str = ""

    def render(self, turns: Turns) -> str:
        """The prompt for the next answer, with the thinking of earlier ones left out."""
        told = [turn for turn in turns if turn["role"] == "system"]
        text = self.begin
        if self.system is not None and (told or self.default_system):
            content = told[0]["content"] if told else self.default_system
            text += f"{self.system[0]}{content}{self.system[1]}"
        for turn in turns:
            if turn["role"] == "user":
                text += f"{self.user[0]}{turn['content']}{self.user[1]}"
            elif turn["role"] == "assistant":
                text += f"{self.assistant[0]}{turn['content']}{self.assistant[1]}"
        return f"{text}{self.assistant[0]}{self.prefill}"

    def go(self) -> str:
        """The same as a Go template."""
        system = ""
        if self.system is not None:
            otherwise = f"{{{{ else }}}}{_whole(self.system, self.default_system)}" if self.default_system else ""
            system = f"{{{{ if .System }}}}{_whole(self.system, '{{ .System }}')}{otherwise}{{{{ end }}}}"
        user = _whole(self.user, "{{ .Content }}")
        assistant = _whole(self.assistant, "{{ .Content }}")
        turns = (
            f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}'
            f'{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ end }}}}{{{{ end }}}}'
        )
        return f"{system}{turns}{self.assistant[0]}{self.prefill}"


def _whole(around: tuple[str, str], content: str) -> str:
    return f"{around[0]}{content}{around[1]}"


FAMILIES = (
    Family(name="the tiny world's", user=("<|user|> ", ""), assistant=("<|assistant|>", "<|end|>")),
    Family(
        name="ChatML, as Qwen's",
        system=("<|im_start|>system\n", "<|im_end|>\n"),
        user=("<|im_start|>user\n", "<|im_end|>\n"),
        assistant=("<|im_start|>assistant\n", "<|im_end|>\n"),
    ),
    Family(
        name="DeepSeek-R1's",
        system=("", ""),
        user=("<｜User｜>", ""),
        assistant=("<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    ),
)


def family_of(tokenizer: Any) -> Family | None:
    """The family whose pieces give what the template renders; None where none does."""
    begin = tokenizer.bos_token or ""
    for base in FAMILIES:
        for found in _variants(base, tokenizer, begin):
            if all(found.render(_forgotten(turns)) == _rendered(tokenizer, turns) for turns in _probes(found)):
                return found
    return None


def _variants(base: Family, tokenizer: Any, begin: str) -> list[Family]:
    """The family with what this template adds: its beginning, its default system, an opened tag."""
    rendered = _rendered(tokenizer, [{"role": "user", "content": "hm"}]) or ""
    start = begin if begin and rendered.startswith(begin) else ""
    before, opened, _ = rendered.removeprefix(start).partition(base.user[0])
    head, tail = base.system or ("", "")
    default = before.removeprefix(head).removesuffix(tail) if opened and before else ""
    prefill = rendered[rendered.rfind(THINK[0]) :] if rendered.rstrip().endswith(THINK[0]) else ""
    if default and base.system is None:
        return []
    return [replace(base, begin=start, default_system=default, prefill=prefill)]


def _probes(family: Family) -> list[list[dict[str, str]]]:
    asked = {"role": "user", "content": "what is 6 times 7?"}
    said = {"role": "assistant", "content": "<think>\nsix sevens\n</think>\n\n42"}
    plain = {"role": "assistant", "content": "42, of course"}
    more = {"role": "user", "content": "and 7 times 7?"}
    probes = [[asked], [asked, plain, more], [asked, plain, more, plain, asked]]
    if _strips(family):
        probes.append([asked, said, more])
    if family.system is not None:
        system = {"role": "system", "content": "be brief"}
        probes += [[system, asked], [system, asked, plain, more]]
    return probes


def _strips(family: Family) -> bool:
    return not family.name.startswith("ChatML")  # Qwen2.5 leaves the history as it is, Qwen3 does not


def _forgotten(turns: Turns) -> list[dict[str, str]]:
    """As those who hand a history over should: without the thinking of earlier answers."""
    kept = []
    for turn in turns:
        content = turn["content"]
        if turn["role"] == "assistant" and THINK[1] in content:
            content = content.rpartition(THINK[1])[2]
        kept.append({**turn, "content": content})
    return kept


def _rendered(tokenizer: Any, turns: Turns) -> str | None:
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError, ValueError):
        return None
    return text


def modelfile(folder: Path, weights: str) -> tuple[str, str] | None:
    """(family, text), for an exported folder; None for a template of no known family, or one that cannot be quoted."""
    from r1core.nn import load_tokenizer  # it imports torch, without which a command still says what it lacks

    tokenizer = load_tokenizer(folder)
    family = family_of(tokenizer)
    ends = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    stops = [tokenizer.convert_ids_to_tokens(end) for end in (ends if isinstance(ends, list) else [ends])]
    if family is None or '"""' in family.go() or any('"' in stop or "\n" in stop for stop in stops):
        return None
    lines = ["# Hand earlier answers over without their thinking; llama.cpp writes the beginning of the text itself."]
    lines += [f"FROM ./{weights}", f'TEMPLATE """{family.go()}"""']
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    lines += [f"PARAMETER temperature {TEMPERATURE}", f"PARAMETER top_p {TOP_P}"]
    return family.name, "\n".join(lines) + "\n"
