"""Where a model comes from, read off its run: every stage on the way, what it was given, and what it measured.

Inputs come first. A stage is told by its record (`stage.json`), a dataset also by its `report.json`; none of it holds a
place of the machine that it was made on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from r1core.comparison.finished import RESULTS, FinishedRun
from r1core.store import RunDirectory, StageRecord, read_json

INTERVAL = "_ci95"
ERRORS = "_se_"
ALONE = "/k=1"
"""pass@1 under its other name."""
HUB_NAME = 2
"""Parts of a name on the hub: owner and model."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage on the way to the model."""

    id: str
    kind: str
    record: StageRecord
    report: Mapping[str, Any] = field(default_factory=dict)
    """Of a dataset: counts and filters."""

    @property
    def body(self) -> Mapping[str, Any]:
        """The stage as the recipe has it, every default written out."""
        body: Mapping[str, Any] = self.record.made_from.get("stage", {})
        return body

    def told(self) -> dict[str, Any]:
        """As JSON."""
        own = self.record
        told = {"stage": self.id, "kind": self.kind, "fingerprint": own.fingerprint, "inputs": dict(own.inputs)}
        times = {"started": own.started, "finished": own.finished, "wall_s": own.wall_s, "cpu_s": own.cpu_s}
        return {**told, "made_from": without_places(own.made_from), "metrics": dict(own.metrics), **times}


def without_places(value: Any) -> Any:
    """The same value, of a path of this machine only the last name; the contents are in the fingerprint."""
    if isinstance(value, Mapping):
        return {key: without_places(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(each) for each in value]
    if isinstance(value, str) and ("\n" not in value) and PurePath(value).is_absolute():
        return PurePath(value).name
    return value


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A model's run, as far as it is the model's."""

    recipe: str
    profile: str
    steps: tuple[Step, ...]
    """Inputs first, the model's own stage last."""
    start: str
    """What the model began from, as the run names it: a hub id, a folder, or nothing."""
    start_folder: Path | None
    metrics: Mapping[str, Any]
    """The model's row of the run's results."""
    others: Mapping[str, Mapping[str, Any]]
    """The rows of the stages on its way, by stage."""
    manifest: Mapping[str, Any]
    """How each number was measured, by set."""
    components: Mapping[str, Any]
    """plugins.lock."""

    @property
    def own(self) -> Step:
        """The model's own stage."""
        return self.steps[-1]

    @property
    def chain(self) -> tuple[Step, ...]:
        """The model's weights back to where they began, first one first; without teachers and data."""
        return self._back(self.own.id)

    def root(self, model: str) -> str:
        """The stage that a model's weights began in."""
        return self._back(model)[0].id

    def _back(self, model: str) -> tuple[Step, ...]:
        by_id = {step.id: step for step in self.steps}
        found = [by_id[model]]
        while isinstance(above := found[0].body.get("model"), str) and above in by_id:
            found.insert(0, by_id[above])
        return tuple(found)


def read_lineage(path: Path, stage: str) -> Lineage:
    """Raises SetupError for a damaged run."""
    run = FinishedRun(path)
    results = read_json(path / RESULTS) if (path / RESULTS).is_file() else {}
    rows = {row["model"]: row["metrics"] for row in results.get("rows", ())}
    rows |= {name: dict(run.reported(model)) for name, model in run.models.items() if run.reported(model)}
    steps = tuple(_steps(run, stage))
    measured = run.models.get(stage)
    sets = run.sets(measured.evaluation) if measured is not None else {}
    manifest = {name: dict(run.measure(measured, name)) for name in sets} if measured is not None else {}
    own = run.stages[_first(run, stage)]
    imported = own.get("import")
    folder = Path(imported) if imported and Path(imported).is_dir() else None
    locked = read_json(path / "plugins.lock") if (path / "plugins.lock").is_file() else {}
    return Lineage(
        recipe=str(results.get("recipe") or _recipe(path)),
        profile=str(results.get("profile") or ""),
        steps=steps,
        start=str(imported or ""),
        start_folder=folder,
        metrics=rows.get(stage, {}),
        others={step.id: rows[step.id] for step in steps[:-1] if step.id in rows},
        manifest=manifest,
        components=locked,
    )


def split_metrics(metrics: Mapping[str, Any]) -> list[tuple[str, float, Sequence[float] | None]]:
    """(name, value, its interval) of a row of results; standard errors are left out, the intervals have them."""
    plain = [name for name in metrics if not name.endswith((INTERVAL, ALONE)) and ERRORS not in name]
    return [
        (name, float(metrics[name]), metrics.get(f"{name}{INTERVAL}"))
        for name in plain
        if isinstance(metrics[name], int | float) and not isinstance(metrics[name], bool)
    ]


def hub_name(start: str) -> str:
    """The model's name on the hub: itself, or what the hub's cache calls the folder; empty where it has none."""
    parts = Path(start).parts
    cached = next((part for part in parts if part.startswith("models--")), "")
    if cached:
        return "/".join(cached.removeprefix("models--").split("--", 1))
    is_name = len(parts) == HUB_NAME and not Path(start).is_absolute() and not start.startswith((".", "~"))
    return start if is_name and not Path(start).exists() else ""


def _steps(run: FinishedRun, stage: str) -> Iterator[Step]:
    seen: set[str] = set()

    def visit(name: str) -> Iterator[Step]:
        if name in seen or name not in run.records:
            return
        seen.add(name)
        record = run.records[name]
        for above in record.inputs:
            yield from visit(above)
        report = RunDirectory(run.path).stage(name).path / "report.json"
        told = read_json(report) if report.is_file() else {}
        yield Step(id=name, kind=str(record.made_from.get("kind", "")), record=record, report=told)

    yield from visit(stage)


def _first(run: FinishedRun, stage: str) -> str:
    """The stage that the model's weights began in."""
    while isinstance(above := run.stages[stage].get("model"), str) and above in run.stages:
        stage = above
    return stage


def _recipe(path: Path) -> str:
    head = (path / "recipe.resolved.yaml").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in head if line.startswith("name:")), path.name)
