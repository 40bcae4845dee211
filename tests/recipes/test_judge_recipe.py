"""recipes/judge.yaml as a person runs it: the real command, a real server beside it, a kill in the middle.

The first run is a process of its own. The others are the same command line in this one, so that they share its fork
server: what they cost is their stages, which are processes in any case, and not torch's import.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from smoke_runs import R1

from r1core.cli import main
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.recipe.shipped import shipped_folder
from r1core.store import read_json, read_metrics
from r1core.store.promised import promised

SERVER = shipped_folder() / "judge_server.py"
SMALL = (
    "stages.beginner.data.documents=6000",
    "stages.judged.train.steps=4",
    "stages.measured.evaluate.sets.pass@1.limit=8",
)
KEY = "sk-canary-77aa"


@dataclass(frozen=True)
class Serving:
    """A judge at work."""

    url: str
    log: Path

    def asked(self) -> list[str]:
        """Every request so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Serving]:
    """The recipe's own server."""
    command = [sys.executable, str(SERVER), "--port", "0", "--log", str(folder / "asked"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            yield Serving(found[0], folder / "asked")
        finally:
            server.kill()


def command_line(server: Serving) -> list[str]:
    """`r1 recipe recipes/judge.yaml`, smaller."""
    sets = [*SMALL, f"stages.judged.rewards.1.endpoint.url={server.url}"]
    sets.append("stages.judged.rewards.1.endpoint.key={env: TOY_JUDGE_KEY}")
    return ["recipe", "recipes/judge.yaml", *(part for value in sets for part in ("--set", value))]


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`r1` in a process of its own, in `folder`."""
    own = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "200", "TOY_JUDGE_KEY": KEY}
    return subprocess.run(
        [sys.executable, "-c", R1, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **own},
        timeout=300,
    )


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def here(folder: Path, *arguments: str, **environment: str) -> Done:
    """`r1` in this process, in `folder`."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        for name, value in {"COLUMNS": "200", "TOY_JUDGE_KEY": KEY, **environment}.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def run(folder: Path, server: Serving, *arguments: str, **environment: str) -> Done:
    """The recipe in this process, in `folder`."""
    return here(folder, *command_line(server), *arguments, **environment)


@dataclass(frozen=True)
class Unbroken:
    """A run that nothing happened to."""

    server: Serving
    folder: Path
    said: str
    asked: frozenset[str]

    @property
    def judged(self) -> Path:
        return self.folder / "runs" / "judge" / "stages" / "judged"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbroken]:
    folder = tmp_path_factory.mktemp("judge")
    with serving(folder) as server:
        done = process(folder, *command_line(server))
        assert done.returncode == 0, done.stdout + done.stderr
        asked = server.asked()
        assert len(asked) == len(set(asked))
        yield Unbroken(server, folder, done.stdout, frozenset(asked))


def begun(unbroken: Unbroken, folder: Path) -> Path:
    """A copy of the run in which nobody was judged yet."""
    shutil.copytree(unbroken.folder / "runs", folder / "runs")
    stages = folder / "runs" / "judge" / "stages"
    for name in ("judged", "measured", ".rewards"):
        shutil.rmtree(stages / name)
    return stages / "judged"


def test_the_judge_is_looked_at_and_then_learned_from(unbroken: Unbroken) -> None:
    assert "judge rules: preflight: 0 of 126 wrong answers pass, 15 of 16 right ones" in unbroken.said
    rows = list(read_metrics(unbroken.judged / "metrics.jsonl"))
    assert len(rows) == 4
    assert sum(row["verifier/judge/calls"] for row in rows) > 20
    assert len(unbroken.asked) > 142 + 20
    assert all(row["verifier/infra_rate"] == 0 for row in rows)
    assert {row["model"] for row in read_json(unbroken.folder / "runs" / "judge" / "results.json")["rows"]} == {
        "beginner",
        "judged",
    }


def test_what_was_asked_once_is_never_asked_again(unbroken: Unbroken) -> None:
    before = promised(unbroken.judged)
    again = run(unbroken.folder, unbroken.server, "--from", "judged", "--until", "judged")
    assert again.returncode == 0, again.stderr
    assert "judged: done" in again.stdout
    assert set(unbroken.server.asked()) == unbroken.asked
    assert len(unbroken.server.asked()) == len(unbroken.asked)
    assert promised(unbroken.judged) == before


@pytest.mark.parametrize("place", ["ledger.append:150", "unit:2"])
def test_killed_and_gone_on_with_it_pays_for_nothing_twice(unbroken: Unbroken, tmp_path: Path, place: str) -> None:
    judged, before, log = begun(unbroken, tmp_path), len(unbroken.server.asked()), tmp_path / "kills"
    killed = run(tmp_path, unbroken.server, "--until", "judged", R1_KILL_AT=f"judged/{place}", R1_KILL_LOG=str(log))
    assert log.read_text() == f"judged/{place.partition(':')[0]}\n"
    assert killed.returncode != 0
    done = run(tmp_path, unbroken.server, "--until", "judged")
    assert done.returncode == 0, done.stderr
    asked = Counter(unbroken.server.asked()[before:])
    assert asked.keys() == unbroken.asked
    # What was under way at the kill is in no record: no more than are asked at once.
    assert sum(asked.values()) - len(asked) <= 16
    assert promised(judged) == promised(unbroken.judged)


def test_a_judge_that_a_colon_opens_is_refused_before_any_training(unbroken: Unbroken, tmp_path: Path) -> None:
    judged = begun(unbroken, tmp_path)
    with serving(tmp_path, "--credulous") as server:
        refused = run(tmp_path, server)
        assert server.asked()
    assert refused.returncode == 4, refused.stderr
    assert "fails its preflight" in refused.stderr
    assert "':' (8 of 8)" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (judged / "model").exists()
    assert not list(judged.glob("rollouts/*"))
    metrics = judged / "metrics.jsonl"
    assert not metrics.exists() or not metrics.read_text()


def test_a_cap_ends_the_run_and_a_higher_one_goes_on(unbroken: Unbroken, tmp_path: Path) -> None:
    begun(unbroken, tmp_path)
    with serving(tmp_path) as server:
        stopped = run(tmp_path, server, "--set", "stages.judged.rewards.1.max_calls=150")
        assert stopped.returncode == 4, stopped.stderr
        assert "150 calls are spent" in stopped.stderr
        assert len(server.asked()) == 150
        done = run(tmp_path, server, "--until", "judged")
        assert done.returncode == 0, done.stderr
        assert len(server.asked()) == len(set(server.asked())) > 150


def test_the_key_is_in_no_file_of_the_run_and_the_plan_tells_where_it_goes(unbroken: Unbroken) -> None:
    files = [path for path in unbroken.folder.rglob("*") if path.is_file()]
    assert len(files) > 15
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in unbroken.said
    plan = run(unbroken.folder, unbroken.server, "--dry-run")
    assert f"hosts: {unbroken.server.url.removesuffix('/v1')} (judge)" in plan.stdout
    assert "keys: TOY_JUDGE_KEY (sent to 127.0.0.1)" in plan.stdout


def test_a_key_that_is_missing_is_said_before_any_compute(unbroken: Unbroken, tmp_path: Path) -> None:
    refused = run(tmp_path, unbroken.server, TOY_JUDGE_KEY="")
    assert refused.returncode == 3
    assert "TOY_JUDGE_KEY is not set" in refused.stderr
    assert not (tmp_path / "runs" / "judge" / "stages").exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/v1",
        "http://a@b.example/v1",
        "http://a.example\\@b.example/v1",
        "http://[fd00:ec2::254]/",
    ],
)
def test_where_it_must_not_go_is_refused_at_its_line(unbroken: Unbroken, tmp_path: Path, url: str) -> None:
    own = tmp_path / "judge.yaml"
    text = (shipped_folder() / "judge.yaml").read_text()
    own.write_text(text.replace("http://127.0.0.1:8008/v1", url.replace("\\", "\\\\")))
    refused = here(tmp_path, "recipe", str(own), "--dry-run")
    assert refused.returncode == 2, refused.stdout
    line = next(n for n, row in enumerate(text.splitlines(), 1) if '127.0.0.1:8008/v1"}' in row and "endpoint" in row)
    assert f"judge.yaml:{line}:" in refused.stderr


def fingerprint(*sets: str) -> str:
    plan = make_plan(resolve(shipped_folder() / "judge.yaml", "none", sets), PluginHost.discover())
    return plan.stage("judged").fingerprint


def test_what_decides_how_far_it_goes_is_no_part_of_what_it_is() -> None:
    own = "stages.judged.rewards.1."
    same = [own + each for each in ("max_calls=7", "concurrent=1", "endpoint.timeout_s=9", "outage={max_s: 5}")]
    others = [own + each for each in ("model=x", "rubric=x", "endpoint.url=http://127.0.0.1:9/v1", "canaries=0.2")]
    assert {fingerprint(each) for each in same} == {fingerprint()}
    assert fingerprint() not in {fingerprint(each) for each in others}
