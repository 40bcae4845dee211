"""Which levels of isolation work on this machine: tried, never assumed, and what mends those that do not."""

from __future__ import annotations

import contextlib
import functools
import platform
import shutil
import sys
from pathlib import Path

from r1_plugins.code.attempts import kept_out
from r1_plugins.code.launching import LEVELS
from r1_plugins.code.sandbox import Sandbox
from r1_plugins.code.warden_process import SandboxError

FOR_UNTRUSTED = ("namespace", "bubblewrap")
"""Those that show a program no file and no process of anyone; the first that works is taken."""
_MEMORY_MIB = 256
_PROBE = "def probe():\n    return 'fine'"
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_MOST = Path("/proc/sys/user/max_user_namespaces")
_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")


@functools.cache
def trouble(level: str) -> str:
    """Why a level does not work here, "" where it does."""
    if level != "process" and sys.platform != "linux":
        return f"namespaces are Linux's own, this is {platform.system()}"
    if level == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    try:
        with Sandbox(level, memory_mib=_MEMORY_MIB, cpu_s=1) as sandbox, sandbox.cell(_PROBE, "probe"):
            return ""
    except SandboxError as error:
        return str(error)


def available(level: str, *, untrusted: bool) -> str:
    """The level to work at; "" where what is asked for does not work here. `auto` is the strongest that works."""
    wanted = (*FOR_UNTRUSTED, "process") if level == "auto" else (level,)
    return next((each for each in wanted if not (untrusted and each == "process") and not trouble(each)), "")


def remedy() -> str:
    """The one command that makes namespaces work here, as far as this machine tells what forbids them."""
    with contextlib.suppress(OSError):
        if not int(_MOST.read_text()):
            return f"sudo sysctl -w user.{_MOST.name}=15000"
    for setting, allowed in ((_APPARMOR, "0"), (_CLONE, "1")):
        with contextlib.suppress(OSError):
            if setting.read_text().strip() != allowed:
                return f"sudo sysctl -w kernel.{setting.name}={allowed}"
    if Path("/.dockerenv").exists():
        return "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined ..."
    if shutil.which("bwrap") is None and shutil.which("apt-get"):
        return "sudo apt-get install bubblewrap"
    return "sudo sysctl -w user.max_user_namespaces=15000"


def report() -> list[str]:
    """One sentence for each level."""
    return [f"level {level}: {_state(level)}" for level in LEVELS]


def _state(level: str) -> str:
    why = trouble(level)
    if why:
        mend = f"; to mend it: {remedy()}" if level != "process" and sys.platform == "linux" else ""
        return f"does not work here: {why}{mend}"
    open_here = [attempt for attempt, is_out in kept_out(level).items() if not is_out]
    return f"works, but does not keep out: {', '.join(open_here)}" if open_here else "works"
