"""What `r1 export` does, in order: refuse what cannot come to anything, export, then convert and upload as asked.

The folder is finished before anything leaves it: when the converter or the hub fails, the export is there, and the same
folder can be converted or uploaded later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from r1_plugins.export.gguf import Converter, convert, find_converter
from r1_plugins.export.hub import check_hub, push
from r1_plugins.export.source import find_source
from r1core.errors import RecipeError, SetupError
from r1core.untrusted import untrusted

if TYPE_CHECKING:
    from r1_plugins.export.facts import Facts


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command line."""

    model: Path
    out: Path
    dtype: str | None
    base: Path | None
    license: str | None
    template: Path | None
    lost_thinking: bool
    shard_bytes: int
    force: bool
    gguf: str | None
    converter: Path | None
    converter_timeout_s: float
    hub: str | None
    public: bool


def carry_out(asked: Asked) -> None:
    """Raises what stopped it."""
    source = find_source(asked.model, asked.base)
    converter = _converter(asked, scores=source.scores)
    if asked.public and asked.hub is None:
        raise RecipeError("--public goes with --push-to-hub", where="--public", fix="name where: --push-to-hub NAME")
    if asked.hub is not None:
        check_hub(asked.hub)
    try:
        from r1_plugins.export.making import Wanted, export
    except ImportError as error:
        fix = "pip install 'r1core[train]'"
        raise SetupError(f"export needs torch and transformers: {error}", where="r1 export", fix=fix) from error
    wanted = Wanted(
        source=source,
        out=asked.out,
        dtype=asked.dtype,
        shard_bytes=asked.shard_bytes,
        template=asked.template,
        license=asked.license,
        force=asked.force,
        lost_thinking=asked.lost_thinking,
    )
    facts = export(wanted, lambda line: click.echo(untrusted(line), err=True))
    for line in _told(facts, asked.out):
        click.echo(untrusted(line))
    if converter is not None and asked.gguf is not None:
        for line in convert(converter, asked.out, asked.gguf, timeout_s=asked.converter_timeout_s):
            click.echo(untrusted(line))
    if asked.hub is not None:
        click.echo(untrusted(push(asked.out, asked.hub, public=asked.public)))


def _converter(asked: Asked, *, scores: bool) -> Converter | None:
    if asked.gguf is None:
        if asked.converter is not None:
            raise RecipeError("--converter goes with --gguf", where="--converter", fix="add --gguf")
        return None
    if scores:
        fix = "leave --gguf out: a reward model is served by transformers or vLLM"
        raise RecipeError("a score model writes no answers, so there is nothing to chat with", where="--gguf", fix=fix)
    return find_converter(asked.converter)


def _told(facts: Facts, out: Path) -> Iterator[str]:
    found = facts.reloaded
    yield f"exported {facts.name} to {out}: {facts.parameters:,} parameters in {facts.dtype}"
    if facts.merged is not None:
        merged = facts.merged
        yield f"  merged: logits before and after differ by at most {merged.max_difference:.2g} ({merged.relative:.1g})"
    yield (
        f"  loaded again: logits differ by at most {found.max_difference:.2g} ({found.relative:.1g} of the largest; "
        f"bound {found.bound:g}), {found.same_argmax:.1%} of {found.positions} positions say the same"
    )
    if facts.ends:
        yield f"  answers end at {', '.join(f'{text} ({token})' for token, (text, _) in facts.ends.items())}"
    seen = facts.thinking
    if seen is not None:
        opens = {
            "none": "the model writes <think> itself",
            "opened": "the prompt opens <think>",
            "closed": "the prompt closes the thinking",
        }[seen.prefill]
        kept = "comes back whole" if seen.kept else "is LOST"
        yield f"  template: {opens}; the last answer's thinking {kept}; that of earlier answers is {seen.history}"
        if seen.special_tags:
            yield "  the think tags are special tokens: decode with skip_special_tokens=False, or they are lost"
    if not facts.exact_tokenizer:
        yield "  AutoTokenizer reads text into other tokens than the model knows: load it with PreTrainedTokenizerFast"
    yield f"  licence: {facts.licence.id}" + ("" if facts.licence.known else " (say one with --license)")
