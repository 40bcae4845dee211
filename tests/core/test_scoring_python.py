"""`python:` in real virtual environments: another numpy than ours, and everything that can go wrong there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_scoring import group, spec
from test_scoring_faults import alive, wait_until
from third_party import _install_one
from toy_runs import contents, go, written

import r1core
from r1core.errors import SetupError
from r1core.events import StageSkipped
from r1core.plugins import PluginHost
from r1core.recipe.elsewhere import Elsewhere
from r1core.recipe.environment import Environment
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.scoring import RewardSpec, ScoringService
from r1core.scoring.python import Interpreter, look
from r1core.store import kills, read_json, read_rows

FIXTURES = Path(__file__).parents[1] / "fixtures" / "python_env"
REWARDS = FIXTURES / "rewards.py"
REPOSITORY = Path(__file__).parents[2]
THEIRS = "1.26.4"

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 13), reason=f"numpy {THEIRS} is not to be had for this Python")


def made(folder: Path, *packages: str, without_dependencies: tuple[str, ...] = ()) -> Path:
    """A virtual environment with these packages, as a person makes one."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    if without_dependencies:
        subprocess.run([*pip, "--no-deps", *without_dependencies], check=True)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another numpy than ours, the plugin that wants it, and an r1core of its own."""
    packages = (f"numpy=={THEIRS}", "pydantic", "pluggy")
    own = (str(REPOSITORY), str(FIXTURES / "r1core-heavy"))
    return made(tmp_path_factory.mktemp("theirs") / "env", *packages, without_dependencies=own)


def elsewhere(place: Path, name: str) -> Elsewhere:
    return Elsewhere(loaded=PluginHost.discover().load("reward", name), environment=Environment(place))


def there(place: Path, name: str, **options: Any) -> RewardSpec:
    """A reward that runs in the environment; a class of the fixture's file, or a plugin's component."""
    return spec_of(elsewhere(place, name if "/" in name else f"{REWARDS}:{name}"), name.lower(), **options)


def spec_of(found: Elsewhere, name: str, **options: Any) -> RewardSpec:
    of: Any = found.loaded.cls
    interpreter = Interpreter.of(found)
    return RewardSpec.of(of, name=name, target=found.loaded.target, options=options, interpreter=interpreter)


def scored(specs: list[RewardSpec], answers: list[str], **given: Any) -> list[Any]:
    with ScoringService(specs, **given) as service:
        return list(service.score([group(answers)])[0].scores)


# --- whose packages ----------------------------------------------------------------------------------


def test_a_reward_gets_the_packages_of_its_environment_and_our_r1core(environment: Path) -> None:
    (found,) = scored([there(environment, "Seen")], ["yes"])
    numpy, prefix, core = found.reason.split()
    assert np.__version__ != THEIRS
    assert (numpy, Path(prefix), Path(core)) == (THEIRS, environment, Path(r1core.__file__).parent)
    assert found.value == 1.0


def test_an_environment_without_r1core_will_do_for_a_local_file(environment: Path, tmp_path: Path) -> None:
    shutil.copytree(environment, tmp_path / "bare", symlinks=True)
    site = next((tmp_path / "bare").glob("lib/python3.*/site-packages"))
    for folder in ("r1core", "r1_plugins", "pluggy"):
        shutil.rmtree(site / folder)
    (found,) = scored([there(tmp_path / "bare", "Seen")], ["yes"])
    assert found.reason.startswith(f"{THEIRS} {tmp_path / 'bare'} ")


def test_an_interpreter_file_will_do(environment: Path) -> None:
    (found,) = scored([there(environment / "bin" / "python3", "Seen")], ["yes"])
    assert found.reason.startswith(f"{THEIRS} {environment} ")


def test_a_built_in_reward_can_run_there_too(environment: Path) -> None:
    found = elsewhere(environment, "format")
    built_in = spec_of(found, "format")
    here = replace(built_in, interpreter=None)
    assert look([found]) == {}
    assert [s.parts for s in scored([built_in], ["yes", "</think>"])] == [
        s.parts for s in scored([here], ["yes", "</think>"])
    ]


def test_nothing_of_the_parents_environment_reaches_it(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("R1_TEST_SECRET", "PYTHONPATH"):
        monkeypatch.setenv(name, "/nowhere")
    (found,) = scored([there(environment, "Surroundings")], ["yes"])
    assert (found.value, found.reason) == (1.0, f"{environment / 'bin'} {environment}")


def test_rewards_with_and_without_it_are_mixed_and_every_answer_gets_its_own_score(environment: Path) -> None:
    specs = [spec("Length"), there(environment, "Seen"), spec("Process", runs="stage"), spec("Exact")]
    answers = ["yes" if k % 3 else "x" * k for k in range(60)]
    found = scored(specs, answers, workers=2)
    assert [list(score.parts) for score in found] == [["length", "seen", "process", "exact"]] * 60
    assert [score.parts["seen"] for score in found] == [float(answer == "yes") for answer in answers]
    frame = len("<think>hm</think><answer></answer>")
    assert [score.parts["length"] for score in found] == [frame + len(answer) for answer in answers]
    assert {score.parts["process"] for score in found} == {float(os.getpid())}
    assert [score.parts["exact"] for score in found] == [score.parts["seen"] for score in found]


# --- a bad day ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("hang", "verifier_timeout"),
        ("exit", "verifier_crash"),
        ("segfault", "verifier_crash"),
        ("kill", "verifier_crash"),
    ],
)
def test_what_brings_it_down_is_an_outcome_of_the_answer_and_the_next_are_judged_rightly(
    environment: Path, tmp_path: Path, answer: str, reason: str
) -> None:
    log = tmp_path / "log"
    specs = [there(environment, "Seen"), there(environment, "Bad", log=str(log)), spec("Exact")]
    found = scored(specs, ["yes", answer, "no", "yes"])
    faults = [line for line in log.read_text().split() if not line.isdigit()]
    assert faults == [answer, answer]  # once more in a fresh worker
    assert (found[1].status, found[1].reason, found[1].parts["bad"]) == ("answer_failure", reason, -1.0)
    assert [score.parts["seen"] for score in found] == [1.0, 0.0, 0.0, 1.0]
    assert [score.parts["exact"] for score in found] == [1.0, 0.0, 0.0, 1.0]
    assert [score.status for score in found] == ["verdict", "answer_failure", "verdict", "verdict"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("answer", ["hang", "exit"])
def test_nothing_that_it_started_is_left(environment: Path, tmp_path: Path, answer: str) -> None:
    log = tmp_path / "log"
    scored([there(environment, "Bad", log=str(log))], [answer, "yes"])
    children = [int(line) for line in log.read_text().split() if line.isdigit()]
    assert len(children) == 2
    assert wait_until(lambda: not any(alive(pid) for pid in children))


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
def test_a_memory_bomb_is_an_outcome_of_the_answer(environment: Path, tmp_path: Path) -> None:
    bad = there(environment, "Bad", log=str(tmp_path / "log"))
    bomb, fine = scored([replace(bad, timeout_s=60.0)], ["hoard", "yes"], memory_mib=4096)
    assert (tmp_path / "log").read_text().split() == ["hoard", "hoard"]  # once more in a fresh worker
    assert (bomb.value, bomb.reason) == (-1.0, "verifier_error: MemoryError")
    assert fine.value == 1.0


def test_one_interpreter_that_does_not_start_leaves_no_worker_of_the_others(environment: Path, tmp_path: Path) -> None:
    broken = there(environment, "Seen")
    assert broken.interpreter is not None
    broken = replace(broken, interpreter=replace(broken.interpreter, python=str(tmp_path / "python")))
    service = ScoringService([spec("Process"), broken])
    with pytest.raises(SetupError, match=r"no process could be started: .*python"):
        service.__enter__()
    with pytest.raises(RuntimeError, match="enter the scoring service"):
        service.score([group(["yes"])])


def test_an_interpreter_that_ends_at_once_is_named(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    broken = there(environment, "Seen")
    assert broken.interpreter is not None
    broken = replace(broken, interpreter=replace(broken.interpreter, python=str(tmp_path / "python")))
    message = f"a scoring worker in {tmp_path / 'python'} did not start: exit code 3"
    with pytest.raises(SetupError, match=message), ScoringService([broken]):
        pass


# --- a plugin, and its source ------------------------------------------------------------------------


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin here, where its numpy is not: what `pip install --no-deps` leaves."""
    site = tmp_path / "site-packages"
    _install_one(FIXTURES / "r1core-heavy", site)
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.usefixtures("heavy")
def test_a_plugin_that_needs_another_numpy_runs_there_and_not_here(environment: Path) -> None:
    reward = there(environment, "heavy/old")
    found = scored([reward], ["yes", "no"])
    assert [(score.status, score.value, score.reason) for score in found] == [
        ("verdict", 1.0, THEIRS),
        ("verdict", 0.0, THEIRS),
    ]
    (here,) = scored([replace(reward, interpreter=None)], ["yes"])
    assert (here.status, here.reason) == ("answer_failure", "verifier_error: AttributeError")
    assert look([elsewhere(environment, "heavy/old")]) == {}


