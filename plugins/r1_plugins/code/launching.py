"""The command that starts a warden at each level, and the little that it may see of this process's environment."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from r1_plugins.code.inside.readable import is_device, links, places
from r1_plugins.code.inside.rooms import WORK

LEVELS = ("process", "namespace", "bubblewrap")
"""From the weakest to the strongest."""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
"""All of it. A fixed hash seed: a program that prints a set must say the same each time."""
_HERE = Path(__file__).parent
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); import inside.warden as warden; del sys.path[0]; "
    "warden.serve(*sys.argv[2:])()"
)


def command(level: str) -> list[str]:
    """The warden's command line."""
    interpreter = os.path.realpath(sys.executable)
    # as with -I, but for the hash seed: the environment is ours
    python = [interpreter, "-P", "-s", "-S", "-B", "-c", _START]
    if level != "bubblewrap":
        return [*python, str(_HERE), level, tempfile.gettempdir()]
    return [*_bubblewrap(interpreter), *python, "/inside", level, WORK]


def _bubblewrap(interpreter: str) -> list[str]:
    """As `rooms` does it, with the helper that many systems allow to where they forbid it to others."""
    bwrap = shutil.which("bwrap") or "bwrap"
    arguments = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1"]
    for link, target in links().items():
        arguments += ["--symlink", target, link]
    for path, source in places().items():
        arguments += ["--dev-bind" if is_device(source) else "--ro-bind", source, path]
    arguments += ["--ro-bind", interpreter, interpreter, "--ro-bind", str(_HERE / "inside"), "/inside/inside"]
    return [*arguments, "--dir", WORK, "--remount-ro", "/", "--chdir", WORK, "--"]
