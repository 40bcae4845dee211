"""Writes `report.html` and `report.png` into a run's folder; each whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from r1_plugins.report.gather import RunFacts, gather
from r1core.errors import SetupError
from r1core.store import write_text

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
    files, lacking = [folder / HTML], []
    try:
        write_text(folder / HTML, page(facts))
    except OSError as failure:
        raise SetupError(
            f"cannot be written: {failure.strerror}", where=str(folder / HTML), fix="free space"
        ) from failure
    try:
        from r1_plugins.report.figure import figure

        if figure(facts, folder / PNG):
            files.append(folder / PNG)
    except ImportError as missing:
        lacking.append(f"{PNG} is left out: {missing}; pip install 'r1core[train]'")
    return Written(files=tuple(files), lacking=tuple(lacking), facts=facts)