def test_code_there_that_is_not_the_plans_is_refused_with_both_versions(environment: Path, heavy: Path) -> None:
    newer = heavy / "r1core_heavy" / "old.py"
    newer.write_text(newer.read_text() + "# newer\n")
    reward = there(environment, "heavy/old")
    says = r"r1core_heavy is r1core-heavy 0\.1\.0 with source \w{12}, the plan was made with 0\.1\.0, source \w{12}"
    with pytest.raises(SetupError, match=f"reward 'heavy/old': .*{says}"), ScoringService([reward]):
        pass
    ((told,),) = look([elsewhere(environment, "heavy/old")]).values()
    assert f"{environment / 'bin' / 'python'} -m pip install --force-reinstall r1core-heavy==0.1.0" in told


def test_a_local_file_that_changed_since_the_plan_was_made_is_refused(environment: Path, tmp_path: Path) -> None:
    shutil.copy(REWARDS, tmp_path / "mine.py")
    found = elsewhere(environment, f"{tmp_path}/mine.py:Seen")
    reward = spec_of(found, "mine")
    (tmp_path / "mine.py").write_text(REWARDS.read_text() + "# edited\n")
    with pytest.raises(SetupError, match="has changed since the plan was made"), ScoringService([reward]):
        pass


# --- what is asked before a run ----------------------------------------------------------------------


