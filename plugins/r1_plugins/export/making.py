"""An export from start to end: look at the source, fill a folder beside its place, load it again, describe it, rename.

Every check that needs no weights comes before the first weight is read, and the folder gets its name only when the
model in it has been loaded once more and says what its source says. Memory: one model at a time, one shard in writing.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1_plugins.export import compare, thinking, weights
from r1_plugins.export.adapter import merge
from r1_plugins.export.card import card_of
from r1_plugins.export.compare import Difference
from r1_plugins.export.ends import GENERATION, end_tokens, generation_config
from r1_plugins.export.facts import Facts
from r1_plugins.export.licence import CARD, base_name, find_licence, front_matter
from r1_plugins.export.lineage import Lineage, hub_name, read_lineage
from r1_plugins.export.place import PROVENANCE, check_place, check_space, staged
from r1_plugins.export.provenance import provenance
from r1_plugins.export.source import CONFIG, Source, read_object
from r1_plugins.export.template import Text, put_template
from r1core.errors import RecipeError
from r1core.nn import copy_tokenizer
from r1core.store import mark_folder, write_json, write_text
from r1core.types import Floats

CONTEXT = 4096
"""Tokens of a text that are compared, at most."""
BESIDES = 50_000_000
"""Bytes that everything but the weights takes, about."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    source: Source
    out: Path
    dtype: str | None
    shard_bytes: int
    template: Path | None
    license: str | None
    force: bool
    lost_thinking: bool


def export(wanted: Wanted, note: Callable[[str], None]) -> Facts:
    """Write the folder. Raises RecipeError, SetupError, RefusedError or NumericsError, and then nothing is there."""
    source = wanted.source
    folders = [path for path in (source.folder, source.adapter, source.run) if path is not None]
    check_place(wanted.out, folders, force=wanted.force)
    config = source.config
    if wanted.dtype is not None and config.get("quantization_config"):
        raise RecipeError("the model is quantised", where=str(source.folder), fix="leave --dtype out")
    where = weights.where_weights_are(source.folder)
    check_space(wanted.out, sum(weights.sizes_of(where, wanted.dtype).values()) + BESIDES)
    text = Text.open(source, template=wanted.template)
    seen = None if source.scores else thinking.look(text.tokenizer, where=text.where)
    if seen is not None and not wanted.lost_thinking:
        thinking.require(seen, where=text.where)
    lineage = read_lineage(source.run, source.stage) if source.run is not None else None
    with staged(wanted.out) as staging:
        return _fill(wanted, staging, where, text, seen, lineage, note)


def _fill(
    wanted: Wanted,
    staging: Path,
    where: Mapping[str, Path],
    text: Text,
    seen: thinking.Thinking | None,
    lineage: Lineage | None,
    note: Callable[[str], None],
) -> Facts:
    source, config = wanted.source, wanted.source.config
    copy_tokenizer(source.text, staging)
    put_template(text, staging, given=wanted.template)
    source_dtype = weights.format_of(where)
    dtype = wanted.dtype or source_dtype
    prompts = _prompts(text, config, where)
    note(f"writing {len(where)} tensors in {dtype}")
    before, merged = _write(wanted, staging, where, prompts, dtype)
    _write_config(source.folder / CONFIG, staging, dtype if dtype != source_dtype else None)
    ends = {} if source.scores else end_tokens(text.tokenizer, source.folder, chat=True)
    if ends:
        old = source.folder / GENERATION
        vocabulary = max(_vocabulary(config), len(text.tokenizer))
        made = generation_config(read_object(old) if old.is_file() else {}, ends, text.tokenizer, vocabulary=vocabulary)
        write_json(staging / GENERATION, made)
    note("loading it again")
    reloaded = _reload(wanted, staging, prompts, before, source_dtype, dtype)
    licence = find_licence(wanted.license, _licence_folders(source, lineage))
    write_text(staging / "LICENSE", licence.note(source.name))
    for path in licence.texts:
        shutil.copyfile(path, staging / base_name(path))
    facts = Facts(
        name=source.name,
        scores=source.scores,
        lineage=lineage,
        base_model=_base_model(source, lineage),
        licence=licence,
        architecture=str((config.get("architectures") or [config.get("model_type", "?")])[0]),
        context=_context(config),
        parameters=weights.parameters_of(where),
        dtype=dtype,
        source_dtype=source_dtype,
        ends={token: (text.tokenizer.convert_ids_to_tokens(token), said) for token, said in ends.items()},
        thinking=seen,
        exact_tokenizer=text.is_what_auto_reads(staging),
        merged=merged,
        reloaded=reloaded,
        files={name: {"size": mark.size, "sha256": mark.sha256} for name, mark in mark_folder(staging).items()},
        versions=_versions(),
    )
    write_text(staging / CARD, card_of(facts))
    write_json(staging / PROVENANCE, provenance(facts))
    return facts


