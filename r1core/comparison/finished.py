"""What a run left of the models it made and measured, read from its folder alone: no plugin is needed.

The plan is `recipe.resolved.yaml`, what really was done each stage's `stage.json`. Scores come from the
rows of the evaluation where they are there, problem by problem; else the row of `results.json` has to do.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r1core.errors import RecipeError, SetupError
from r1core.recipe.earlier import MANIFEST, facts_of
from r1core.recipe.loader import load_yaml
from r1core.recipe.measures import part_names
from r1core.recipe.schema import EvalSet
from r1core.stages.measured import by_problem, correctness
from r1core.store import RunDirectory, StageRecord, read_json, read_rows
from r1core.types import Floats

RESOLVED = "recipe.resolved.yaml"
RESULTS = "results.json"
MARKED = ("id", "sample", "answer", "status", "parts")
"""What a score is made of: the texts are left on the disk."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a model is worth on one set: its score on each problem, (P,), by the problem's id; NaN where unknown.
    Without rows, one value of a problem that goes by the set's name."""

    ids: tuple[str, ...]
    values_P: Floats
    answers: int = 1
    """Answers to each problem."""


@dataclass(frozen=True)
class Model:
    """A model that a run made and measured."""

    run: FinishedRun
    id: str
    evaluation: str
    """The stage that measured it."""

    @property
    def name(self) -> str:
        """What the recipe calls it: its id, or the stage that it is a variant of."""
        return self.run.name(self.id)

    @property
    def where(self) -> Mapping[str, str]:
        """axis -> choice of the variant that it is."""
        where: dict[str, str] = self.run.stages[self.id].get("variant", {}).get("where", {})
        return where

    @property
    def record(self) -> StageRecord:
        """What its stage has told of itself."""
        return self.run.records[self.id]

    @property
    def start(self) -> Model | None:
        """The nearest measured model that it was trained from."""
        stage = self.run.stages[self.id].get("model")
        while isinstance(stage, str):
            if stage in self.run.models:
                return self.run.models[stage]
            stage = self.run.stages[stage].get("model")
        return None


class FinishedRun:
    """The folder of a run. Raises RecipeError where it is none, SetupError for a damaged one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / RESOLVED).is_file():
            raise RecipeError("there is no run", where=str(path), fix="give the folder of a run, such as runs/<name>")
        self.stages: dict[str, dict[str, Any]] = load_yaml(path / RESOLVED).data["stages"]
        self._scores: dict[tuple[str, str], Scored | None] = {}
        directory = RunDirectory(path)
        found = {name: directory.stage(name).record() for name in self.stages}
        self.records = {name: r for name, r in found.items() if r is not None and r.status == "finished"}
        self.models = {model: Model(self, model, evaluation) for model, evaluation in self._measured()}

    def name(self, stage: str) -> str:
        """What the recipe calls a stage."""
        name: str = self.stages[stage].get("variant", {}).get("of", stage)
        return name

    @property
    def unfinished(self) -> list[str]:
        """Models that are to be measured and are not yet."""
        wanted = {model for body in self.stages.values() if "evaluate" in body for model in body.get("models", ())}
        return [name for name in self.stages if name in wanted - set(self.models)]

    def _measured(self) -> Iterator[tuple[str, str]]:
        """(model, the stage that measured it) of all that is done."""
        seen = set()
        for stage in self.records:
            for model in self.stages[stage].get("models", ()):
                if model in self.records and model not in seen:
                    seen.add(model)
                    yield model, stage

    def sets(self, evaluation: str) -> dict[str, EvalSet]:
        """What an evaluation measures on."""
        own = self.stages[evaluation]["evaluate"]["sets"]
        return {name: EvalSet.model_validate(body) for name, body in own.items()}

    def parts(self, stage: str) -> list[str]:
        """What the parts of a stage's scores are called; the first says what is right."""
        return part_names([reward.get("as", reward["use"]) for reward in self.stages[stage]["rewards"]])

    def measure(self, model: Model, metric: str) -> Mapping[str, Any]:
        """How the model was measured on a set, as the evaluation's manifest has it; empty where there is none."""
        path = RunDirectory(self.path).stage(model.evaluation).data / MANIFEST
        if not path.is_file():
            return {}
        return facts_of(_read(path, _stamp(path)), model.id, metric)

    def reported(self, model: Model) -> Mapping[str, Any]:
        """The model's metrics in the evaluation's `results.json`."""
        return _row_of(RunDirectory(self.path).stage(model.evaluation).data / RESULTS, model.id)

    def score(self, model: Model, metric: str) -> Scored | None:
        """The model on the set `metric`; None where it was not measured on it."""
        if (model.id, metric) not in self._scores:
            self._scores[model.id, metric] = self._score(model, metric)
        return self._scores[model.id, metric]

    def _score(self, model: Model, metric: str) -> Scored | None:
        wanted = self.sets(model.evaluation).get(metric)
        if wanted is None:
            return None
        folder = RunDirectory(self.path).stage(model.evaluation).data
        try:
            rows = list(read_rows(folder / model.id / metric, MARKED))
        except SetupError:
            value = _row_of(folder / RESULTS, model.id).get(metric)
            return None if value is None else Scored(ids=(metric,), values_P=np.array([float(value)]))
        part = wanted.reward or self.parts(model.evaluation)[0]
        rows_PG = by_problem(rows, wanted.samples)
        values_P = correctness(rows_PG, part, wanted.k, at_least=wanted.at_least)
        ids = tuple(rows_G[0]["id"] for rows_G in rows_PG)
        return Scored(ids=ids, values_P=values_P, answers=wanted.samples)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew: one process may look at a run before and after."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@functools.cache
def _read(path: Path, stamp: tuple[int, int]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_json(path)
    return found


@functools.cache
def _rows_of(path: Path, stamp: tuple[int, int]) -> Mapping[str, Mapping[str, Any]]:
    return {row["model"]: row["metrics"] for row in read_json(path)}


def _row_of(path: Path, model: str) -> Mapping[str, Any]:
    return _rows_of(path, _stamp(path)).get(model, {})


def table_of(scores: list[Scored]) -> Floats:
    """Scores of several seeds as one table, (S, P), over the problems that all have; one column where they were asked
    different ones."""
    asked = [frozenset(each.ids) for each in scores]
    common = [name for name in scores[0].ids if all(name in ids for ids in asked)]
    if not common:
        return np.array([[_mean(each.values_P)] for each in scores])
    places = [{name: i for i, name in enumerate(each.ids)} for each in scores]
    return np.array([[each.values_P[place[n]] for n in common] for each, place in zip(scores, places, strict=True)])


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
