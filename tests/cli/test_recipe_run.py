"""Bad input through the command line: the exit code, the place, all at once, and nothing computed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import Ended, called

RECIPE = """\
r1: 1
name: try
profile: none
seed: 0
engines: {policy: transformers, sampler: native}
stages:
  base:
    train: sft
    model: {scratch: {model_type: llama, hidden_size: 32, num_attention_heads: 2}}
    data: {use: playground_corpus}
  zero:
    train: {use: rl, preset: grpo, steps: 40}
    model: base
    problems: {use: playground}
    rewards: [accuracy]
  final:
    evaluate: {sets: {"pass@1": {problems: {use: playground}}}}
    models: [base, zero]
    rewards: [accuracy]
"""
R1 = "from r1core.cli import main; main()"


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Ended]:
    """recipe((old, new), ..., arguments) runs `r1 recipe` on the recipe with these changes, in an empty folder; where
    asked to, in a process of its own."""

    def run(
        *changes: tuple[str, str], arguments: tuple[str, ...] = (), file: str = "try.yaml", process: bool = False
    ) -> Ended:
        text = RECIPE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "try.yaml").write_text(text)
        if not process:
            return called(tmp_path, "recipe", file, *arguments)
        return subprocess.run(
            [sys.executable, "-c", R1, "recipe", file, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=60,
        )

    return run


def refused(done: Ended, code: int) -> str:
    """What it said on stderr; it must have ended with this code, without a traceback and without a word on stdout."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 0", "sede: 0", r"try\.yaml:4:1: sede: unknown key 'sede'\n  did you mean 'seed'\?"),
        ("steps: 40", "stpes: 40", r"try\.yaml:12:36: stages\.zero\.train\.stpes: unknown option 'stpes' of rl"),
        (
            "steps: 40",
            "steps: many",
            r"try\.yaml:12:36: stages\.zero\.train\.steps: a whole number is wanted, got 'many'",
        ),
        (
            "model: base",
            "model: bsae",
            r"try\.yaml:13:5: stages\.zero\.model: no stage 'bsae'\n  did you mean 'base'\?",
        ),
        ("models: [base, zero]", "models: [base, zreo]", r"try\.yaml:18:20: .*no stage 'zreo'"),
        ("model: base", "model: final", r"'final' is not a model: an evaluate stage makes a table"),
        ("model: base", "model: zero", r"try\.yaml:11:3: stages\.zero: stages wait for each other: zero -> zero"),
        (
            "rewards: [accuracy]",
            "rewards: [acuracy]",
            r"try\.yaml:15:15: .*no reward 'acuracy'\n  did you mean 'accuracy'",
        ),
        ("[accuracy]", "[chemistry/smiles]", r"try\.yaml:15:15: .*no plugin 'chemistry' is installed"),
        ("[accuracy]", "['./mine.py:Mine']", r"try\.yaml:15:15: .*no file '.*mine\.py'"),
        ('"pass@1"', '"../pass"', r"try\.yaml:17:23: .*set '\.\./pass' names a folder"),
        ("r1: 1", "r1: 2", r"try\.yaml:1:1: r1: "),
        ("steps: 40", "steps: 40, steps: 41", r"try\.yaml:12:47: .*steps"),
    ],
)
def test_a_mistake_in_the_recipe_is_exit_2_with_its_place(
    recipe: Callable[..., Ended], tmp_path: Path, old: str, new: str, said: str
) -> None:
    message = refused(recipe((old, new)), 2)
    assert re.search(said, message), message
    assert message.endswith("1 error\n")
    assert [path.name for path in tmp_path.iterdir()] == ["try.yaml"]


def test_all_mistakes_come_at_once(recipe: Callable[..., Ended]) -> None:
    slips = (("steps: 40", "stpes: 40"), ("[accuracy]", "[acuracy]"), ("playground_corpus", "playground_corpse"))
    done = recipe(*slips, process=True)
    places = re.findall(r"^try\.yaml:(\d+):\d+: ", refused(done, 2), re.MULTILINE)
    assert places == ["10", "12", "15"]
    assert done.stderr.endswith("3 errors\n")


def test_a_model_folder_that_is_not_there_is_exit_2(recipe: Callable[..., Ended]) -> None:
    trained = RECIPE[RECIPE.index("    train: sft") : RECIPE.index("  zero:")]
    message = refused(recipe((trained, "    import: ./nowhere\n")), 2)
    assert re.search(r"try\.yaml:8:5: stages\.base\.import: there is no folder '.*nowhere'", message)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "huge"], "no profile 'huge'"),
        (["--from", "zreo"], "did you mean 'zero'?"),
        (["--until", "zreo"], "did you mean 'zero'?"),
        (["--set", "stages.zero.train.stpes=2"], "--set: stages.zero.train.stpes: unknown option"),
        (["--jobs", "0"], "--jobs"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_mistake_on_the_command_line_is_exit_2(recipe: Callable[..., Ended], arguments: list[str], said: str) -> None:
    assert said in refused(recipe(arguments=tuple(arguments)), 2)


@pytest.mark.parametrize(
    ("file", "said"),
    [("https://example.org/try.yaml", "example.org/try.yaml' is not a local file"), ("nowhere.yaml", "'nowhere.yaml'")],
)
def test_only_a_local_file_is_a_recipe(recipe: Callable[..., Ended], file: str, said: str) -> None:
    assert said in refused(recipe(file=file), 2)


def test_unmet_requirements_are_exit_3_with_the_command(recipe: Callable[..., Ended]) -> None:
    message = refused(recipe(("r1: 1", "r1: 1\nrequires: [no-such-package>=2, pydantic<1]"), process=True), 3)
    assert "try.yaml:2:12: requires.0: no-such-package>=2 is required, and not installed" in message
    assert "try.yaml:2:32: requires.1: pydantic<1 is required, and 2." in message
    assert "run: pip install 'no-such-package>=2' 'pydantic<1'" in message


def test_an_unwritable_run_directory_is_exit_3_before_any_compute(recipe: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = recipe(arguments=("--run-dir", "file/run"), process=True)
    assert done.returncode == 3
    assert "file/run: the run directory cannot be written: Not a directory" in done.stderr
    assert "--run-dir" in done.stderr
    assert "starts" not in done.stdout


def test_an_engine_that_is_not_installed_is_exit_3_before_any_compute(tmp_path: Path) -> None:
    (tmp_path / "try.yaml").write_text(RECIPE)

    def without_engines(*arguments: str) -> Ended:
        hide = "import sys, importlib.util as u; f = u.find_spec\n"
        hide += "u.find_spec = lambda n, *a: None if n in ('torch', 'safetensors', 'pyarrow') else f(n, *a)\n"
        command = [sys.executable, "-c", hide + R1, "recipe", "try.yaml", *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    done = without_engines()
    assert done.returncode == 3
    for finding in (
        r"policy transformers \(r1core .*\): torch, safetensors not installed: pip install 'r1core\[train\]'",
        r"sampler native \(r1core .*\): torch not installed: pip install 'r1core\[train\]'",
        r"pyarrow is not installed: pip install pyarrow, or 'r1core\[train\]'",
    ):
        assert re.search(finding, done.stderr), done.stderr
    assert not (tmp_path / "runs").exists()
    planned = without_engines("--dry-run")
    assert planned.returncode == 0
    assert "MISSING: torch, safetensors not installed" in planned.stdout
