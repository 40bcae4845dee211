"""The command line `r1`: the one place where errors become messages and exit codes.

An expected failure (`R1Error`) is its message on stderr and its own exit code, never a traceback; a
usage error is 2, being stopped at once 130; anything else is a bug and shows its traceback. Importing
this module costs click and nothing more, so that `r1 --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from r1core.cli.group import r1
from r1core.errors import R1Error
from r1core.untrusted import untrusted

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `r1` with these arguments (those of the process when None) and exit."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning OpenMP threads starve stages that run side by side
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?" instead of raising
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = r1.main(args=arguments, prog_name="r1", standalone_mode=False)
    except R1Error as error:
        click.echo(untrusted(str(error)), err=True)
        return error.exit_code
    except click.Abort as abort:  # how click passes on a KeyboardInterrupt
        click.echo(str(abort.__cause__ or "") or "interrupted", err=True)
        return INTERRUPTED
    except click.UsageError as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0
