"""What all tests share: the surroundings, the order in which workers take files, and what is made once for all workers.

Set before anything imports torch: threads that spin, or more threads than cores, make tests many times slower.
"""

from __future__ import annotations

import compileall
import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shell that starts something in its background has it ignore Ctrl-C, and all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is also the machine's affair, which has neighbours. Times are measured in benchmarks.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

HERE = Path(__file__).parent
LONGEST = (
    *("recipes", "journey", "contract/test_stress_built_ins.py", "contract/test_suites_engines.py", "extras"),
    "plugins/test_code_faults.py",  # locks the others that run code out
)
"""Files that take minutes come first: one begun last keeps one worker busy while the other has nothing to do."""

Once = Callable[[str, Callable[[Path], None]], Path]
"""once(name, make): the folder of this name, which `make` filled in whichever worker asked first."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep xdist from ordering files by their number of tests, which says nothing of how long they take.

    Hundreds of processes are started, some where Python may write no bytecode: there each would compile r1core anew.
    """
    config.option.loadscopereorder = False
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for folder in ("r1core", "plugins"):
            compileall.compile_dir(HERE.parent / folder, quiet=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; within a file, and among the others, the order stays."""
    items.sort(key=lambda item: _rank(item.path.relative_to(HERE).as_posix()))


def _rank(file: str) -> int:
    return next((rank for rank, start in enumerate(LONGEST) if file.startswith(start)), len(LONGEST))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Folders that are made once, under a lock, and are for reading only."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made
