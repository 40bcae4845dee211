"""A tiny model behind a real `r1 serve`, for the tests that ask it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from safetensors.torch import load_file, save_file
from tiny_model import ARCHITECTURE, TEMPLATE, write_tokenizer

from r1core.nn import create_model

KEY = "a-key-of-tests"
PREFILLED = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "w1 w2"}], "max_tokens": 30, "seed": 3}


def endless_model(parent: Path) -> Path:
    """A folder `tiny`, whose greedy answers have no end: the end token is never the likeliest."""
    made = parent / "tiny"
    made.mkdir()
    write_tokenizer(made, template=PREFILLED)
    create_model(made, {**ARCHITECTURE, "max_position_embeddings": 4096}, seed=0)
    weights = load_file(made / "model.safetensors")
    weights["model.embed_tokens.weight"][1] = 0
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    return made


def serve(folder: Path, *options: str, key: str = KEY) -> subprocess.Popen[str]:
    """The command as a process of its own, on a free port."""
    environment = {**os.environ, "R1_API_KEY": key, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    line = [sys.executable, "-c", "from r1core.cli import main; main()", "serve", str(folder)]
    line += ["--port", "0", "--engine", "native", *options]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def started(process: subprocess.Popen[str]) -> str:
    """Its address, once it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"engine native: tiny at (http://127\.0\.0\.1:\d+)/v1", line)
    assert found, (line, process.communicate())
    return found[1]


def post(url: str, body: Any = None, **headers: str) -> httpx.Response:
    """What the server says to a request with the key, unless the headers say otherwise."""
    given = {"Authorization": f"Bearer {KEY}", **headers}
    return httpx.post(f"{url}/v1/chat/completions", json=ASK if body is None else body, headers=given, timeout=60)
