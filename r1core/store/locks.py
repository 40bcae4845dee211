"""Who owns a folder: an exclusive `flock` on a file in it, whose text names the owner for people.

The kernel lets go of the lock when the owner and all that inherited it are gone, so a kill leaves no stale lock.
"""

from __future__ import annotations

import fcntl
import os
import socket


def locked(lock: int) -> bool:
    """Whether this process has the lock of an open file now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sign(lock: int) -> None:
    """Write into the file who has its lock: this process."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{_name(os.getpid())}\n".encode(), 0)


def owner(lock: int) -> str:
    """Whom the file names."""
    return os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"


def is_gone(name: str) -> bool:
    """Whether an owner was a process of this machine that is no more."""
    pid = name.split()[1] if name.startswith("process ") else ""
    if not pid.isdecimal() or name != _name(int(pid)):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _name(pid: int) -> str:
    return f"process {pid} on {socket.gethostname()}"