def _vocabulary(config: Mapping[str, Any]) -> int:
    """Rows of the model's head; 0 where its config does not say."""
    return int((config.get("text_config") or config).get("vocab_size") or 0)


def _prompts(text: Text, config: Mapping[str, Any], where: Mapping[str, Path]) -> list[list[int]]:
    longest = min(_context(config) or CONTEXT, CONTEXT)
    vocabulary = _vocabulary(config) or 2**31
    return compare.token_ids(text.tokenizer, text.prompts(), longest=longest, vocabulary=vocabulary)


def _write(
    wanted: Wanted, staging: Path, where: Mapping[str, Path], prompts: list[list[int]], dtype: str
) -> tuple[list[Floats] | None, Difference | None]:
    """The weights; of a merged adapter also its logits in float32."""
    source = wanted.source
    if source.adapter is None:
        weights.write_weights(where, staging, dtype=wanted.dtype, shard_bytes=wanted.shard_bytes)
        return None, None
    changed, logits, found = merge(source.folder, source.adapter, prompts)
    weights.write_weights(where, staging, dtype=dtype, shard_bytes=wanted.shard_bytes, merged=changed)
    return logits, found


def _reload(
    wanted: Wanted, staging: Path, prompts: list[list[int]], before: list[Floats] | None, source_dtype: str, dtype: str
) -> Difference:
    """Plain transformers on the new folder, held against the source."""
    source = wanted.source
    if before is not None:
        computed = "float32"
    else:
        computed = compare.wider(source_dtype, dtype)
        before = compare.logits_of(compare.load(source.folder, scores=source.scores, dtype=computed), prompts)
    after = compare.logits_of(compare.load(staging, scores=source.scores, dtype=computed), prompts)
    rounded = dtype if dtype != source_dtype or source.adapter is not None else "float32"
    found = compare.difference(before, after, format_=rounded, computed_in=computed)
    compare.require(
        found,
        what="the exported model is not the one that it was made from",
        where=str(wanted.out),
        fix="export it as it is: leave --dtype out" if rounded != "float32" else "nothing was written; report this",
    )
    return found


def _write_config(config: Path, staging: Path, dtype: str | None) -> None:
    if dtype is None:
        shutil.copyfile(config, staging / CONFIG)
        return
    changed = {key: value for key, value in read_object(config).items() if key != "torch_dtype"}
    (staging / CONFIG).write_text(json.dumps({**changed, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")


def _context(config: Mapping[str, Any]) -> int | None:
    found = (config.get("text_config") or config).get("max_position_embeddings")
    return found if isinstance(found, int) else None


def _base_model(source: Source, lineage: Lineage | None) -> str:
    if lineage is not None:
        return hub_name(lineage.start)
    card = front_matter(source.folder / CARD).get("base_model")
    said = source.base_name or (card if isinstance(card, str) else "") or str(source.folder)
    return hub_name(said)


def _licence_folders(source: Source, lineage: Lineage | None) -> list[Path]:
    started = lineage.start_folder if lineage is not None else None
    return [path for path in (source.adapter, source.folder, started) if path is not None]


def _versions() -> dict[str, str]:
    names = ("r1core", "torch", "transformers", "safetensors", "peft")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}
