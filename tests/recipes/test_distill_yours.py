"""`distill_yours.yaml` and `distill_from_endpoint.yaml` as a person runs them: two model folders, two JSONL files, and
in the second a server on loopback that wants a key. The folders hold small models that a run of stages made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import pytest
from toy_line import ARCHITECTURE

from r1_plugins.playground.sources import Playground
from r1core.store import read_json, read_rows

R1 = "from r1core.cli import main; main()"
MODEL = f"""\
    train: {{use: sft, lr: 2.5e-3, batch_tokens: 1024}}
    model:
      scratch:
{ARCHITECTURE}
    data: {{use: playground_corpus, documents: 200}}
"""
MODELS = f"""\
r1: 1
name: models
profile: none
engines: {{policy: {{use: transformers, device: cpu}}}}
stages:
  teacher:
{MODEL}
  student:
{MODEL}
    seed: 1
"""
SMALL = (
    *("engines.policy={use: transformers, device: cpu}", "sampling.max_new_tokens=24", "stages.traces.sample.chunk=4"),
    "stages.comparison.evaluate.sets={pass@1: {problems: held_out, samples: 2}}",
    "stages.student_distilled.train.traces={lr: 1.0e-3, batch_tokens: 256}",
)
KEY = "sk-of-the-test"
EVERYTHING = "stages.traces.filters=[{use: correct, min: 0}]"
"""What a model that knows nothing writes is seldom right."""


def r1(
    folder: Path, recipe: str, *sets: str, until: str = "comparison", **environment: str
) -> subprocess.CompletedProcess[str]:
    arguments = ["--until", until, *(word for each in (*SMALL, *sets) for word in ("--set", each))]
    return subprocess.run(
        [sys.executable, "-c", R1, "recipe", recipe, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        timeout=300,
    )


@pytest.fixture(scope="module")
def models(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with the models `teacher` and `student`."""

    def run(folder: Path) -> None:
        (folder / "models.yaml").write_text(MODELS, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", R1, "recipe", "models.yaml"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        for name in ("teacher", "student"):
            (folder / "runs/models/stages" / name / "model").rename(folder / name)

    return once("small_models", run)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with problems in two files."""
    (tmp_path / "problems").mkdir()
    for name, split, count in (("train", "train", 8), ("held_out", "held_out", 4)):
        source = Playground(Playground.Config.model_validate({"operands": [2, 2], "split": split}))
        rows = [
            {"prompt": problem.messages[-1]["content"], "reference": problem.reference, "language": problem.language}
            for problem in islice(source.problems(seed=0), count)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / "problems" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(URL, what it was asked): it knows every answer, thinks in a field of its own, and wants the key."""
    rows = [json.loads(line) for line in (folder / "problems/train.jsonl").read_text(encoding="utf-8").splitlines()]
    known = {row["prompt"]: str(row["reference"]) for row in rows}
    asked: list[str] = []

    class Teacher(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][-1]["content"]
            is_known = self.headers["Authorization"] == f"Bearer {KEY}" and body["model"] == "theirs"
            asked.append(question if is_known else "a stranger")
            message = {"reasoning_content": "a b", "content": f"<answer>{known[question]}</answer>"}
            choice = {"finish_reason": "stop", "message": {"role": "assistant", **message}}
            reply = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}).encode()
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Teacher) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/v1", asked
        serving.shutdown()
        thread.join()


def measured(run: Path) -> list[str]:
    return [row["model"] for row in read_json(run / "results.json")["rows"]]


def has_learned(run: Path, base: Path) -> bool:
    learned = (run / "stages/student_distilled/model/model.safetensors").read_bytes()
    return learned != (base / "model.safetensors").read_bytes()


def test_two_folders_and_two_files_are_all_that_is_needed(models: Path, folder: Path) -> None:
    own = (f"models.teacher={models / 'teacher'}", f"models.student_base={models / 'student'}")
    done = r1(folder, "recipes/distill_yours.yaml", *own, EVERYTHING)
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / "distill-yours"
    stages = {path.name for path in (run / "stages").iterdir() if not path.name.startswith(".")}
    assert stages == {"teacher", "student_base", "traces", "student_distilled", "comparison"}
    assert measured(run) == ["teacher", "student_base", "student_distilled"]
    assert len(list(read_rows(run / "stages/traces/data"))) == 8 * 4
    assert has_learned(run, models / "student")


def test_a_teacher_behind_an_endpoint_is_asked_once_though_it_moves(models: Path, folder: Path) -> None:
    recipe, student = "recipes/distill_from_endpoint.yaml", f"models.student_base={models / 'student'}"
    theirs = "stages.traces.sampler.model=theirs"
    with server(folder) as (url, asked):
        at = f"stages.traces.sampler.endpoint.url={url}"
        without_key = r1(folder, recipe, student, at, theirs)
        assert without_key.returncode == 3
        assert "the environment variable TEACHER_API_KEY is not set" in without_key.stderr
        assert asked == []
        done = r1(folder, recipe, student, at, theirs, TEACHER_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
    run = folder / "runs" / "distill-from-endpoint"
    assert len(asked) == 8 * 4
    assert "a stranger" not in asked
    assert measured(run) == ["student_base", "student_distilled"]
    kept = [row for row in read_rows(run / "stages/traces/data") if row["keep"]]
    assert len(kept) == 8 * 2, "at most two of a problem"
    assert has_learned(run, models / "student")
    with server(folder) as (url, again):
        moved = f"stages.traces.sampler.endpoint.url={url}"
        other = ("stages.traces.filters=[correct]", "name=other")
        done = r1(folder, recipe, student, moved, theirs, *other, until="traces", TEACHER_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
    assert again == [], "another run, another address, the same teacher"
