"""GGUF by llama.cpp's own `convert_hf_to_gguf.py`, a program that is installed apart and runs apart.

It is looked for where `--converter` says, then `LLAMA_CPP` (the script, or llama.cpp's folder), then on PATH. It gets a
process group of its own, no network for models, none of our keys, and a time limit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r1_plugins.export.modelfile import modelfile
from r1core.errors import RecipeError, SetupError
from r1core.untrusted import untrusted

SCRIPT = "convert_hf_to_gguf.py"
VARIABLE = "LLAMA_CPP"
MAGIC = b"GGUF"
TAIL = 12
"""Lines of the converter's output that an error shows."""
SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")


@dataclass(frozen=True, kw_only=True)
class Converter:
    """A program, as it is called."""

    command: tuple[str, ...]


def find_converter(given: Path | None) -> Converter:
    """Raises RecipeError (exit 2) for a path that holds none, SetupError (3) where none is installed."""
    named = os.environ.get(VARIABLE)
    for place, said in ((given, "--converter"), (Path(named) if named else None, VARIABLE)):
        if place is None:
            continue
        script = place / SCRIPT if place.is_dir() else place
        if not script.is_file():
            raise RecipeError(f"{place} holds no {SCRIPT}", where=said, fix="give the script, or llama.cpp's folder")
        return Converter(command=(sys.executable, str(script.resolve())))
    found = shutil.which(SCRIPT)
    if found is None:
        raise SetupError(
            f"GGUF is written by llama.cpp's {SCRIPT}, which is not installed",
            where="--gguf",
            fix=f"get llama.cpp and name its folder: --converter FOLDER, or set {VARIABLE}",
        )
    return Converter(command=(found,))


def convert(converter: Converter, folder: Path, kind: str, *, timeout_s: float) -> Iterator[str]:
    """Write `<folder's name>-<kind>.gguf` and a Modelfile into the folder. Raises SetupError (exit 3) when there is
    none in the end; what the folder held stays."""
    target = folder / f"{folder.resolve().name}-{kind}.gguf"
    staging = folder / f".{target.name}.tmp-{os.getpid()}"
    command = [*converter.command, str(folder), "--outfile", str(staging), "--outtype", kind]
    try:
        _run(command, folder, timeout_s=timeout_s)
        if not _is_gguf(staging):
            raise _failed(folder, "the converter ended well and left no GGUF file", "")
        staging.replace(target)
    finally:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)
    yield f"  {target.name}: {target.stat().st_size / 1e6:,.1f} MB"
    made = modelfile(folder, target.name)
    if made is None:
        yield "  no Modelfile: the chat template is of no family whose Go form is known; a wrong one is worse than none"
        return
    family, text = made
    (folder / "Modelfile").write_text(text, encoding="utf-8", newline="\n")
    yield f"  Modelfile for Ollama (template: {family}): ollama create {folder.resolve().name} -f Modelfile"


def _run(command: list[str], folder: Path, *, timeout_s: float) -> None:
    environment = {name: value for name, value in os.environ.items() if not any(part in name for part in SECRET)}
    environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(folder, f"the converter does not start: {error.strerror}", "") from error
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        _end(process)
        fix = "give it longer: --converter-timeout-s"
        raise _failed(folder, f"the converter was not done after {timeout_s:g} s and was ended", "", fix) from error
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise _failed(folder, f"the converter failed (exit {process.returncode})", output.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _failed(folder: Path, what: str, output: str, fix: str = "") -> SetupError:
    said = "\n    ".join(untrusted(output).strip().splitlines()[-TAIL:])
    kept = f"the export itself is whole: {folder}"
    return SetupError(f"{what}{f', saying:{chr(10)}    {said}' if said else ''}", where="--gguf", fix=f"{fix or kept}")
