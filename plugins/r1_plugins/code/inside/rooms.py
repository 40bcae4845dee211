"""Namespaces of Linux without any helper: a process that sees no other, no network, no file but the standard library.

    enter("/tmp/box")      # user, pid, net, ipc, uts and mount namespaces; the root is a read-only tmpfs there

Works for whoever may create a user namespace; some distributions and most containers forbid it. Raises OSError then.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from pathlib import Path

from .readable import is_device, links, places

_NEW_NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000
"""CLONE_NEWUSER, NEWNS, NEWPID, NEWNET, NEWIPC, NEWUTS (linux/sched.h)."""
_BIND, _RECURSIVE, _PRIVATE, _NOSUID, _NODEV = 0x1000, 0x4000, 0x40000, 2, 4  # linux/mount.h
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _HERE, _ALL_BELOW, _READ_ONLY = 442, -100, 0x8000, 1
WORK = "/box"


def enter(box: str) -> None:
    """Go on as the first process of new namespaces, whose root is made on the empty folder `box`. The process that
    called waits outside until this one has ended."""
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc().unshare(_NEW_NAMESPACES), "unshare: no new namespaces")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _stay_outside(box)
    _check(_libc().prctl(1, 9, 0, 0, 0), "prctl")  # PR_SET_PDEATHSIG: the outer process is killed, all of this goes
    _furnish(box)


def _stay_outside(box: str) -> None:
    """Return in a child, the first process of the new pid namespace; when that ends the kernel ends all in it."""
    beside = os.open(Path(box).parent, os.O_RDONLY | os.O_CLOEXEC)  # the root that it is below will be another one
    inner = os.fork()
    if not inner:
        os.close(beside)
        return
    os.closerange(0, 3)
    _, status = os.waitpid(inner, 0)
    with contextlib.suppress(OSError):
        os.rmdir(Path(box).name, dir_fd=beside)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _furnish(box: str) -> None:
    """A root with what may be read, and nothing that can be written."""
    _mount("none", "/", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", box, _NOSUID | _NODEV, kind="tmpfs", options="size=1m,mode=755")
    for link, target in links().items():
        place = Path(box + link)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    for path, source in places().items():
        _bring(source, Path(box + path))
    Path(box + WORK).mkdir()
    os.chdir(box)
    _check(_libc().syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _check(_libc().umount2(b".", _DETACH), "umount2")
    os.chdir("/")
    attributes = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
    _check(_libc().syscall(_MOUNT_SETATTR, _HERE, b"/", _ALL_BELOW, attributes, len(attributes)), "mount_setattr")
    os.chdir(WORK)


def _bring(source: str, place: Path) -> None:
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    with contextlib.suppress(OSError) if is_device(source) else contextlib.nullcontext():  # a program can do without
        _mount(source, str(place), _BIND | _RECURSIVE)


def _mount(source: str, place: str, flags: int, *, kind: str = "", options: str = "") -> None:
    names = (source.encode(), place.encode(), kind.encode() or None)
    _check(_libc().mount(*names, ctypes.c_ulong(flags), options.encode() or None), f"mount {source} on {place}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
