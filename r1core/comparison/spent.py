"""What it took to make a student, in tokens of answers and by who spent them, from what its stages left.

    trained    tokens that the student learned from, once for each time that it saw them
    sampled    tokens that the student wrote to learn from
    traces     tokens that a teacher wrote for it, rejected answers among them
    graded     tokens whose likelihood a teacher told: a `signals` stage, a student's own answers
    estimated  those of `traces` that no server counted, by their bytes

`budget` is the first three: what students taught in different ways can be held to. It counts from the nearest measured
model that training started from; what the teacher's own training took is `teaching`, and stands apart.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from r1core.comparison.costs import SAMPLED
from r1core.comparison.finished import FinishedRun, Model
from r1core.stages.signals import FOLDER as SIGNALS
from r1core.store import RunDirectory, read_metrics
from r1core.store.metrics import METRICS
from r1core.store.rows import count_rows
from r1core.store.signals import StoredSignals


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Tokens by what they were spent on."""

    trained: float = 0.0
    sampled: float = 0.0
    traces: float = 0.0
    graded: float = 0.0
    estimated: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def budget(self) -> float:
        """What is held equal."""
        return self.trained + self.sampled + self.traces

    def is_estimate(self, name: str) -> bool:
        """Whether the number of this name is not counted through."""
        return bool(self.estimated) and name in ("traces", "budget")

    def over(self, count: int) -> Spent:
        """An equal share of it."""
        return Spent(**{f.name: getattr(self, f.name) / count for f in fields(self)})

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def spent(model: Model) -> Spent:
    """On the model, from the measured model that it started from on; nothing for one that started from nothing."""
    if model.start is None:
        return Spent()
    own, data = _stages(model.run, model.id, until=model.start.id)
    return sum((_of_stage(model.run, stage) for stage in [*own, *data]), Spent())


def teaching(run: FinishedRun, models: Iterable[Model]) -> Spent:
    """On the training of the teachers that the models learned from, each once, from what they started from on."""
    teachers: dict[str, None] = {}
    for model in models:
        own, data = _stages(run, model.id, until=model.start.id if model.start is not None else "")
        teachers |= {name: None for stage in [*own, *data] for name in _teachers(run, stage, own)}
    return sum((spent(run.models[name]) for name in teachers if name in run.models), Spent())


def _stages(run: FinishedRun, stage: str, until: str) -> tuple[list[str], list[str]]:
    """The training stages on the way to a model, and the stages that made data for them, each once."""
    own: list[str] = []
    while stage != until and run.stages[stage].get("train"):
        own.append(stage)
        before = run.stages[stage].get("model")
        if not isinstance(before, str):
            break
        stage = before
    data: dict[str, None] = {}
    waiting = [name for each in own for name in run.records[each].inputs]
    while waiting:
        name = waiting.pop()
        if run.stages[name].get("sample") or run.stages[name].get("signals"):
            data[name] = None
            waiting += run.records[name].inputs
    return own, list(data)


def _teachers(run: FinishedRun, stage: str, own: list[str]) -> Iterator[str]:
    """The models that a stage learns from beside the one that it trains: not what judges answers, nor a critic."""
    body = run.stages[stage]
    others = [reward.get("model") for reward in body.get("rewards") or () if isinstance(reward, dict)]
    others.append(((body.get("train") or {}).get("critic") or {}).get("model"))
    if stage in own:
        others.append(body.get("model"))
    for name in run.records[stage].inputs:
        if name not in others and (run.stages[name].get("train") or run.stages[name].get("import")):
            yield name


@functools.lru_cache(maxsize=512)
def _of_stage(run: FinishedRun, stage: str) -> Spent:
    body, record = run.stages[stage], run.records[stage]
    directory = RunDirectory(run.path).stage(stage)
    time = Spent(wall_s=record.wall_s, cpu_s=record.cpu_s)
    if body.get("sample"):
        if body["sample"].get("answers") == "given" and body.get("data"):
            return time  # what other stages have, judged anew: counted where it was written
        written = count_rows(directory.data, kept=False)
        return time + Spent(traces=float(written.tokens), estimated=float(written.estimated))
    if body.get("signals"):
        return time + Spent(graded=float(StoredSignals(directory.path / SIGNALS).about["counted"]))
    rows = list(read_metrics(directory.path / METRICS))
    sampled = sum(value for row in rows for name, value in row.items() if name.endswith("/tokens") and value)
    learned = sum(row.get("learned_tokens", row.get("num_tokens")) or 0.0 for row in rows)
    is_graded = any(_teachers(run, stage, [stage]))
    graded = sum(row.get(SAMPLED) or 0.0 for row in rows) if is_graded else 0.0
    return time + Spent(trained=learned, sampled=sampled, graded=graded)
