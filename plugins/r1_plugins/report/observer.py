"""Writes the report when a run ends, well or not. `-p no:report` leaves it out.

Nothing is imported before that moment; what goes wrong is a line on the screen, and the run ends as it would have.
"""

from __future__ import annotations

from pathlib import Path

from r1core.errors import SetupError
from r1core.hookspecs import hookimpl


@hookimpl
def r1_run_end(folder: Path, error: str) -> None:
    """`report.html` and `report.png` in the run's folder."""
    from r1_plugins.report.write import write

    written = write(folder, error)
    if written.lacking:
        raise SetupError(written.lacking[0], where="r1 report")
