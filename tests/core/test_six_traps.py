"""The six traps of stock pluggy: each is shown to be one, and shown to be closed, with the message that a person gets.

The last tests install every broken distribution of tests/fixtures/third_party/ at once: what does not
name one of them works as if they were not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pluggy
import pytest
from third_party import install

from r1core import hookspecs
from r1core.hookspecs import hookimpl
from r1core.plugins import PluginHost

BROKEN = ("broken", "exits", "future", "generator", "geo-a", "geo-b", "returns", "signature", "squatter", "typo")
R1 = "from r1core.cli import main; main()"


def stock() -> pluggy.PluginManager:
    """What pluggy does by itself."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def said_of(name: str) -> list[str]:
    """What `r1 plugins` says of every third party that claims this name."""
    rows = [row for row in PluginHost.discover().report() if row.name == name and row.distribution != "r1core"]
    return [f"{row.status}: {row.detail}" for row in rows]


def test_one_broken_plugin_ends_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-broken")
    with pytest.raises(ModuleNotFoundError):
        stock().load_setuptools_entrypoints("r1core", name="broken")
    assert said_of("broken") == [
        "FAILED: ModuleNotFoundError: No module named 'shapely_that_is_not_installed' "
        f"({site / 'r1core_broken' / 'tables.py'}:5 in read)"
    ]


def test_the_second_of_two_equal_names_is_dropped_in_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-geo-a", "r1core-geo-b")
    assert stock().load_setuptools_entrypoints("r1core", name="geo") == 1
    assert (
        said_of("geo")
        == ["CONFLICT: claimed by r1core-geo-a==1.0.1 and r1core-geo-b==1.0.2; uninstall all but one"] * 2
    )


def test_a_misspelled_hook_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = install(monkeypatch, tmp_path, "r1core-typo") / "r1core_typo.py"
    assert stock().load_setuptools_entrypoints("r1core", name="typo") == 1
    assert said_of("typo") == [
        f"FAILED: {file}:11: def r1_filters(): r1_filters is not marked with @hookimpl, so it would never be called\n"
        f"{file}:7: def r1_reward(): unknown hook 'r1_reward'; did you mean 'r1_rewards'? (or it needs a newer r1core)"
    ]


class Watcher:
    """Hooks that pluggy takes: the default is dead (before 1.7 it was all that a hook ever got), the other crashes."""

    @hookimpl
    def r1_stage_start(self, folder: Path, stage: str = "default") -> None: ...

    @hookimpl
    def r1_run_end(self, *, folder: Path) -> None: ...


def test_defaulted_and_keyword_only_arguments_are_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manager = stock()
    manager.register(Watcher())
    assert manager.hook.r1_stage_start.get_hookimpls()[0].kwargnames == ("stage",)
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument"):
        manager.hook.r1_run_end(folder=tmp_path, error="")
    file = install(monkeypatch, tmp_path, "r1core-signature") / "r1core_signature.py"
    (said,) = said_of("signature")
    assert said.splitlines()[1:] == [
        f"{file}:17: def r1_run_end(*, folder): argument 'folder' of r1_run_end is keyword-only, "
        "and hooks are called by position; it may take (folder, error)",
        f"{file}:12: def r1_stage_start(folder, stage=\"base\"): argument 'stage' of r1_stage_start has a default, "
        "which hooks never use; it may take (folder, stage)",
    ]


class Late:
    """A generator, which fails when somebody iterates it."""

    @hookimpl
    def r1_rewards(self) -> Iterator[Any]:
        yield from {}["no table"]


def test_a_generator_fails_late_and_nobody_is_blamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manager = stock()
    manager.register(Late())
    (generator,) = manager.hook.r1_rewards()
    with pytest.raises(KeyError):
        list(generator)
    file = install(monkeypatch, tmp_path, "r1core-generator") / "r1core_generator.py"
    assert said_of("generator") == [f"FAILED: LookupError: no table of elements ({file}:9 in r1_rewards)"]


# --- and nobody else is harmed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plugins"],
        ["plugins", "--json"],
        ["explain", "accuracy"],
        ["recipe", "deepseek_r1.yaml", "--dry-run"],
    ],
    ids=" ".join,
)
def test_broken_plugins_break_nothing_that_does_not_name_them(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = install(monkeypatch, tmp_path, *(f"r1core-{name}" for name in BROKEN))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", R1, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_strict_says_that_something_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, *(f"r1core-{name}" for name in BROKEN))
    done = subprocess.run(
        [sys.executable, "-c", R1, "plugins", "--strict"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
        timeout=60,
    )
    assert done.returncode == 4
    assert all(f"r1core-{name}" in done.stdout for name in BROKEN)
