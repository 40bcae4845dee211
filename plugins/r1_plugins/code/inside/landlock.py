"""Landlock: which files a process may read, whom it may signal or look into, as Linux offers it to anyone since 5.13.

Where the kernel has it, a model's program reads the standard library and nothing else: no keys, no data set with the
expected outputs, no memory or environment of another process. Without it those of the same user stay readable at the
level `process`; the other levels do not need it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on all machines
_VERSION, _BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_O_PATH = 0x200000
_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16))
"""ABI -> how many rights on files it knows; all are taken away."""
_NET, _SCOPED, _ALL_NET, _ALL_SCOPES = 4, 6, 0b11, 0b11
"""The ABIs from which there are TCP ports, and abstract sockets and signals to processes outside."""


def version() -> int:
    """The kernel's ABI; 0 where there is no Landlock, or another system."""
    if os.uname().sysname != "Linux":
        return 0
    return max(int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, _VERSION)), 0)


def ruleset(paths: Sequence[str]) -> int | None:
    """A descriptor for `restrict`: reading below these paths and nothing else; None where there is no Landlock."""
    abi = version()
    if not abi:
        return None
    rights = (1 << max(count for least, count in _RIGHTS if abi >= least)) - 1
    attributes = struct.pack("=Q", rights)
    if abi >= _NET:
        attributes += struct.pack("=Q", _ALL_NET)
    if abi >= _SCOPED:
        attributes += struct.pack("=Q", _ALL_SCOPES)
    rules = _call(_CREATE, attributes, len(attributes), 0)
    for path in paths:
        beneath = os.open(path, _O_PATH | os.O_CLOEXEC)
        allowed = _READ_FILE | _READ_DIR if Path(path).is_dir() else _READ_FILE
        _call(_ADD, rules, _BENEATH, struct.pack("=Qi", allowed, beneath), 0)
        os.close(beneath)
    return rules


def restrict(rules: int) -> None:
    """This thread, and what it starts, for good. Needs no_new_privs."""
    _call(_RESTRICT, rules, 0)


def _call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    done = int(libc.syscall(number, *arguments))
    if done < 0:
        raise OSError(ctypes.get_errno(), f"Landlock (system call {number}): {os.strerror(ctypes.get_errno())}")
    return done
