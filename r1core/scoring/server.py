"""The process that scoring workers are forked from: it imports the rewards' modules once, and nothing else.

    python -P -m r1core.scoring.server      # its stdin is a socket; by way of boot.py in another interpreter

In: one hello (rewards, parent, memory_mib), then orders: `{"fork": number}`, with the worker's two pipe
ends as descriptors, and `{"reap": pid}`. Out: `{"ready": true}` or `{"error": ...}`, then
`{"forked": number, "pid": ...}` and `{"reaped": pid, "code": ...}`. A worker that has ended keeps its pid
until the parent orders it to be reaped, so no signal can reach a stranger. When the parent is gone, so are
the workers with their process groups, and this process. It has no threads, for it forks.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from r1core.orphans import die_with
from r1core.scoring.source import Source, changed
from r1core.scoring.worker import Entry, load_reward, work

_AGAIN_S = 0.02


def main() -> None:
    """Serve until the parent's end of the socket is closed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the thread that started it lets no signal through
    control = _take_control()
    orders = _Orders(control)
    hello = next(orders, None)
    if hello is None:
        return
    if sys.platform == "linux":  # elsewhere it would take a thread; there the end of the socket must do
        die_with(hello["parent"])
    try:
        entries = {entry[0]: _entry(*entry[1:]) for entry in hello["rewards"]}
    except RuntimeError as error:
        _tell(control, {"error": str(error)})
        os._exit(1)  # a thread that an import left behind would keep it for ever
    gc.collect()
    gc.freeze()  # what is imported stays shared with the workers
    _Server(control, entries, hello["memory_mib"]).serve(orders)


def _take_control() -> socket.socket:
    """stdin is the socket, for the protocol alone: from here on stdin and stdout are something else to everyone."""
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return control


def _tell(control: socket.socket, message: Mapping[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _entry(name: str, target: str, options: Mapping[str, Any], sees: Any, source: Any) -> Entry:
    """The reward, imported. Raises RuntimeError where it cannot be, or is not what the plan speaks of."""
    try:
        difference = changed(Source(*source)) if source is not None else ""
        found = Entry(name, load_reward(target), options, sees)
    except BaseException as error:
        raise RuntimeError(f"reward {name!r} cannot be built: {type(error).__name__}: {error}") from error
    if difference:
        raise RuntimeError(f"reward {name!r}: {difference}")
    return found


class _Orders:
    """The lines that arrive, and the descriptors that came with them, in order."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._rest = b""
        self.descriptors: deque[int] = deque()
        self.meanwhile: Callable[[], bool] = lambda: False
        """What to do while none comes; False when that is done."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            while self.meanwhile() and not select.select([self._control], [], [], _AGAIN_S)[0]:
                pass
            data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, 16)
            if not data:
                raise StopIteration
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self.descriptors += descriptors
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        order: dict[str, Any] = json.loads(line)
        return order


class _Server:
    def __init__(self, control: socket.socket, entries: Mapping[int, Entry], memory_mib: int) -> None:
        self._control = control
        self._entries = entries
        self._memory_mib = memory_mib
        self._workers: set[int] = set()
        self._killed: set[int] = set()
        """Those to reap, when the system has taken them apart: a large one takes a while."""

    def serve(self, orders: _Orders) -> None:
        """Do as told until the parent closes the socket, or dies."""
        if sys.platform == "linux":
            signal.signal(signal.SIGTERM, lambda *_: self._end())
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG; until here, in the imports, it was SIGKILL
        _tell(self._control, {"ready": True})
        orders.meanwhile = self._reap
        try:
            for order in orders:
                if "fork" in order:
                    self._fork(order["fork"], orders.descriptors.popleft(), orders.descriptors.popleft())
                elif order["reap"] in self._workers:  # not one of an earlier server's
                    self._killed.add(order["reap"])
        except OSError:  # the parent does not listen any more
            pass
        self._end()

    def _fork(self, number: int, requests: int, replies: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        trouble, server = "", os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            pid, trouble = -1, str(error)
        if pid == 0:
            self._become_worker(server, requests, replies)
        os.close(requests)
        os.close(replies)
        if pid > 0:
            self._workers.add(pid)
        _tell(self._control, {"forked": number, "pid": pid, "error": trouble})

    def _become_worker(self, server: int, requests: int, replies: int) -> NoReturn:
        code = 1
        try:
            self._control.close()
            work(server, requests, replies, self._entries, self._memory_mib)
            code = 0
        except BrokenPipeError:  # nobody listens any more: it is about to be killed
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> bool:
        """Collect those that have been killed, as far as they are gone; whether some are not."""
        for pid in list(self._killed):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._killed.discard(pid)
                self._workers.discard(pid)
                _tell(self._control, {"reaped": pid, "code": os.waitstatus_to_exitcode(status)})
        return bool(self._killed)

    def _end(self) -> NoReturn:
        """Kill and collect every worker, with all that it started."""
        for pid in self._workers:
            kill_group(pid)
        for pid in self._workers:
            os.waitpid(pid, 0)
        os._exit(0)


def kill_group(pid: int) -> None:
    """SIGKILL a worker and its group, which it may not lead yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS: a group of zombies
            kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
