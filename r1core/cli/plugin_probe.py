"""Imports a plugin in a process of its own, and tells what came of it: what `r1 check` knows of code.

    python -m r1core.cli.plugin_probe '{"search": [...], "providers": [[name, target], ...]}'

A process, because modules once imported stay, and because a plugin may hang, print or exit. It does
what the plugin host does, importing and asking what is registered, and no more.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from r1core.cli.options_table import options_table
from r1core.components import CONTRACTS, Component, Reward
from r1core.plugin_host import loading
from r1core.plugin_host.discovery import Provider
from r1core.plugin_host.hashing import class_file

TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Found:
    """One component as its class describes itself. `undescribed` are options without a description."""

    kind: str
    name: str
    cls: str
    file: str
    documented: bool
    undescribed: Sequence[str]
    table: str
    lowest: float = 0.0
    plugin: str = ""

    @property
    def called(self) -> str:
        """`reward chem/smiles`."""
        return f"{self.kind} {self.plugin}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What importing one entry point showed; `failure` is a sentence, "" when it loads."""

    failure: str = ""
    file: str = ""
    hooks: int = 0
    components: Sequence[Found] = ()
    heavy: Sequence[str] = field(default=())


def probe(name: str, target: str, search: Sequence[Path]) -> Probed:
    """Import one entry point in a fresh process, with `search` before everything else."""
    argument = json.dumps({"search": [str(place) for place in search], "name": name, "target": target})
    command = [sys.executable, "-P", "-m", __name__, argument]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Probed(failure=f"its import was not done after {TIMEOUT_S} s")
    try:
        told = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Probed(failure=f"its import ended the process with exit code {done.returncode}: {last}")
    return Probed(**{**told, "components": [Found(**{**each, "plugin": name}) for each in told["components"]]})


def _main(asked: Mapping[str, object]) -> Probed:
    search, name, target = asked["search"], str(asked["name"]), str(asked["target"])
    assert isinstance(search, list), "written by probe()"
    sys.path[:0] = search
    importlib.invalidate_caches()
    manager = loading.new_manager()
    loaded = loading.load(Provider(name=name, target=target, distribution="", version="0"), manager)
    heavy = [each for each in loading.HEAVY if each in sys.modules]
    if isinstance(loaded, loading.Failure):
        place = f" ({loaded.where})" if loaded.where else ""
        return Probed(failure=f"{loaded.detail}{place}", heavy=heavy)
    hooks = [caller for caller in manager.get_hookcallers(loaded.hooks) or () if caller.name.startswith("r1_")]
    module = sys.modules[target.partition(":")[0]]
    return Probed(
        file=str(module.__file__ or ""),
        hooks=len(hooks),
        components=[_found(kind, name, cls) for (kind, name), cls in loaded.components.items()],
        heavy=heavy,
    )


def _found(kind: str, name: str, cls: type[Component]) -> Found:
    fields = cls.Config.model_fields
    return Found(
        kind=kind,
        name=name,
        cls=cls.__qualname__,
        file=class_file(cls),
        documented=bool(cls.__doc__) and cls.__doc__ != CONTRACTS[kind].__doc__,
        undescribed=[key for key, option in fields.items() if not option.description],
        table=options_table(cls.Config),
        lowest=cls.lowest if issubclass(cls, Reward) else 0.0,
    )


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plugin prints is not the answer
    print(json.dumps(asdict(_main(json.loads(sys.argv[1])))), file=answer, flush=True)
