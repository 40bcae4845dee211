"""`r1 recipe`: what the plan says, what is refused before any compute, and what a run is given."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from r1core.cli.recipe import command
from r1core.errors import RecipeError, SetupError
from r1core.events import Event, RunFinished, RunStarted, StageRow
from r1core.plugin_host.hashing import hash_source
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve

RECIPE = """\
r1: 1
name: try
profile: none
observers: [tensorboard]
stages:
  base:
    train: sft
    policy: transformers
    model: {scratch: {model_type: llama, hidden_size: 32, num_attention_heads: 2}}
    data: {use: playground_corpus}
  zero:
    train: {use: rl, preset: grpo, steps: 40, prompts: 6, samples: 8, updates_per_rollout: 4}
    policy: transformers
    sampler: native
    model: base
    problems: {use: playground}
    rewards: [accuracy, format]
    sampling: {max_new_tokens: 100}
  final:
    evaluate: {sets: {"pass@1": {problems: {use: playground}, limit: 50, samples: 2}}}
    models: [base, zero]
    policy: transformers
    sampler: native
    rewards: [accuracy]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "try.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def dry(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [str(file), "--dry-run", *arguments])


def test_the_plan_names_stages_lineage_steps_and_the_arithmetic_of_a_batch(file: Path) -> None:
    result = dry(file)
    assert result.exit_code == 0, result.exception
    said = " ".join(result.output.split())
    assert "no profile" in said
    assert "3 stages base train sft from scratch" in said
    assert "zero train rl from base 40 steps" in said
    assert "10 rollout batches of 6 prompts x 8 samples = 480 answers of at most 100 tokens, 12 an update" in said
    assert "pass@1: 50 problems x 2 samples of 2 models = 200 answers" in said
    assert "final evaluate reads base zero" in said


def test_the_plan_names_every_component_with_its_origin_and_what_a_run_reaches_for(file: Path) -> None:
    output = dry(file).output
    for component in ("advantage  grpo", "reward     accuracy", "source     playground_corpus", "trainer    sft"):
        line = next(line for line in output.splitlines() if component in line)
        assert "r1core 0." in line
    for nothing in ("hosts: none", "keys: none", "local code: none", "observers: tensorboard"):
        assert nothing in output
    assert "disk: 2 model folders" in output


def test_machines_that_nobody_has_named_yet_are_missing_in_a_plan_and_refused_before_a_run(file: Path) -> None:
    """The first stage is trained in this process alone: a run would only come upon the second's hostfile later."""
    zero = "stages.zero.policy={use: deepspeed, hostfile: machines}"
    plan = dry(file, "--set", zero)
    assert plan.exit_code == 0, plan.exception
    line = next(line for line in plan.output.splitlines() if "policy     deepspeed" in line)
    assert "MISSING: " in line
    assert "hostfile machines: the hostfile cannot be read: No such file or directory; write it, one machine" in line
    assert re.search(r"zero +unknown +\d", plan.output), "memory and time depend on the number of ranks, tokens do not"
    assert re.search(r"base +\d", plan.output), "and it is known of the others"
    ran = CliRunner().invoke(command, [str(file), "--set", zero])
    assert isinstance(ran.exception, RecipeError), "exit 2"
    assert str(ran.exception).startswith("hostfile machines: the hostfile cannot be read: No such file or directory\n")
    assert sorted(file.parent.iterdir()) == [file], "nothing was begun"


def test_a_slip_in_a_hostfile_is_refused_with_its_line_by_a_plan_and_before_a_run(file: Path) -> None:
    (file.parent / "machines").write_text("one slots=2\ntwo\n", encoding="utf-8")
    options = [str(file), "--set", "stages.zero.policy={use: deepspeed, hostfile: machines}"]
    for flags in (["--dry-run"], []):
        refused = CliRunner().invoke(command, [*options, *flags]).exception
        assert isinstance(refused, RecipeError)
        assert str(refused).startswith("machines:2: 'two' names no machine")
    assert not (file.parent / "runs").exists()


def test_an_observer_that_lacks_its_package_is_marked_and_refused_before_a_run(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *at: None if name == "wandb" else found(name, *at))
    said = "wandb is not installed: pip install 'r1core[wandb]'"
    plan = dry(file, "--set", "observers=[wandb]")
    assert plan.exit_code == 0, plan.exception
    assert f"observers: wandb (MISSING: {said})" in plan.output
    ran = CliRunner().invoke(command, [str(file), "--set", "observers=[wandb]"])
    assert isinstance(ran.exception, SetupError)
    assert f"observer wandb: {said}" in str(ran.exception)
    assert sorted(file.parent.iterdir()) == [file], "nothing was begun"


def test_observers_are_in_the_lock(file: Path) -> None:
    lock = make_plan(resolve(file), PluginHost.discover()).lock
    (entry,) = lock["observers"].values()
    assert entry.keys() == {"distribution", "version", "source_hash"}
    folder = file.parent / "runs" / "try"
    folder.mkdir(parents=True)
    lock["observers"]["tensorboard"] = {**entry, "source_hash": "0" * 8}
    (folder / "plugins.lock").write_text(json.dumps(lock), encoding="utf-8")
    refused = dry(file, "--locked").exception
    assert isinstance(refused, RecipeError)
    assert "observer tensorboard: source_hash 00000000 -> " in str(refused)


def test_a_plan_runs_nothing_and_leaves_nothing(file: Path) -> None:
    assert dry(file).exit_code == 0
    assert sorted(file.parent.iterdir()) == [file]


def test_a_dry_run_imports_no_engine(file: Path, r1: Callable[..., Any]) -> None:
    done = r1("recipe", str(file), "--dry-run", path=_without_engines(file.parent))
    assert (done.returncode, done.stderr) == (0, "")


