"""What a run's folder says of the run, read once and frozen: its plan, each stage as it stands, and the table.

Nothing here needs the run to have ended well: what is not there yet, or cannot be read, becomes a state or a
sentence of `said`, so that the page can show the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1core.errors import R1Error, RecipeError
from r1core.recipe.loader import load_yaml
from r1core.store import RunDirectory, StageRecord, read_json
from r1core.store.locks import is_gone

RESOLVED = "recipe.resolved.yaml"
KINDS = ("train", "sample", "review", "signals", "import", "evaluate")
"""The keys that make a stage what it is; a train stage may `evaluate`, too, so the order matters."""
LOG_LINES = 12
STOPPED = ("stopped on request", "interrupted")
"""How the error of a run begins that was asked to stop."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the plan. `state` is one of finished, stale, running, unfinished, waiting, damaged."""

    id: str
    name: str
    """What the recipe calls it: a variant goes by the stage that it is a variant of."""
    kind: str
    use: str
    body: Mapping[str, Any]
    folder: Path
    record: StageRecord | None
    state: str
    why: str = ""
    """Of a damaged or stale stage: what is wrong with it."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The stages that it reads."""
        return tuple(self.record.inputs) if self.record is not None else ()

    @property
    def base(self) -> str:
        """The stage whose model it starts from, or samples; "" where there is none."""
        model = self.body.get("model")
        return model if isinstance(model, str) else ""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Everything but the curves and the texts, which are read where they are drawn."""

    path: Path
    recipe: str
    profile: str
    description: str
    seed: int
    stages: Mapping[str, Stage]
    rows: Sequence[Mapping[str, Any]]
    """Those of `results.json`."""
    wall_s: float
    lock: Mapping[str, Any]
    outcome: str
    """finished, failed, interrupted, running, unfinished or not started."""
    error: str = ""
    said: tuple[str, ...] = field(default=())
    """What is missing, in sentences."""

    def of(self, kind: str) -> list[Stage]:
        """The stages of one kind, in the recipe's order."""
        return [stage for stage in self.stages.values() if stage.kind == kind]


def gather(path: Path, error: str | None = None) -> RunFacts:
    """Read a run. `error` is what its end was like, as an observer is told ("" for a good one); None when nobody says.

    Raises RecipeError for a folder that is no run.
    """
    document = _document(path)
    bodies: dict[str, dict[str, Any]] = document["stages"]
    owned = error is None and _has_owner(path)
    stages = {name: _stage(path, name, body, bodies, owned) for name, body in bodies.items()}
    stages = {name: _stale(stage, stages) for name, stage in stages.items()}
    results, unread = _json(path / "results.json")
    lock, unlocked = _json(path / "plugins.lock")
    return RunFacts(
        path=path,
        recipe=str(document.get("name", path.name)),
        profile=str(results.get("profile") or _profile(path)),
        description=str(document.get("description") or ""),
        seed=int(document.get("seed") or 0),
        stages=stages,
        rows=_rows(results.get("rows")),
        wall_s=_seconds(results.get("wall_s")),
        lock=lock,
        outcome=_outcome(stages, error, owned),
        error=error or "",
        said=tuple(filter(None, (unread, unlocked, *_of_stages(stages)))),
    )


def _document(path: Path) -> Mapping[str, Any]:
    """The resolved recipe. Raises RecipeError where there is none."""
    fix = "give the folder of a run, such as runs/<name>"
    if not (path / RESOLVED).is_file():
        raise RecipeError(f"there is no run: no {RESOLVED}", where=str(path), fix=fix)
    document = load_yaml(path / RESOLVED).data
    if not isinstance(document, Mapping) or not isinstance(document.get("stages"), Mapping):
        raise RecipeError("there are no stages in it", where=str(path / RESOLVED), fix=fix)
    return document


def _profile(path: Path) -> str:
    """The resolved recipe's own `profile` is none; its first line names the one that it was made with."""
    with (path / RESOLVED).open(encoding="utf-8") as file:
        found = re.search(r"profile (\S+?):", file.readline())
    return found[1] if found else ""


