"""`r1` itself: quick, honest about exit codes, and importing nobody's code before it is asked for."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1core.cli.group import CORE, Commands
from r1core.cli.group import r1 as group

HELP_S, SLACK = 0.15, 5

FAILING = '''"""Fails as it is told."""
import os, signal, sys
import click
from r1core import errors
from r1core.hookspecs import hookimpl

@click.command("fail")
@click.argument("how")
def fail(how):
    if how == "bug":
        raise ZeroDivisionError("a bug")
    if how == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
        os.kill(os.getpid(), signal.SIGINT)
    if how == "stop":
        raise KeyboardInterrupt("stopped at once")
    if how == "exit":
        click.get_current_context().exit(7)
    if how == "accents":
        print("caf\\u00e9 \\u2713")
        return
    raise getattr(errors, how)("what is \\x1b[31mwrong", where="file:1:2", fix="do this")

@hookimpl
def r1_commands():
    return [fail]
'''


def loaded_after(*arguments: str) -> set[str]:
    code = (
        "import sys, json\nfrom r1core.cli import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print(json.dumps([m for m in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def seconds(*command: str) -> float:
    """The best of three, as the first may find cold files."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def test_help_answers_at_once() -> None:
    extra_s = seconds("-c", "from r1core.cli import main; main(['--help'])") - seconds("-c", "pass")
    assert extra_s < HELP_S * SLACK


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_imports_no_heavy_library_and_no_plugin(arguments: tuple[str, ...]) -> None:
    loaded = loaded_after(*arguments)
    heavy = {"pydantic", "rich", "ruamel", "numpy", "torch", "transformers", "wandb", "pluggy", "r1_plugins"}
    assert not loaded & heavy
    assert "click" in loaded


def test_the_line_of_help_in_the_list_is_the_commands_own() -> None:
    assert isinstance(group, Commands)
    context = group.make_context("r1", ["doctor"])
    for name, line in CORE.items():
        command = group.get_command(context, name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == line


def test_a_plugins_command_is_listed_with_its_docstring_and_not_imported(install, r1, tmp_path: Path) -> None:
    site = install("noisy", '"""Makes a noise."""\nopen("imported", "w")', {"command-noise": "noisy"})
    done = r1("--help", path=site)
    assert done.returncode == 0
    assert re.search(r"noise +Makes a noise\.", done.stdout)
    assert "chat" in done.stdout
    assert not (tmp_path / "imported").exists()


def test_a_command_whose_source_cannot_be_read_is_listed_by_its_provider(install, r1) -> None:
    site = install("torn", "def (", {"command-torn": "torn", "command-gone": "no_such_module"})
    listed = r1("--help", path=site).stdout
    assert re.search(r"torn +From torn\.", listed)
    assert re.search(r"gone +From torn\.", listed)


def test_a_plugin_cannot_take_a_core_commands_name(install, r1) -> None:
    site = install("thief", '"""Steals."""\nraise SystemExit(9)', {"command-plugins": "thief"})
    assert "Steals" not in r1("--help", path=site).stdout
    assert r1("plugins", "--help", path=site).returncode == 0


def test_a_broken_command_is_a_message_that_names_its_distribution(install, r1) -> None:
    done = r1("boom", path=install("boom", "raise RuntimeError('no luck')", {"command-boom": "boom"}))
    assert done.returncode == 2
    assert "boom==1.2" in done.stderr
    assert "no luck" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("RecipeError", 2),
        ("SetupError", 3),
        ("RefusedError", 4),
        ("NumericsError", 5),
        ("Interrupted", 75),
        ("exit", 7),
    ],
)
def test_expected_failures_have_their_own_exit_code_and_no_traceback(how: str, code: int, install, r1) -> None:
    done = r1("fail", how, path=install("failing", FAILING, {"command-fail": "failing"}))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if how != "exit":
        assert done.stderr == "file:1:2: what is [31mwrong\n  do this\n"


def test_a_bug_shows_its_traceback(install, r1) -> None:
    done = r1("fail", "bug", path=install("failing", FAILING, {"command-fail": "failing"}))
    assert done.returncode == 1
    assert "ZeroDivisionError: a bug" in done.stderr
    assert "Traceback" in done.stderr


def test_an_interruption_is_130(install, r1) -> None:
    site = install("failing", FAILING, {"command-fail": "failing"})
    for how, said in (("interrupt", "interrupted"), ("stop", "stopped at once")):
        done = r1("fail", how, path=site)
        assert done.returncode == 130
        assert done.stderr.strip() == said


def test_a_terminal_without_utf8_shows_question_marks(install, r1) -> None:
    site = install("failing", FAILING, {"command-fail": "failing"})
    done = r1("fail", "accents", path=site, PYTHONIOENCODING="cp437")
    assert (done.returncode, done.stdout) == (0, "caf\N{LATIN SMALL LETTER E WITH ACUTE} ?\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recpe"], "did you mean 'recipe'?"),
        (["recipe"], "Missing argument 'FILE'"),
        (["recipe", "x.yaml", "--jobs", "0"], "0 is not in the range"),
        (["recipe", "x.yaml", "-p", "chem"], "write no:NAME"),
        (["explain", "grpo", "--colour"], "No such option"),
    ],
)
def test_usage_errors_are_2_with_a_way_out(arguments: list[str], said: str, r1) -> None:
    done = r1(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_openmp_threads_of_stages_do_not_spin_unless_asked_to() -> None:
    code = (
        "import os; from r1core.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    for given, policy in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env={**environment, **given}, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == policy
