"""The command line without a process of its own, for tests of what it says: a process costs a second of imports.

That a process says the same is tested where the process matters: test_main.py, and once in each file that uses this.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

import pytest

from r1core.cli import main

Ended = subprocess.CompletedProcess[str]


def called(folder: Path, *arguments: str) -> Ended:
    """`r1 ARGUMENTS` in a folder: its exit code, and what it printed; a bug is raised here."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as end:
            main(arguments)
    code = end.value.code
    assert isinstance(code, int)
    return Ended(["r1", *arguments], code, out.getvalue(), err.getvalue())
