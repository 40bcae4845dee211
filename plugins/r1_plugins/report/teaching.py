"""Distillation against RL: students of one start, taught by traces or by rewards, at what each took.

Reads the rows of the evaluation again, problem by problem, so differences are paired (comparison/arms.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r1_plugins.report.gather import RunFacts
from r1core.comparison.arms import Arm, Arms, arms
from r1core.comparison.finished import FinishedRun, Model
from r1core.comparison.spent import spent
from r1core.errors import R1Error

RL, TRACES, MARKS = "RL", "teacher's traces", "teacher's marks"


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """The students side by side, the one that RL alone taught first. `refused` says why there are none."""

    start: str = ""
    table: Arms | None = None
    rows: tuple[Arm, ...] = ()
    how: Mapping[str, str] | None = None
    """How each was taught, by name."""
    refused: str = ""


def teaching(facts: RunFacts) -> Teaching:
    """The students of the start that most were trained from; nothing where no start has two of different teaching."""
    try:
        run = FinishedRun(facts.path)
        start, how = _students(run)
        if not how:
            return Teaching()
        by_rl = [name for name, way in how.items() if way == RL]
        table = arms(run, base=max(by_rl, key=lambda name: _best(run, name)))
        rows = tuple(row for row in table.rows if row.name in how)
        return Teaching(start=start, table=table, rows=rows, how=how)
    except R1Error as error:
        return Teaching(refused=str(error).partition("\n")[0])
    except (KeyError, ValueError, TypeError, OSError) as error:  # rows of another version, a file cut short
        return Teaching(refused=f"the rows of the evaluation cannot be compared: {type(error).__name__}: {error}")


def _students(run: FinishedRun) -> tuple[str, dict[str, str]]:
    """The start with most students among those of which RL taught one and a teacher another; how each was taught."""
    by_start: dict[str, dict[str, str]] = {}
    for model in run.models.values():
        root = _root(model)
        way = _how(run, model, root) if root is not None else ""
        if root is not None and way:
            by_start.setdefault(root.name, {})[model.name] = way
    mixed = {name: own for name, own in by_start.items() if RL in own.values() and {RL} < set(own.values())}
    return max(mixed.items(), key=lambda each: len(each[1]), default=("", {}))


def _root(model: Model) -> Model | None:
    """The measured model at the beginning of its line; None for that one itself."""
    root = model.start
    while root is not None and root.start is not None:
        root = root.start
    return root


def _how(run: FinishedRun, model: Model, root: Model) -> str:
    """In a few words: what a teacher of another line wrote or told, and RL; "" for what learned from neither."""
    took = spent(model)
    taught = any(_is_model(run, name) and not _descends(run, name, root.id) for name in _ancestors(run, model.id))
    if not taught:
        return RL if took.sampled and not took.traces else ""
    if not took.traces:
        return MARKS
    further = MARKS if took.graded and took.sampled else RL if took.sampled else ""
    return f"{TRACES}, then {further}" if further else TRACES


def _ancestors(run: FinishedRun, stage: str) -> set[str]:
    found: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        inputs = run.records[name].inputs if name in run.records else ()
        waiting += [each for each in inputs if each not in found and each in run.stages]
        found.update(inputs)
    return found


def _is_model(run: FinishedRun, stage: str) -> bool:
    body = run.stages.get(stage, {})
    return bool(body.get("train") or body.get("import"))


def _descends(run: FinishedRun, stage: str, root: str) -> bool:
    """Whether its line of models goes back to the root."""
    while stage != root:
        before = run.stages.get(stage, {}).get("model")
        if not isinstance(before, str):
            return False
        stage = before
    return True


def _best(run: FinishedRun, name: str) -> float:
    """The mean headline of the models of that name: RL is compared at its best learning rate."""
    rows = [run.reported(model) for model in run.models.values() if model.name == name]
    metric = next(iter(run.sets(next(iter(run.models.values())).evaluation)))
    values = [float(row[metric]) for row in rows if row.get(metric) is not None]
    return sum(values) / len(values) if values else 0.0
