"""What the suites of engines work on: a small model in a folder, some questions, and sequences of their answers."""

from __future__ import annotations

import functools
import hashlib
import io
import pickletools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1core.batching import weighted
from r1core.choices import Use
from r1core.components import Policy, ProblemSource
from r1core.plugins import PluginHost
from r1core.types import Floats, Problem, Tokens, TrainSequence

PROBLEMS = tuple(
    Problem(id=str(number), messages=({"role": "user", "content": question},), reference=answer)
    for number, (question, answer) in enumerate(
        (("What comes after 41?", "42"), ("What comes after 7?", "8"), ("Who wrote this?", "a person"))
    )
)
TEXTS = (
    "<think>One moment.</think><answer>42</answer>",
    "<think>So it is 8.</think><answer>8</answer>",
    "42 or so",
    "",
)
"""Answers in the forms that models give: with thinking, without, none."""


@functools.cache
def _host() -> PluginHost:
    return PluginHost.discover()


def component(kind: str, use: str | Mapping[str, Any], folder: Path) -> Any:
    """The component that a recipe would write so; `folder` is what `./file.py` is relative to."""
    chosen = Use.model_validate(use)
    cls = _host().find(kind, chosen.use, folder)
    return cls(cls.Config.model_validate(chosen.options))


def made(
    folder: Path, policy: Policy, source: ProblemSource, architecture: Mapping[str, Any], *, seed: int = 0
) -> Path:
    """A model of random weights in `folder`, with the source's tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    source.write_tokenizer(folder)
    policy.create(folder, architecture, seed=seed)
    return folder


def sequence(prompt: Tokens, completion: Tokens) -> TrainSequence:
    """A prompt and its answer, whose tokens count."""
    return TrainSequence(ids=np.concatenate([prompt, completion]).astype(np.int64), start=len(prompt), columns={})


def sequences(policy: Policy, texts: Sequence[str]) -> list[TrainSequence]:
    """Every text as an answer to each problem, weighted by the token mean."""
    return weighted(
        [
            sequence(policy.prompt_ids(problem.messages), policy.completion_ids(text))
            for problem in PROBLEMS
            for text in texts
        ],
        "token_mean",
    )


def apart(left: Sequence[Floats], right: Sequence[Floats]) -> float:
    """The largest difference of two lists of arrays of like shapes."""
    return max((float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True) if len(a)), default=0.0)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by its path in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The files that differ, or are missing in one."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def pickles(folder: Path) -> list[str]:
    """The files below a folder that running code must be trusted to read: pickles, and archives with one inside."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files if _is_pickle(path.read_bytes())]


def _is_pickle(content: bytes) -> bool:
    if zipfile.is_zipfile(io.BytesIO(content)):
        return any(name.endswith(".pkl") for name in zipfile.ZipFile(io.BytesIO(content)).namelist())
    if not content.startswith(b"\x80"):
        return False
    try:
        return all(True for _ in pickletools.genops(content))  # other files may begin so, but do not go on so
    except (ValueError, IndexError):
        return False
