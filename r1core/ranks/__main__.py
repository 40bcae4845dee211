"""What a launcher starts once for each rank: `RANK=1 python -m r1core.ranks JOB.json`."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from pathlib import Path

from r1core.processes import attend
from r1core.ranks.group import LOCK, connection, log_of
from r1core.stages.child import run_in_process


def main(path: Path) -> int:
    """Do the job as this rank."""
    rank = int(os.environ["RANK"])
    job = json.loads(path.read_text(encoding="utf-8"))
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder = Path(job["folder"])
    with (folder / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        pipe = connection(socket.create_connection(tuple(job["address"])))
        hello = {"rank": rank, "pid": os.getpid(), "host": socket.gethostname(), "token": job["token"]}
        pipe.send_bytes(json.dumps(hello).encode())
        went_well = attend(pipe, run_in_process, {**job["arguments"], "rank": rank}, log=log_of(folder, rank))
    return 0 if went_well else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
