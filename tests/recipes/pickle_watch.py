"""Watches every Python process of a run for pickles: an audit hook, put in place by a `sitecustomize.py`.

That file is found through PYTHONPATH by the parent, the fork server and the scoring workers; what the
server forks inherits the hook. Each process notes in a file of its own:

    a global that any unpickler looks up (`pickle.find_class`), who called it, and whether it read a pipe;
    a file opened for reading that holds a pickle, even one of plain data, which looks up nothing

A pickle that comes through a pipe is multiprocessing's own: the caller is `_main` of its spawn.py, and
what it reads from is a FIFO, which a path on a disk never is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOOK = """\
import json, os, stat, sys, threading

RECORDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "records")
SPAWN = os.path.join("multiprocessing", "spawn.py")
here = threading.local()


def note(**what):
    line = json.dumps({"argv": sys.orig_argv, **what}) + "\\n"
    file = os.open(os.path.join(RECORDS, f"{os.getpid()}.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def caller():
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename.endswith(("sitecustomize.py", os.sep + "pickle.py")):
        frame = frame.f_back
    return frame


def reads_pipe(frame):
    if not frame.f_code.co_filename.endswith(SPAWN) or frame.f_code.co_name != "_main":
        return False
    return stat.S_ISFIFO(os.fstat(frame.f_locals["from_parent"].fileno()).st_mode)


def is_pickle(path):
    try:
        size, mode = os.stat(path).st_size, os.stat(path).st_mode
        if not stat.S_ISREG(mode) or size < 3:
            return False
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    head, last = os.read(file, 4096), os.pread(file, 1, size - 1)
    os.close(file)
    framed = head[0] == 0x80 and 2 <= head[1] <= 5 and last == b"."
    return framed or (head.startswith(b"PK") and b"data.pkl" in head)


def look(event, arguments):
    if event not in ("pickle.find_class", "open") or getattr(here, "busy", False):
        return
    here.busy = True
    try:
        if event == "pickle.find_class":
            frame = caller()
            place = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
            note(event="find_class", name=".".join(map(str, arguments)), caller=place, pipe=reads_pipe(frame))
        elif isinstance(arguments[0], (str, bytes)) and arguments[2] & os.O_ACCMODE != os.O_WRONLY:
            if is_pickle(arguments[0]):
                note(event="open", name=os.fsdecode(arguments[0]), caller="", pipe=False)
    finally:
        here.busy = False


note(event="start")
os.register_at_fork(after_in_child=lambda: note(event="fork"))
sys.addaudithook(look)
"""


def watch(folder: Path) -> Path:
    """Lay out the hook in a folder for PYTHONPATH."""
    site = folder / "site"
    (site / "records").mkdir(parents=True)
    (site / "sitecustomize.py").write_text(HOOK)
    return site


@dataclass(frozen=True)
class Watched:
    """A run, and what the processes noted."""

    run: Path
    site: Path

    def processes(self) -> list[list[dict[str, Any]]]:
        """The notes of each process."""
        return [list(map(json.loads, path.read_text().splitlines())) for path in (self.site / "records").iterdir()]

    def kinds(self) -> dict[str, int]:
        """How many processes of each kind were watched."""
        found = [_kind(notes[0]) for notes in self.processes()]
        return {kind: found.count(kind) for kind in found}

    def loads(self, kind: str | None = None) -> Iterator[str]:
        """Pickles that came from anywhere but a pipe between our own processes."""
        for notes in self.processes():
            if kind is None or _kind(notes[0]) == kind:
                yield from (f"{n['event']} {n['name']} {n['caller']}" for n in notes if "pipe" in n and not n["pipe"])

    def piped(self, kind: str) -> int:
        """How many processes of a kind unpickled what came through a pipe."""
        return sum(any(n.get("pipe") for n in notes) for notes in self.processes() if _kind(notes[0]) == kind)


def _kind(first: dict[str, Any]) -> str:
    command = " ".join(first["argv"])
    if "multiprocessing.forkserver" in command:
        return "stage" if first["event"] == "fork" else "server"
    kinds = {"r1core.cli": "parent", "r1core.scoring.server": "worker", "resource_tracker": "tracker"}
    return next((kind for mark, kind in kinds.items() if mark in command), command)
