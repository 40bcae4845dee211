"""`r1 plugins`: one line each, the broken ones with their reason, and `--strict` as a check."""

import importlib.metadata
import json

BROKEN = {"torn": "torn"}


def test_every_built_in_works(r1) -> None:
    done = r1("plugins", "--strict")
    assert done.returncode == 0, done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("grpo "))
    assert line.split()[:4] == ["grpo", "r1core", importlib.metadata.version("r1core"), "ok"]
    assert line.endswith("advantage grpo")


def test_a_broken_plugin_is_a_line_and_the_others_still_work(install, r1) -> None:
    done = r1("plugins", path=install("torn", "raise RuntimeError('[/INST] \\x1b[31mred')", BROKEN))
    assert done.returncode == 0
    assert "torn (torn 1.2) FAILED: RuntimeError: [/INST] [31mred" in done.stdout
    assert "\x1b" not in done.stdout
    assert "advantage grpo" in done.stdout


def test_strict_fails_when_one_is_broken(install, r1) -> None:
    assert r1("plugins", "--strict", path=install("torn", "import no_such_thing", BROKEN)).returncode == 4


def test_json_is_for_machines(install, r1) -> None:
    done = r1("plugins", "--json", path=install("torn", "import no_such_thing", BROKEN))
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["torn"]["status"] == "FAILED"
    assert "no_such_thing" in rows["torn"]["detail"]
    assert rows["accuracy"]["components"] == ["reward accuracy"]


def test_a_name_in_r1_plugins_that_matches_nothing_is_said(r1) -> None:
    done = r1("plugins", R1_PLUGINS="chmistry")
    assert done.returncode == 0
    assert "chmistry" in done.stderr


def test_a_distribution_that_forgot_its_entry_point_is_said(install, r1) -> None:
    site = install("r1core-mute", "", {})
    done = r1("plugins", "--strict", path=site)
    assert done.returncode == 0
    assert done.stderr == (
        "r1core-mute 1.2 is installed and brings no plugin: give its pyproject.toml [project.entry-points.r1core], "
        "then install it again\n"
    )
