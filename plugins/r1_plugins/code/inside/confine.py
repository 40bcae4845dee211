"""What a process gives up before it runs a model's program, in the order that works: nothing can be taken back."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Mapping

from . import landlock, system_calls

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h
_CAPABILITIES_3 = 0x20080522
_OPEN_FILES = 64
_STACK = 64 << 20
"""Deep recursion in C ends a program, not too early: the limit that contests give."""


def hide() -> None:
    """No process of this user may look into this one, nor into its environment (Linux)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def give_up(limits: Mapping[str, int], parent: int, rules: int | None) -> None:
    """Limits of memory (`memory_mib`) and processor time (`cpu_s`); no files, no privileges, no calls beyond this
    process. `rules` are Landlock's. Raises OSError where the machine lacks what the limits need."""
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, signal.SIG_DFL)
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
    _limit(limits)
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        drop_capabilities()
    if rules is not None:
        landlock.restrict(rules)
        os.close(rules)
    if system_calls.supported():
        system_calls.confine()


def _limit(limits: Mapping[str, int]) -> None:
    memory = limits["memory_mib"] << 20
    wanted = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if not system_calls.supported():  # where it is, the filter refuses new processes, of root too
        wanted[resource.RLIMIT_NPROC] = 1
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):
            if sys.platform == "linux":
                raise
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard), hard))


def drop_capabilities() -> None:
    """Root without capabilities is an ordinary user who owns root's files (Linux)."""
    header = struct.pack("=Ii", _CAPABILITIES_3, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "the capabilities cannot be dropped")


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}): {os.strerror(ctypes.get_errno())}")
