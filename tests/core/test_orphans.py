"""A parent that is killed with SIGKILL leaves nothing behind, whatever its children are in the middle of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

GONE_S = 5.0
PATIENCE_S = 30.0
PARENTS = {
    "a fork server that imports": "from r1core.processes import prepare; prepare(['slow'])",
    "a process that asked for it": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import slow'])",
}
SLOW = """
import os, time
from pathlib import Path
from r1core.orphans import die_with
if ASKS:
    die_with(os.getppid())
Path(__file__).with_name("pid").write_text(str(os.getpid()))
time.sleep(600)
"""


def wait_for(true: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server ends when its imports are done")
@pytest.mark.parametrize("child", PARENTS)
def test_it_ends_with_its_parent(tmp_path: Path, child: str) -> None:
    (tmp_path / "slow.py").write_text(SLOW.replace("ASKS", str("asked" in child)))
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    code = f"{PARENTS[child]}\nimport time\ntime.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    noted = tmp_path / "pid"
    try:
        assert wait_for(lambda: noted.exists() and bool(noted.read_text()), PATIENCE_S)
        pid = int(noted.read_text())
        assert is_alive(pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    ended = wait_for(lambda: not is_alive(pid), GONE_S)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended
