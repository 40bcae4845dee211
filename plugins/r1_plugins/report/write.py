"""Writes `report.html` and `report.png` into a run's folder; each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from r1_plugins.report.gather import RunFacts, gather
from r1_plugins.report.scores import measured
from r1core.errors import SetupError
from r1core.store.files import writing

HTML, PNG = "report.html", "report.png"


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files that were written, and a line for each that could not be."""

    files: tuple[Path, ...]
    lacking: tuple[str, ...]
    facts: RunFacts


def write(folder: Path, error: str | None = None) -> Written:
    """Read the run and write its report. `error` as `gather` takes it.

    Raises RecipeError for a folder that is no run, SetupError where jinja2 is missing or nothing can be written.
    """
    facts = gather(folder, error)
    try:
        from r1_plugins.report.page import page
    except ModuleNotFoundError as missing:
        if missing.name not in ("jinja2", "markupsafe"):
            raise
        raise SetupError(
            f"a report needs jinja2: {missing}", where="r1 report", fix="pip install 'r1core[train]'"
        ) from missing
    models = measured(facts)
    content = page(facts, models)
    _put(folder / HTML, lambda file: file.write_text(content, encoding="utf-8", newline="\n"))
    files, lacking = [folder / HTML], []
    try:
        from r1_plugins.report.figure import figure, save
    except ImportError as missing:
        lacking.append(f"{PNG} is left out: {missing}; pip install 'r1core[train]'")
    else:
        if (drawn := figure(facts, models)) is not None:
            _put(folder / PNG, lambda file: save(drawn, file))
            files.append(folder / PNG)
    return Written(files=tuple(files), lacking=tuple(lacking), facts=facts)


def _put(path: Path, make: Callable[[Path], object]) -> None:
    """The file at its place, whole, or what was there before."""
    try:
        with writing(path) as temporary:
            make(temporary)
    except SetupError as failure:  # the store's advice is for a run at work
        fix = f"free space on the disk, then: r1 report {path.parent}"
        raise SetupError(failure.what, where=str(path), fix=fix) from failure
