"""`python:`, a reward in its own interpreter, for dependencies that are heavy or clash with ours.

Nothing about scoring changes there: the same worker, deadlines and outcomes; only how it is started
does. It gets our r1core (boot.py says why), the environment's packages, and no code but that
which the plan's fingerprint speaks of (source.py).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1core.hookspecs import PROJECT
from r1core.plugins import Loaded
from r1core.recipe.elsewhere import Elsewhere
from r1core.scoring import boot
from r1core.scoring.pool import START_TIMEOUT_S
from r1core.scoring.process import Launch, safe_environment
from r1core.scoring.source import Source

WORKER = "r1core.scoring.server"
LOOK = "r1core.scoring.look"


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """The interpreter that a reward runs in, and what it is lent from here."""

    python: str
    source: Source
    lent: Mapping[str, str]
    """Top-level package -> the folder that holds it: r1core, and the one that a built-in is from."""

    @classmethod
    def of(cls, elsewhere: Elsewhere) -> Interpreter:
        """That of a reward of the plan."""
        loaded = elsewhere.loaded
        source = Source(loaded.module, loaded.source_hash, loaded.distribution, loaded.version)
        return cls(python=str(elsewhere.environment.interpreter), source=source, lent=_lent(loaded))


def launch(interpreters: Sequence[Interpreter], module: str = WORKER) -> Launch:
    """How to start a process that serves rewards of one interpreter."""
    python = Path(interpreters[0].python)
    lent = {name: folder for each in interpreters for name, folder in each.lent.items()}
    kept = safe_environment()
    path = os.pathsep.join(filter(None, [str(python.parent), kept.get("PATH", os.defpath)]))
    own = {"PATH": path, "VIRTUAL_ENV": str(python.parent.parent), "PYTHONNOUSERSITE": "1"}
    command = (str(python), "-P", boot.__file__, json.dumps(lent), module)
    return Launch(command=command, environment={**kept, **own}, interpreter=str(python))


def _lent(loaded: Loaded) -> dict[str, str]:
    """What is built in is part of r1core, so it comes from here, too."""
    is_built_in = loaded.distribution == PROJECT and not loaded.local
    names = [PROJECT, *([loaded.module.partition(".")[0]] if is_built_in else [])]
    return {name: str(_folder_of(name)) for name in names}


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None, "it has been imported"
    assert spec.origin is not None, "it is no namespace"
    file = Path(spec.origin)
    return file.parent.parent if spec.submodule_search_locations else file.parent


# --- before a run --------------------------------------------------------------------------------


def look(rewards: Sequence[Elsewhere]) -> dict[str, list[str]]:
    """Start each interpreter once and ask it: reward -> what keeps it from running there, for rewards that lack nothing
    else."""
    by_python: dict[str, dict[str, Elsewhere]] = {}
    for each in rewards:
        by_python.setdefault(str(each.environment.interpreter), {})[each.loaded.name] = each
    found: dict[str, list[str]] = {}
    for python, asked in by_python.items():
        for name, finding in _ask(list(asked.values())):
            found.setdefault(name, []).append(f"in {python}: {finding}")
    return found


def _ask(rewards: Sequence[Elsewhere]) -> list[tuple[str, str]]:
    interpreters = [Interpreter.of(each) for each in rewards]
    entries = [[r.loaded.name, r.loaded.target, i.source] for r, i in zip(rewards, interpreters, strict=True)]
    question = json.dumps({"parent": os.getpid(), "rewards": entries}).encode() + b"\n"
    how = launch(interpreters, LOOK)
    try:
        reply = _reply(how, question)
        return [(str(name), str(finding)) for name, finding in json.loads(reply)]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return [(each.loaded.name, f"it does not start: {error}") for each in rewards]


def _reply(how: Launch, question: bytes) -> bytes:
    """What it answers; ValueError, with the last line that it said, when it does not."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        how.command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=how.environment
    ) as process:
        try:
            reply, errors = process.communicate(question, timeout=START_TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode or not reply:
        said = errors.decode(errors="replace").strip().splitlines()
        raise ValueError(f"exit code {process.returncode}" + (f", {said[-1]}" if said else ""))
    return reply