def _without_engines(folder: Path) -> Path:
    """A folder whose torch and transformers end the process when they are imported."""
    shadow = folder / "shadow"
    for name in ("torch", "transformers"):
        (shadow / name).mkdir(parents=True)
        (shadow / name / "__init__.py").write_text("raise SystemExit('an engine was imported')")
    return shadow


def with_local_code(file: Path) -> Path:
    """Write mine.py beside the recipe, and let the recipe use it with a key, and a model from a hub."""
    (file.parent / "mine.py").write_text(
        "from pydantic import Field\nfrom r1core.components import Reward\nfrom r1core.types import Score\n"
        "class Mine(Reward):\n    '''Always 1.'''\n    name = 'mine'\n    class Config(Reward.Config):\n"
        "        key: dict[str, str] = Field(description='the key')\n"
        "    def score(self, problem, response):\n        return Score(value=1.0)\n"
    )
    text = RECIPE.replace("rewards: [accuracy, format]", "rewards: [{use: './mine.py:Mine', key: {env: MY_KEY}}]")
    text = text.replace("    train: sft\n    policy: transformers\n", "").replace(
        "    data: {use: playground_corpus}\n", ""
    )
    scratch = "    model: {scratch: {model_type: llama, hidden_size: 32, num_attention_heads: 2}}\n"
    text = text.replace(scratch, "    import: org/model\n")
    file.write_text(text)
    return file.parent / "mine.py"


def test_hubs_keys_and_local_code_are_listed(file: Path) -> None:
    mine = with_local_code(file)
    result = dry(file)
    assert result.exit_code == 0, result.exception
    assert "hosts: huggingface.co (org/model)" in result.output
    assert "keys: MY_KEY" in result.output
    assert f"local code: {mine}" in result.output
    assert "import          from org/model" in result.output


def test_a_run_says_whose_local_code_it_runs_and_which(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = with_local_code(file)
    monkeypatch.setattr("r1core.pipeline.run_plan", lambda *arguments, **options: None)
    result = CliRunner().invoke(command, [str(file)])
    assert result.exit_code == 0, result.exception
    assert result.stderr == f"runs local code: {mine}:Mine (sha256 {hash_source(mine)[:12]})\n"


def test_until_leaves_out_what_is_not_needed(file: Path) -> None:
    result = dry(file, "--until", "zero")
    assert "2 stages" in result.output
    assert "final" not in result.output


def test_set_and_profile_change_the_plan(file: Path) -> None:
    (file.parent / "profiles").mkdir()
    (file.parent / "profiles" / "small.yaml").write_text("description: a small one\nsampling: {max_new_tokens: 9}\n")
    (file.parent / "profiles" / "paper.yaml").write_text("description: as published\n")
    result = dry(file, "--profile", "small", "--set", "stages.zero.train.steps=8")
    assert result.exit_code == 0, result.exception
    assert result.output.startswith("profile small: a small one; others: ")
    assert "paper" in result.output.splitlines()[0]
    assert "8 steps" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "zer0"], "did you mean 'zero'?"),
        (["--from", "bas"], "did you mean 'base'?"),
        (["--set", "stages.zero.train.stepz=8"], "stepz"),
        (["--profile", "huge"], "no profile 'huge'"),
        (["-p", "no:grpo"], "grpo"),
        (["--locked"], "there is no plugins.lock"),
    ],
)
def test_what_is_wrong_is_said_before_the_plan(arguments: list[str], said: str, file: Path) -> None:
    result = dry(file, *arguments)
    assert isinstance(result.exception, RecipeError)
    assert said in str(result.exception)


def test_locked_holds_the_run_to_its_plugins(file: Path) -> None:
    from r1core.plugins import PluginHost
    from r1core.recipe.plan import make_plan
    from r1core.recipe.resolve import resolve

    lock = make_plan(resolve(file), PluginHost.discover()).lock
    path = file.parent / "runs" / "try" / "plugins.lock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(lock))
    assert dry(file, "--locked").exit_code == 0
    lock["components"]["reward accuracy"]["source_hash"] = "another"
    del lock["components"]["trainer sft"]
    path.write_text(json.dumps(lock))
    result = dry(file, "--locked")
    assert isinstance(result.exception, RecipeError)
    assert "reward accuracy: source_hash another -> " in str(result.exception)
    assert "trainer sft: not in the lock" in str(result.exception)


def test_a_run_gets_what_was_asked_for_and_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run_plan(plan: Any, host: Any, run_dir: Path, *, listener: Callable[[Event], None], **options: Any) -> None:
        asked.update(options, run_dir=run_dir, stages=[stage.id for stage in plan.stages])
        listener(RunStarted(folder=str(run_dir), rows=(StageRow("base", "train", "sft", "new"),), profile="none"))
        listener(RunFinished(folder=str(run_dir), rows=({"model": "base", "metrics": {"pass@1": 0.5}},), wall_s=1.0))

    monkeypatch.setattr("r1core.pipeline.run_plan", run_plan)
    arguments = ["--run-dir", "there", "--from", "zero", "--from", "final", "--until", "final", "--jobs", "3"]
    result = CliRunner().invoke(command, [str(file), *arguments])
    assert result.exit_code == 0, result.exception
    assert asked == {
        "from_stage": ("zero", "final"),
        "until_stage": "final",
        "jobs": 3,
        "run_dir": Path("there"),
        "stages": ["base", "zero", "final"],
    }
    assert "run there (profile none): 1 stages" in result.output
    assert "0.50" in result.output
    assert "done in 1 s: there" in result.output
