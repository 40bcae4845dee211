"""GGUF by a converter that is a program of its own: found, called, ended, believed only when there is a file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from talking_model import TINY, build
from test_export import done, refused

from r1core.errors import SetupError

HONEST = """
import json, os, sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--outfile") + 1])
secrets = [name for name in os.environ if "TOKEN" in name]
seen = {"argv": sys.argv[1:], "secrets": secrets, "offline": os.environ["HF_HUB_OFFLINE"]}
(Path(__file__).parent / "seen.json").write_text(json.dumps(seen))
out.write_bytes(b"GGUF" + bytes(60))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"))


def converter(folder: Path, code: str) -> Path:
    folder.mkdir(exist_ok=True)
    script = folder / "convert_hf_to_gguf.py"
    script.write_text(code)
    return script


def test_the_converter_is_called_and_a_modelfile_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    script = converter(tmp_path / "llama.cpp", HONEST)
    done(folder, tmp_path / "out", "--converter", script.parent, "--gguf", "q8_0")
    seen = json.loads((script.parent / "seen.json").read_text())
    assert seen["argv"][0] == str(tmp_path / "out")
    assert seen["argv"][-2:] == ["--outtype", "q8_0"]
    assert (seen["secrets"], seen["offline"]) == ([], "1")
    assert (tmp_path / "out" / "out-q8_0.gguf").read_bytes()[:4] == b"GGUF"
    lines = (tmp_path / "out" / "Modelfile").read_text().splitlines()
    assert "FROM ./out-q8_0.gguf" in lines
    assert [line for line in lines if line.startswith("PARAMETER")] == [
        'PARAMETER stop "<|end|>"',
        "PARAMETER temperature 0.6",
        "PARAMETER top_p 0.95",
    ]


def test_it_is_found_by_the_environment_and_on_the_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = converter(tmp_path / "llama.cpp", HONEST)
    monkeypatch.setenv("LLAMA_CPP", str(script.parent))
    done(folder, tmp_path / "one", "--gguf")
    assert (tmp_path / "one" / "one-f16.gguf").is_file()
    monkeypatch.delenv("LLAMA_CPP")
    import sys

    script.write_text(f"#!{sys.executable}\n{HONEST}")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    done(folder, tmp_path / "two", "--gguf", "bf16")
    assert (tmp_path / "two" / "two-bf16.gguf").is_file()


def test_without_a_converter_nothing_is_begun(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    error = refused(folder, tmp_path / "out", "--gguf")
    assert isinstance(error, SetupError)
    assert "is not installed" in str(error)
    assert refused(folder, tmp_path / "out", "--gguf", "--converter", tmp_path / "none").exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('BPE pre-tokenizer was not recognized \\x1b[31m'); sys.exit(3)", "was not recognized [31m"),
        ("pass", "left no GGUF file"),
        (HONEST.replace('b"GGUF"', 'b"junk"'), "left no GGUF file"),
    ],
)
def test_a_converter_that_fails_leaves_the_export_and_no_half_file(
    folder: Path, tmp_path: Path, code: str, said: str
) -> None:
    error = refused(folder, tmp_path / "out", "--gguf", "--converter", converter(tmp_path / "c", code))
    assert isinstance(error, SetupError)
    assert said in str(error)
    assert "the export itself is whole" in str(error)
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert not [path for path in (tmp_path / "out").iterdir() if "gguf" in path.name or path.name == "Modelfile"]


def test_a_converter_that_hangs_is_ended_with_its_children(folder: Path, tmp_path: Path) -> None:
    code = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(os.path.join(os.path.dirname(__file__), "pid"), "w").write(str(child.pid))
time.sleep(600)
"""
    script = converter(tmp_path / "c", code)
    error = refused(folder, tmp_path / "out", "--gguf", "--converter", script, "--converter-timeout-s", "1.5")
    assert "not done after 1.5 s and was ended" in str(error)
    child = int((script.parent / "pid").read_text())
    until = time.monotonic() + 10
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_of_an_unknown_template_there_is_a_gguf_and_no_modelfile(folder: Path, tmp_path: Path) -> None:
    other = build(tmp_path / "model", template=TINY.replace("'<|user|> '", "'<|user|>'"))
    said = done(other, tmp_path / "out", "--gguf", "--converter", converter(tmp_path / "c", HONEST))
    assert "no Modelfile" in said
    assert not (tmp_path / "out" / "Modelfile").exists()
    assert (tmp_path / "out" / "out-f16.gguf").is_file()
