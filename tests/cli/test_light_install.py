"""Without torch and transformers every command says what is wrong or what it lacks: exit 2 or 3, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LIGHT = """
import contextlib, io, json, sys, traceback
for absent in ("torch", "transformers"):
    sys.modules[absent] = None
from r1core.cli import main
from r1core.plugins import PluginHost
ended = {}
for line in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(line)
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            code = traceback.format_exc()
    ended[" ".join(line)] = [code, said.getvalue()]
print(json.dumps([ended, list(PluginHost.discover().commands())]))
"""
LINES = [
    ["recipe", "none.yaml"],
    ["ablate", "none.yaml"],
    ["compare", "nowhere"],
    ["advantages", "nowhere", "--use", "grpo"],
    ["explain", "nothing"],
    ["verify", "accuracy", "none.jsonl"],
    ["eval", "model", "--problems", "jsonl:none.jsonl"],
    ["eval", "", "--problems", "jsonl:none.jsonl"],
    ["chat", "model"],
    ["serve", "model", "--port", "0"],
    ["report", "nowhere"],
    ["review", "nowhere"],
    ["export", "model", "out"],
]
"""Each with what a person would give it; nothing of it is there, but for `model`, a folder with a config."""


def test_every_command_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    command = [sys.executable, "-c", LIGHT, json.dumps(LINES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ended, commands = json.loads(done.stdout.splitlines()[-1])
    assert {line: told for line, told in ended.items() if told[0] not in (2, 3)} == {}
    assert all(told.strip() for _, told in ended.values()), "each says something"
    assert set(commands) <= {line[0] for line in LINES}, "a plugin's new command belongs here"