def _json(path: Path) -> tuple[dict[str, Any], str]:
    """The file's object, and what is wrong with it; empty where there is none."""
    if not path.is_file():
        return {}, ""
    try:
        found = read_json(path)
    except (R1Error, OSError, json.JSONDecodeError) as error:
        return {}, f"{path.name} cannot be read: {error}"
    return (found, "") if isinstance(found, dict) else ({}, f"{path.name} is not an object")


def _rows(found: Any) -> list[Mapping[str, Any]]:
    """The rows of the table that name a model and its metrics."""
    rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    return [row for row in rows if isinstance(row.get("model"), str) and isinstance(row.get("metrics"), Mapping)]


def _seconds(found: Any) -> float:
    return float(found) if isinstance(found, int | float) else 0.0


def _has_owner(path: Path) -> bool:
    """Whether the process that owns the folder lives: a look at the name in the lock, which is left alone."""
    try:
        name = (path / ".lock").read_text(errors="replace").strip()
    except OSError:
        return False
    return bool(name) and not is_gone(name)


def _stage(path: Path, name: str, body: Mapping[str, Any], bodies: Mapping[str, Any], owned: bool) -> Stage:
    directory = RunDirectory(path).stage(name)
    record, state, why = None, "waiting", ""
    try:
        record = directory.record()
    except (R1Error, OSError, ValueError) as error:
        state, why = "damaged", str(error).partition("\n")[0]
    if record is not None:
        state = record.status if record.status == "finished" or owned else "unfinished"
    kind = next((kind for kind in KINDS if body.get(kind) is not None), "stage")
    train = body.get("train")
    return Stage(
        id=name,
        name=str((body.get("variant") or {}).get("of", name)),
        kind=kind,
        use=str(train.get("use", "")) if isinstance(train, Mapping) else "",
        body=body,
        folder=directory.path,
        record=record,
        state=state,
        why=why,
    )


def _stale(stage: Stage, stages: Mapping[str, Stage]) -> Stage:
    """A finished stage whose inputs were made anew since."""
    if stage.state != "finished" or stage.record is None:
        return stage
    changed = [name for name, mark in stage.record.inputs.items() if mark != _fingerprint(stages.get(name))]
    if not changed:
        return stage
    values = {**vars(stage), "state": "stale", "why": f"made from another {', '.join(changed)} than lies here now"}
    return Stage(**values)


def _fingerprint(stage: Stage | None) -> str:
    return stage.record.fingerprint if stage is not None and stage.record is not None else ""


def _outcome(stages: Mapping[str, Stage], error: str | None, owned: bool) -> str:
    if error:
        return "interrupted" if error.startswith(STOPPED) else "failed"
    states = {stage.state for stage in stages.values()}
    if states == {"waiting"} and not owned:
        return "not started"
    if states <= {"finished", "stale"}:
        return "finished"
    return "running" if owned else "unfinished"


def _of_stages(stages: Mapping[str, Stage]) -> Iterator[str]:
    for state, words in (
        ("running", "at work"),
        ("unfinished", "begun and not finished"),
        ("waiting", "not started"),
        ("damaged", "damaged"),
        ("stale", "stale"),
    ):
        found = [stage.id for stage in stages.values() if stage.state == state]
        if found:
            yield f"{len(found)} of {len(stages)} stages {words}: {', '.join(found)}"


def inputs_of(stage: Stage, stages: Mapping[str, Stage]) -> list[str]:
    """The stages that it reads: from its record, else from every name in its part of the recipe."""
    known = stage.inputs or tuple(dict.fromkeys(name for name in _strings(stage.body) if name in stages))
    return [name for name in known if name in stages and name != stage.id]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner) if key != "variant" else ()
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def log_tail(stage: Stage) -> str:
    """The last lines that an unfinished stage has printed."""
    try:
        text = (stage.folder / "output.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])
