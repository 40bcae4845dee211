"""All that the card and the provenance say of one export, gathered before either is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1_plugins.export.compare import Difference
from r1_plugins.export.licence import Licence
from r1_plugins.export.lineage import Lineage
from r1_plugins.export.thinking import Thinking


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One export."""

    name: str
    scores: bool
    """Whether the model scores answers, and writes none."""
    lineage: Lineage | None
    """None for a folder that lies in no run."""
    base_model: str
    """The name on the hub of what it began from; empty where there is none."""
    licence: Licence
    architecture: str
    context: int | None
    parameters: int
    dtype: str
    source_dtype: str
    ends: Mapping[int, tuple[str, list[str]]]
    """Each end token -> its text, and who says that it ends an answer."""
    thinking: Thinking | None
    exact_tokenizer: bool
    """Whether AutoTokenizer reads text into the tokens that the model was trained on."""
    merged: Difference | None
    reloaded: Difference
    files: Mapping[str, Mapping[str, Any]]
    """Size and sha256 of every file, by name."""
    versions: Mapping[str, str]