def test_a_look_asks_the_interpreter_for_what_only_it_can_tell(environment: Path) -> None:
    python = environment / "bin" / "python"
    names = [f"{REWARDS}:{name}" for name in ("Foreign", "Seen")]
    assert look([elsewhere(environment, name) for name in names]) == {
        names[0]: [
            f"in {python}: it needs the module no_such_package.anywhere",
            f"in {python}: asked in {environment}",
        ]
    }


@pytest.mark.usefixtures("heavy")
def test_a_look_tells_of_a_plugin_that_cannot_be_imported_there(environment: Path, tmp_path: Path) -> None:
    shutil.copytree(environment, tmp_path / "env", symlinks=True)
    shutil.rmtree(next((tmp_path / "env").glob("lib/python3.*/site-packages")) / "pluggy")
    ((told,),) = look([elsewhere(tmp_path / "env", "heavy/old")]).values()
    assert told.endswith("it cannot be imported: ModuleNotFoundError: No module named 'pluggy'")


def test_a_look_at_an_interpreter_that_fails_gives_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\necho no such library >&2\nexit 9\n")
    python.chmod(0o755)
    name = f"{REWARDS}:Seen"
    told = f"in {python}: it does not start: exit code 9, no such library"
    assert look([elsewhere(tmp_path, name)]) == {name: [told]}


# --- a whole stage -----------------------------------------------------------------------------------

STAGES = """\
  base: BASE
  traces:
    sample: {prompts: 8, samples: 3, chunk: 2}
    model: base
    problems: Numbers
    rewards: [{use: "REWARDS:Seen", python: PLACE}, Exact]
    filters: [Right]
  student: {train: {use: Climb, data: [traces]}, model: base}
"""


def stages(environment: Path) -> str:
    return STAGES.replace("REWARDS", str(REWARDS)).replace("PLACE", str(environment))


def left(folder: Path) -> dict[str, bytes]:
    return contents(folder / "run" / "stages" / "traces" / "data")


