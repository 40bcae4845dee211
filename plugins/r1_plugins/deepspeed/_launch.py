"""The command that starts the ranks: DeepSpeed's launcher on this machine, its runner (over ssh) with a hostfile.

    worker-1 slots=8        # a hostfile: one machine a line, and how many ranks it takes
    worker-2 slots=8

The launcher looks every second whether one of its ranks failed; it then ends the others and returns its exit code.
All machines must have this environment and the working folder at the same place, as a shared file system gives it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from r1core.errors import R1Error, RecipeError, SetupError

ENVIRONMENT = "deepspeed_env"
CARRIED = ("R1_PLUGINS", "HF_", "OMP_", "MKL_", "TOKENIZERS_", "TORCH_", "PYTORCH_", "TRANSFORMERS_", "DS_ACCELERATOR")
"""What begins so goes to other machines, beside what the runner carries itself (NCCL_, PYTHON, UCX)."""
SECRET = re.compile(r"KEY|TOKEN(?!IZERS)|SECRET|PASSWORD")
"""These do not: they would stand in a file and in other machines' lists of processes."""
_LINE = re.compile(r"(\S+)\s+slots=(\d+)")


def slots(hostfile: Path) -> dict[str, int]:
    """Machine -> ranks that it takes, as DeepSpeed reads it. Raises RecipeError for a file that is none."""
    text = _read(hostfile)
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        match, where = _LINE.match(line.strip()), f"{hostfile}:{number}"
        if match is None or int(match[2]) < 1:
            raise RecipeError(
                f"{line.strip()!r} names no machine", where=where, fix="write for example `worker-1 slots=8`"
            )
        if match[1] in found:
            raise RecipeError(f"{match[1]} stands there twice", where=where, fix="give it one line, with all its slots")
        found[match[1]] = int(match[2])
    if not found:
        raise RecipeError("the hostfile names no machine", where=str(hostfile), fix="for example `worker-1 slots=8`")
    return found


def absent(hostfile: Path) -> list[R1Error]:
    """What keeps ranks from being started on the hostfile's machines. Raises RecipeError for a slip in it."""
    lacking: list[R1Error] = [] if shutil.which("pdsh") else [_no_runner(hostfile)]
    try:
        _read(hostfile)
    except RecipeError as error:
        return [*lacking, error]
    slots(hostfile)
    return lacking


def _read(hostfile: Path) -> str:
    try:
        return hostfile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise RecipeError(
            f"the hostfile cannot be read: {reason}",
            where=f"hostfile {hostfile}",
            fix="write it, one machine a line: worker-1 slots=8; or name another: --set engines.policy.hostfile=<file>",
        ) from error


def _no_runner(hostfile: Path) -> SetupError:
    return SetupError(
        "pdsh, by which the runner starts ranks on other machines, is not installed",
        where=f"hostfile {hostfile}",
        fix="install it with the system's packages (pdsh), and let ssh reach these machines without a password",
    )


def command(program: Sequence[str], *, ranks: int, hostfile: Path | None, device: str, folder: Path) -> list[str]:
    """What starts `program` once for each rank, here or on the hostfile's machines."""
    own = {"DS_ACCELERATOR": "cpu"} if device == "cpu" else {}
    if hostfile is None:
        world = base64.urlsafe_b64encode(json.dumps({"localhost": _devices(ranks, device)}).encode()).decode()
        start = ["deepspeed.launcher.launch", f"--world_info={world}", "--master_addr=127.0.0.1"]
    else:
        if shutil.which("pdsh") is None:
            raise _no_runner(hostfile)
        if quoted := [word for word in program if re.search(r"[\"'$`\\;&|<>()*?]", word)]:
            raise SetupError(
                f"{quoted[0]!r} does not pass through the shells of other machines",
                where=f"hostfile {hostfile}",
                fix="choose a run directory whose path has letters, digits and . _ - / alone",
            )
        own["DS_ENV_FILE"] = str(_environment(folder, own))
        start = ["deepspeed.launcher.runner", f"--hostfile={hostfile}", "--force_multi"]
    rest = [f"--master_port={_free_port()}", "--no_python", "--no_local_rank", "--quiet", *program]
    named = [f"{name}={value}" for name, value in own.items()]
    return ["env", *named, sys.executable, "-W", "ignore", "-m", *start, *rest]


def _devices(ranks: int, device: str) -> list[int | str]:
    """The GPU of each rank. The launcher makes CUDA_VISIBLE_DEVICES of them, and does not look at the user's."""
    visible = [] if device == "cpu" else [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d.strip()]
    if visible and len(visible) < ranks:
        raise SetupError(
            f"{ranks} ranks need as many GPUs, CUDA_VISIBLE_DEVICES names {len(visible)}: {','.join(visible)}",
            where="policy deepspeed",
            fix=f"set ranks: {len(visible)}, or make more visible",
        )
    return [*visible[:ranks]] if visible else [*range(ranks)]


def _environment(folder: Path, own: Mapping[str, str]) -> Path:
    """The file from which the runner takes what other machines' ranks find in their environment: what is `CARRIED`,
    after what the user's own such file says. Absolute, since the runner looks for it beside itself and at home."""
    folder.mkdir(parents=True, exist_ok=True)
    theirs = os.environ.get("DS_ENV_FILE", ".deepspeed_env")
    files = [place for place in (Path.home() / theirs, Path(theirs)) if place.is_file()]
    lines = [line for file in dict.fromkeys(files) for line in file.read_text(encoding="utf-8").splitlines() if line]
    carried = {
        name: value
        for name, value in {**os.environ, **own}.items()
        if name.startswith(CARRIED) and not SECRET.search(name) and "\n" not in value
    }
    written = (folder / ENVIRONMENT).resolve()
    written.touch(mode=0o600)
    written.write_text("\n".join([*lines, *(f"{k}={v}" for k, v in carried.items())]) + "\n", encoding="utf-8")
    return written


def _free_port() -> int:
    """A port that nobody has now; the first rank will have it in a moment."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
