"""The system calls that a model's program may make: a seccomp filter, put together by hand.

Whatever is not listed passes. Listed is what reaches beyond the process: starting others, signalling or reading them,
the network, and writing to files. What only a privileged process may do is not listed: a cell has no privilege. The
filter needs none itself, and works inside containers. It is for 64-bit x86 and ARM; calls of other ABIs are refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""linux/audit.h: which calling convention a call came by."""
COLUMN = {"x86_64": 0, "aarch64": 1}
NEWEST = 470
"""What later kernels add is answered as an old kernel would: there is no such call."""
X32 = 0x40000000
NONE = -1

# name: (x86_64, aarch64), from asm/unistd_64.h and asm-generic/unistd.h
DENIED = {
    # other processes: none are started, signalled, watched or slowed down
    **{"fork": (57, NONE), "vfork": (58, NONE), "execve": (59, 221), "execveat": (322, 281)},
    **{"tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240)},
    **{"pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "kcmp": (312, 272)},
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"process_madvise": (440, 440), "process_mrelease": (448, 448), "move_pages": (279, 239)},
    **{"migrate_pages": (256, 238), "perf_event_open": (298, 241), "get_robust_list": (274, 100)},
    **{"setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122)},
    **{"sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274)},
    **{"setsid": (112, 157), "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268)},
    # the network, and whatever listens on this machine
    **{"socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "sendmsg": (46, 211), "sendmmsg": (307, 269)},
    # ways around this filter
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"bpf": (321, 280), "userfaultfd": (323, 282), "personality": (135, 92), "fanotify_init": (300, 262)},
    **{"keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218)},
    # what would stay behind: files and their names, shared memory
    **{"creat": (85, NONE), "unlink": (87, NONE), "unlinkat": (263, 35), "rename": (82, NONE), "renameat": (264, 38)},
    **{"renameat2": (316, 276), "mkdir": (83, NONE), "mkdirat": (258, 34), "rmdir": (84, NONE), "link": (86, NONE)},
    **{"linkat": (265, 37), "symlink": (88, NONE), "symlinkat": (266, 36), "mknod": (133, NONE), "mknodat": (259, 33)},
    **{"truncate": (76, 45), "chmod": (90, NONE), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
    **{"chown": (92, NONE), "fchown": (93, 55), "lchown": (94, NONE), "fchownat": (260, 54), "utime": (132, NONE)},
    **{"utimes": (235, NONE), "futimesat": (261, NONE), "utimensat": (280, 88), "setxattr": (188, 5)},
    **{"lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15)},
    **{"fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466)},
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190)},
    **{"msgget": (68, 186), "mq_open": (240, 180), "mq_unlink": (241, 181)},
}
UNKNOWN = {"clone3": (435, 435), "openat2": (437, 437)}
"""Their flags lie in memory, out of a filter's sight; libraries fall back on the older call when they are not there."""
CLONE, KILL, TGKILL, PRLIMIT = (56, 220), (62, 129), (234, 131), (302, 261)
OPEN, OPENAT, SENDTO = (2, NONE), (257, 56), (44, 206)
PRCTL, FCNTL, IOCTL = (157, 167), (72, 25), (16, 29)

_THREAD = 0x10000  # CLONE_THREAD
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NAMING = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_SIGNALLING = (8, 10, 15, 1024, 1026)  # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ERROR, _END = 0x7FFF0000, 0x00050000, 0x80000000
_PR_SET_SECCOMP, _FILTER = 22, 2


def supported() -> bool:
    """Whether the filter is written for this machine."""
    return os.uname().sysname == "Linux" and platform.machine() in AUDIT


def confine() -> None:
    """Filter this thread's calls, and those of threads that it starts, for good. Needs no_new_privs. Raises OSError."""
    code = b"".join(struct.pack("=HBBI", *each) for each in program(platform.machine(), os.getpid()))
    held = ctypes.create_string_buffer(code, len(code))
    filtered = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(filtered, len(filtered)), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter can be set")


Instruction = tuple[int, int, int, int]
"""Code, jump where true, jump where false, operand."""


def program(machine: str, pid: int) -> list[Instruction]:
    """The filter: a process may signal and limit itself alone, start threads, open to read."""
    found: list[Instruction] = [_load(4), (_EQUAL, 1, 0, AUDIT[machine]), (_RETURN, 0, 0, _END), _load(0)]
    found += [(_AT_LEAST, 0, 1, X32), _error(errno.ENOSYS), (_AT_LEAST, 0, 1, NEWEST), _error(errno.ENOSYS)]
    column = COLUMN[machine]
    for numbers in UNKNOWN.values():
        found += [(_EQUAL, 0, 1, numbers[column]), _error(errno.ENOSYS)]
    for numbers in DENIED.values():
        if numbers[column] != NONE:
            found += [(_EQUAL, 0, 1, numbers[column]), _error(errno.EPERM)]
    found += _where(CLONE[column], 0, [(_ANY_BIT, _THREAD)], allowed=True)
    for numbers in (KILL, TGKILL):
        found += _where(numbers[column], 0, [(_EQUAL, pid)], allowed=True)
    found += _where(PRLIMIT[column], 0, [(_EQUAL, 0), (_EQUAL, pid)], allowed=True)
    found += _where(OPEN[column], 1, [(_ANY_BIT, _WRITES)], allowed=False)
    found += _where(OPENAT[column], 2, [(_ANY_BIT, _WRITES)], allowed=False)
    found += _without_address(SENDTO[column])
    found += _where(PRCTL[column], 0, [(_EQUAL, each) for each in _NAMING], allowed=True)
    found += _where(FCNTL[column], 1, [(_EQUAL, each) for each in _SIGNALLING], allowed=False)
    found += _where(IOCTL[column], 1, [(_EQUAL, each) for each in _TYPING], allowed=False)
    return [*found, (_RETURN, 0, 0, _ALLOW)]


def _where(number: int, argument: int, tests: list[tuple[int, int]], *, allowed: bool) -> list[Instruction]:
    """The call `number` is allowed, or refused, where its argument (the low half) passes one of the tests; the other
    way round where it passes none."""
    if number == NONE:
        return []
    one, other = (_ALLOW, _ERROR | errno.EPERM) if allowed else (_ERROR | errno.EPERM, _ALLOW)
    body: list[Instruction] = [_load(16 + 8 * argument)]
    for code, operand in tests:
        body += [(code, 0, 1, operand), (_RETURN, 0, 0, one)]
    body.append((_RETURN, 0, 0, other))
    return [(_EQUAL, 0, len(body), number), *body]


def _without_address(number: int) -> list[Instruction]:
    """Sending is for what socketpair joined: both halves of the fifth argument, a pointer, are nothing."""
    halves: list[Instruction] = []
    for offset in (16 + 8 * 4, 16 + 8 * 4 + 4):
        halves += [_load(offset), (_EQUAL, 1, 0, 0), _error(errno.EPERM)]
    return [(_EQUAL, 0, len(halves) + 1, number), *halves, (_RETURN, 0, 0, _ALLOW)]


def _load(offset: int) -> Instruction:
    return _LOAD, 0, 0, offset


def _error(code: int) -> Instruction:
    return _RETURN, 0, 0, _ERROR | code
