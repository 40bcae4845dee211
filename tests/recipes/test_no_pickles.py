"""No pickle is read from a path in a whole run: not by our code, nor by a library on its behalf (pickle_watch.py).

That our own source names no unpickler is tests/contract/test_style.py's to test.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pickle_watch import Watched, watch
from smoke_runs import R1

RECIPE = """\
r1: 1
name: planted
profile: none
engines: {policy: TOYS:Skill, sampler: TOYS:Guess}
stages:
  base: {train: {use: TOYS:Climb}, model: {scratch: {skill: 0.2}}, data: {use: TOYS:Numbers}}
  traces:
    sample: {prompts: 2}
    model: base
    problems: PLANTED:Asked
    rewards: [PLANTED:Judged]
"""
PLANTED = """\
import pickle
from pathlib import Path
from r1core import Problem, ProblemSource, Reward, Score
HERE = Path(__file__).parent
class Asked(ProblemSource):
    name = "asked"
    def problems(self, *, seed):
        with open(HERE / "asked.pkl", "rb") as file:
            rows = pickle.load(file)
        for row in rows:
            yield Problem(id=row, messages=({"role": "user", "content": row},), reference=row)
class Judged(Reward):
    name = "judged"
    def score(self, problem, response):
        return Score(value=float(pickle.loads((HERE / "judged.pkl").read_bytes())))
"""


def test_every_process_of_the_run_was_watched(watched_smoke: Watched) -> None:
    kinds = watched_smoke.kinds()
    stages = [path for path in (watched_smoke.run / "stages").iterdir() if not path.name.startswith(".")]
    assert len(stages) >= 12
    assert kinds.pop("parent") == 1
    assert kinds.pop("server") == 1
    assert kinds.pop("stage") == len(stages) == watched_smoke.piped("stage")
    assert kinds.pop("worker") >= 8
    assert kinds.pop("tracker", 1) == 1
    assert kinds == {}


def test_a_whole_run_reads_no_pickle_from_a_path(watched_smoke: Watched) -> None:
    assert list(watched_smoke.loads()) == []


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run with a source that reads a pickle of plain data, and a reward that reads one with a class."""
    folder = tmp_path_factory.mktemp("planted")
    toys = Path(__file__).parents[1] / "core" / "toy_stages.py"
    (folder / "planted.py").write_text(PLANTED)
    (folder / "recipe.yaml").write_text(RECIPE.replace("TOYS", str(toys)).replace("PLANTED", "./planted.py"))
    (folder / "asked.pkl").write_bytes(pickle.dumps(["one", "two"]))
    (folder / "judged.pkl").write_bytes(b"cbuiltins\nfloat\n(V0.5\ntR.")
    site = watch(folder)
    done = subprocess.run(
        [sys.executable, "-c", R1, "recipe", "recipe.yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(site), *sys.path]))},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Watched(folder / "runs" / "planted", site)


@pytest.mark.parametrize("kind", ["parent", "stage"])
def test_a_planted_pickle_of_plain_data_is_caught(planted: Watched, kind: str) -> None:
    assert [load for load in planted.loads(kind) if load.startswith("open ") and "asked.pkl" in load]


def test_a_planted_pickle_with_a_class_is_caught_in_a_scoring_worker(planted: Watched) -> None:
    found = set(planted.loads("worker"))
    assert any(load.startswith("find_class builtins.float ") and load.endswith(" score") for load in found), found
