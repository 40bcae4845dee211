"""Wall time and peak memory of a command and everything it starts.

Memory is the sum over the process tree of PSS (shared pages counted once in all), sampled once
a second from /proc; the largest sum of RSS, which counts shared pages in every process, stands beside it.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Exit code, seconds, and MiB."""

    code: int
    wall_s: float
    pss_mib: float
    rss_mib: float


def measure(command: Sequence[str], *, log: Path) -> Measured:
    """Run `command`, its output in `log`, and watch its process tree."""
    begun = time.monotonic()
    peaks = {"Pss": 0, "Rss": 0}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, peaks))
        watcher.start()
        code = process.wait()
        ended.set()
        watcher.join()
    wall_s = time.monotonic() - begun
    return Measured(code=code, wall_s=wall_s, pss_mib=peaks["Pss"] / 1024, rss_mib=peaks["Rss"] / 1024)


def _watch(root: int, ended: threading.Event, peaks: dict[str, int]) -> None:
    while not ended.wait(1.0):
        sums = {"Pss": 0, "Rss": 0}
        for pid in _tree(root):
            for name, kib in _memory(pid).items():
                sums[name] += kib
        for name, kib in sums.items():
            peaks[name] = max(peaks[name], kib)


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _memory(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    wanted = (line.split() for line in lines if line.startswith(("Pss:", "Rss:")))
    return {name.rstrip(":"): int(kib) for name, kib, *_ in wanted}
