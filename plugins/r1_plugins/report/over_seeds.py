"""A model's scores over its seeds, with the intervals of `r1 compare`, `r1 ablate` and the table of teachings.

The rows of the evaluation are read again, for an interval over seeds and problems needs every score
(r1core/comparison/statistics.py has the formula: Student's t). What cannot be read has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from r1_plugins.report.gather import RunFacts
from r1core.comparison.finished import FinishedRun
from r1core.comparison.statistics import Estimate
from r1core.comparison.tables import score_of
from r1core.errors import R1Error


def over_seeds(facts: RunFacts, replicates: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Estimate]]:
    """name -> set -> the estimate, of each model with several seeds; `replicates` has the stages of each name."""
    several = {name: ids for name, ids in replicates.items() if len(ids) > 1}
    if not several:
        return {}
    try:
        run = FinishedRun(facts.path)
        return {name: _estimates(run, ids) for name, ids in several.items()}
    except (R1Error, KeyError, ValueError, TypeError, OSError):  # damaged, or of another version
        return {}


def _estimates(run: FinishedRun, ids: Sequence[str]) -> dict[str, Estimate]:
    """By set; nothing of a set that not all were measured on, or of one without a spread."""
    models = [run.models[each] for each in ids if each in run.models]
    if len(models) < len(ids):
        return {}
    sets = [name for name in run.sets(models[0].evaluation) if all(run.score(each, name) for each in models)]
    found = {name: score_of(models, name) for name in sets}
    return {name: each for name, each in found.items() if not math.isnan(each.low)}