def test_a_stage_killed_and_run_again_ends_with_the_same_bytes(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    for folder in (unbroken, killed):
        folder.mkdir()
    ran = go(unbroken, stages(environment))
    rows = list(read_rows(unbroken / "run" / "stages" / "traces" / "data"))
    assert len(rows) == 24
    assert {row["score_reason"].split()[0] for row in rows} == {THEIRS}
    monkeypatch.setenv(kills.AT, "traces/unit:3")
    with pytest.raises(SetupError, match=r"stages\.traces: its process was killed by SIGKILL"):
        go(killed, stages(environment))
    monkeypatch.delenv(kills.AT)
    go(killed, stages(environment))
    assert left(killed) == left(unbroken)
    lock = read_json(ran.run.folder / "plugins.lock")["environments"]
    assert lock[f"reward {REWARDS}:Seen"][0]["packages"]["numpy"] == THEIRS


@pytest.mark.usefixtures("heavy")
def test_a_plugin_that_needs_another_numpy_scores_a_stage_by_its_name_in_a_recipe(
    environment: Path, tmp_path: Path
) -> None:
    go(tmp_path, stages(environment).replace(f'"{REWARDS}:Seen"', "heavy/old"), until_stage="traces")
    rows = list(read_rows(tmp_path / "run" / "stages" / "traces" / "data"))
    assert {(row["status"], row["score_reason"]) for row in rows} == {("verdict", THEIRS)}
    assert {row["parts"]["old"] for row in rows} == {0.0, 1.0}
    assert all(row["parts"]["old"] == row["parts"]["Exact"] for row in rows)


def test_an_upgrade_there_runs_the_stage_and_its_dependents_again_and_moving_it_does_not(
    environment: Path, tmp_path: Path
) -> None:
    def skipped(place: Path) -> list[str]:
        return go(tmp_path, stages(place)).order(StageSkipped)

    moved, upgraded = tmp_path / "moved", tmp_path / "upgraded"
    shutil.copytree(environment, moved, symlinks=True)
    shutil.copytree(environment, upgraded, symlinks=True)
    info = next(upgraded.glob("lib/python3.*/site-packages/pluggy-*.dist-info"))
    info.rename(info.with_name("pluggy-99.dist-info"))
    assert skipped(environment) == []
    assert skipped(moved) == ["base", "traces", "student"]
    assert skipped(upgraded) == ["base"]


MARKED = """
from pathlib import Path
import sys
with (Path(__file__).parent / "marks").open("a") as file:
    print(sys.prefix, file=file)
"""
PRELOADING = """
from r1core import Reward, Score
class Mine(Reward):
    name = "mine"
    preload = ("marked",)
    def score(self, problem, response):
        return Score(value=float("marked" in __import__("sys").modules))
"""


def test_what_it_preloads_is_imported_there_and_not_here(environment: Path, tmp_path: Path) -> None:
    here = tmp_path / "site"
    here.mkdir()
    shutil.copytree(environment, tmp_path / "env", symlinks=True)
    there = next((tmp_path / "env").glob("lib/python3.*/site-packages"))
    for folder in (here, there):
        (folder / "marked.py").write_text(MARKED)
    (tmp_path / "mine.py").write_text(PRELOADING)
    text = stages(tmp_path / "env").replace(f'"{REWARDS}:Seen"', "./mine.py:Mine")
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", str(written(tmp_path, text))]
    path = os.pathsep.join([str(here), *filter(None, sys.path)])
    done = subprocess.run(
        [*command, "--until", "traces"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        text=True,
        capture_output=True,
    )
    assert "traces" in done.stdout
    assert set((there / "marks").read_text().split()) == {str(tmp_path / "env")}
    assert not (here / "marks").exists()


def test_what_it_lacks_is_said_before_anything_is_written(environment: Path, tmp_path: Path) -> None:
    shutil.copytree(environment, tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 9\n")
    python.chmod(0o755)
    with pytest.raises(SetupError, match="it does not start: exit code 9") as caught:
        go(tmp_path, stages(tmp_path / "env"))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "run").exists()


def test_the_plan_of_a_strangers_recipe_runs_nothing_there(environment: Path, tmp_path: Path) -> None:
    shutil.copytree(environment, tmp_path / "env", symlinks=True)
    python, ran = tmp_path / "env" / "bin" / "python", tmp_path / "ran"
    python.unlink()
    python.write_text(f"#!/bin/sh\ntouch {ran}\n")
    python.chmod(0o755)
    recipe = written(tmp_path, stages(tmp_path / "env"))
    command = [sys.executable, "-c", "from r1core.cli import main; main()", "recipe", str(recipe), "--dry-run"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    count = len(Environment(environment).distributions)
    assert f"{REWARDS}, runs in {tmp_path / 'env'} (Python 3.{sys.version_info.minor}, {count} packages)\n" in found
    assert str(python) in next(line for line in found.splitlines() if line.startswith("local code: "))
    assert not ran.exists()
    plan = make_plan(resolve(recipe), PluginHost.discover())
    assert json.dumps(plan.stage("traces").made_from)
    assert not ran.exists()
