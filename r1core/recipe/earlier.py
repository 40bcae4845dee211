"""An earlier evaluation, as its files have it: the numbers of each model, and how they were measured.

    read_earlier(Path("runs/last"))                    # a run, or a stage's folder
    read_earlier(Path("baseline/results.json"))        # with manifest.json beside it

Read while a recipe is checked, so that a wrong path is told with its line and nothing is computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS, MANIFEST, TEMPLATE = "results.json", "manifest.json", "template"


class EarlierError(ValueError):
    """Nothing can be compared with it; the text is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The rows of an evaluation, or of all of a run's."""

    path: Path
    metrics: Mapping[str, Mapping[str, Any]]
    """model -> its numbers."""
    manifests: Mapping[str, Mapping[str, Any]]
    """model -> the manifest of the evaluation that measured it."""

    def chosen(self, model: str, than: str | None = None) -> str:
        """The model that `model` is compared with. Raises EarlierError where that is in doubt."""
        wanted = than or model
        if wanted in self.metrics:
            return wanted
        if than is None and len(self.metrics) == 1:
            return next(iter(self.metrics))
        raise EarlierError(f"{self.path} has no model {wanted!r}, only {', '.join(self.metrics)}: say which by `than`")

    def number(self, model: str, metric: str) -> float:
        """One of its numbers. Raises EarlierError where it has none."""
        found = self.metrics[model].get(metric)
        if not isinstance(found, int | float) or isinstance(found, bool):
            numbers = sorted(name for name, own in self.metrics[model].items() if isinstance(own, int | float))
            raise EarlierError(f"{self.path} has no {metric!r} of {model}, only {', '.join(numbers)}")
        return float(found)

    def interval(self, model: str, metric: str) -> tuple[float, float]:
        """Its interval. Raises EarlierError where it has none."""
        found = self.metrics[model].get(f"{metric}_ci95")
        if not isinstance(found, list) or len(found) != 2 or not all(isinstance(end, int | float) for end in found):
            raise EarlierError(f"{self.path} has no interval of {model}'s {metric}: say by how much it may fall, `by`")
        return float(found[0]), float(found[1])

    def facts(self, model: str, name: str) -> Mapping[str, Any]:
        """How a model was measured on the set `name`; empty where it was not."""
        return facts_of(self.manifests[model], model, name)


def facts_of(manifest: Mapping[str, Any], model: str, name: str) -> Mapping[str, Any]:
    """How a manifest says that one model was measured on one set: what all have in common, and what is its own."""
    if name not in manifest["sets"]:
        return {}
    own = manifest["models"].get(model, {})
    return {**manifest["sets"][name], **own.get("sampled", {}), TEMPLATE: own.get(TEMPLATE, "")}


def read_earlier(path: Path) -> Earlier:
    """Raises EarlierError for what is no evaluation, or none that says how it measured."""
    metrics: dict[str, Mapping[str, Any]] = {}
    manifests: dict[str, Mapping[str, Any]] = {}
    for file in _files(path):
        rows, manifest = _json(file), _json(file.with_name(MANIFEST))
        try:
            rows = rows["rows"] if isinstance(rows, dict) else rows
            found = {row["model"]: dict(row["metrics"]) for row in rows}
            manifest["sets"], manifest["models"]
        except (KeyError, TypeError, ValueError) as error:
            raise EarlierError(f"{file} and {MANIFEST} beside it are not an evaluation's") from error
        metrics.update(found)
        manifests.update(dict.fromkeys(found, manifest))
    if not metrics:
        raise EarlierError(f"{path} has no rows")
    return Earlier(path=path, metrics=metrics, manifests=manifests)


def _files(path: Path) -> list[Path]:
    """The tables that have a manifest beside them."""
    if not path.exists():
        raise EarlierError(f"there is no {path}")
    if path.is_file() and path.with_name(MANIFEST).is_file():
        return [path]
    folder = path.parent if path.is_file() else path
    places = [folder / RESULTS, folder / "data" / RESULTS, *sorted(folder.glob(f"stages/*/data/{RESULTS}"))]
    found = [place for place in places if place.is_file() and place.with_name(MANIFEST).is_file()]
    if not found:
        raise EarlierError(f"{path} has no {RESULTS} with a {MANIFEST} beside it, which says how it was measured")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EarlierError(f"{path} cannot be read: {error}") from error
