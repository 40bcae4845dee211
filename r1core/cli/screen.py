"""Which display a run gets: the live one on a terminal, plain lines everywhere else.

`CI`, `NO_COLOR` and `TERM=dumb` mean plain lines even on a terminal.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console

from r1core.cli.display import LiveDisplay
from r1core.cli.plain import PlainDisplay


def choose_display() -> LiveDisplay | PlainDisplay:
    """The display for this process's stdout; a context manager and a listener."""
    plain = bool(os.environ.get("CI") or os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    if plain or not sys.stdout.isatty():
        return PlainDisplay(sys.stdout)
    return LiveDisplay(Console(highlight=False, emoji=False))
