"""What is wrong with a plugin is said once, with its name, version and line, and harms nobody else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from third_party import install, toy_host

from r1core.errors import RecipeError
from r1core.plugin_host.discovery import Provider, classify, core_version, installed
from r1core.plugins import PluginHost, PluginRow


def row_of(name: str) -> PluginRow:
    return next(row for row in PluginHost.discover().report() if row.name == name and row.distribution != "r1core")


def refusal(host: PluginHost, kind: str, name: str) -> str:
    with pytest.raises(RecipeError) as caught:
        host.find(kind, name)
    return str(caught.value)


def test_a_broken_plugin_is_a_line_in_the_report_and_the_others_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = install(monkeypatch, tmp_path, "r1core-broken", "r1core-exits", "r1core-chem")
    rows = {row.name: row for row in PluginHost.discover().report()}
    assert rows["chem"].components == ("reward smiles", "filter short")
    assert (rows["broken"].status, rows["exits"].status, rows["chem"].status) == ("FAILED", "FAILED", "ok")
    assert rows["broken"].detail == (
        "ModuleNotFoundError: No module named 'shapely_that_is_not_installed' "
        f"({site / 'r1core_broken' / 'tables.py'}:5 in read)"
    )
    assert rows["exits"].detail.startswith("SystemExit: 7")


def test_naming_a_broken_plugin_gives_version_frame_and_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-broken")
    assert refusal(PluginHost.discover(), "reward", "broken/area") == (
        f"{site / 'r1core_broken' / 'tables.py'}:5 in read: "
        "plugin 'broken' (r1core-broken==0.2.1) failed to load: "
        "ModuleNotFoundError: No module named 'shapely_that_is_not_installed'\n"
        "  repair, upgrade or uninstall r1core-broken; r1 plugins shows every plugin's state"
    )


def test_a_plugin_for_another_r1core_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-future")
    row = row_of("future")
    assert (row.status, row.detail) == ("INCOMPATIBLE", f"needs r1core>=99, this is {core_version()}")
    assert "r1core_future" not in sys.modules
    assert "plugin 'future' (r1core-future==1.0.0) is INCOMPATIBLE: needs r1core>=99" in refusal(
        PluginHost.discover(), "reward", "future/x"
    )


def test_a_development_version_of_r1core_counts_as_that_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    monkeypatch.setattr("r1core.plugin_host.discovery.core_version", lambda: "0.2.0.dev1")
    assert row_of("chem").status == "ok"


def test_a_conflict_names_both_distributions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-geo-a", "r1core-geo-b")
    detail = "claimed by r1core-geo-a==1.0.1 and r1core-geo-b==1.0.2; uninstall all but one"
    assert [(r.status, r.detail) for r in PluginHost.discover().report() if r.name == "geo"] == [
        ("CONFLICT", detail),
        ("CONFLICT", detail),
    ]
    assert detail in refusal(PluginHost.discover(), "reward", "geo/area")


def test_the_name_of_a_built_in_cannot_be_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-squatter")
    squatter = next(p for p in installed() if p.distribution == "r1core-squatter")
    own = Provider(name="toy", target="toy_components", distribution="r1core", version="0")
    host = PluginHost(classify([own, squatter], deny=(), allow=None))
    assert host.find("reward", "toy").__module__ == "toy_components"
    assert [(r.distribution, r.status, r.detail) for r in host.report()][1] == (
        "r1core-squatter",
        "REFUSED",
        "the name 'toy' belongs to a built-in of r1core",
    )


def test_a_misspelled_hook_and_a_missing_mark_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-typo")
    file = site / "r1core_typo.py"
    assert row_of("typo").detail == (
        f"{file}:11: def r1_filters(): r1_filters is not marked with @hookimpl, so it would never be called\n"
        f"{file}:7: def r1_reward(): unknown hook 'r1_reward'; did you mean 'r1_rewards'? (or it needs a newer r1core)"
    )


def test_hook_arguments_that_pluggy_would_misuse_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-signature")
    file = site / "r1core_signature.py"
    assert row_of("signature").detail.splitlines() == [
        f"{file}:7: def r1_rewards(config): argument 'config' of r1_rewards is not an argument of that hook; "
        "it may take ()",
        f"{file}:17: def r1_run_end(*, folder): argument 'folder' of r1_run_end is keyword-only, "
        "and hooks are called by position; it may take (folder, error)",
        f"{file}:12: def r1_stage_start(folder, stage=\"base\"): argument 'stage' of r1_stage_start has a default, "
        "which hooks never use; it may take (folder, stage)",
    ]


def test_what_is_no_component_class_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-returns")
    said = row_of("returns").detail.splitlines()
    expected = [
        "is an object, not a class; return the class: [Fine]",
        "Stranger is not a subclass of r1core.components.Reward",
        "Unfinished does not implement score",
        "two rewards are named 'fine'",
        'Lax.Config must keep extra="forbid", or misspelled options pass in silence',
        "Weighted.Config may not have weight: recipes use it",
    ]
    assert len(said) == len(expected)
    assert all(line.startswith("r1_rewards: ") and want in line for line, want in zip(said, expected, strict=True))


def test_a_generator_that_fails_late_is_blamed_on_its_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-generator")
    assert row_of("generator").detail == (
        f"LookupError: no table of elements ({site / 'r1core_generator.py'}:9 in r1_rewards)"
    )


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("reward", "tooy", "no reward 'tooy'\n  did you mean 'toy'?"),
        ("reward", "other", "no reward 'other': there is an advantage 'other', not a reward"),
        ("advantage", "keep", "no advantage 'keep': there is a filter 'keep', not an advantage"),
        ("reward", "zzzzzz", "no reward 'zzzzzz'\n  rewards: asked, graded, toy"),
        ("reward", "toy/toy", "'toy' is built in\n  write 'toy', without a prefix"),
        (
            "reward",
            "chm/smiles",
            "no plugin 'chm' is installed, so 'chm/smiles' means nothing\n"
            "  did you mean 'chem'? Else run: pip install r1core-chm (plugins are called so by custom)",
        ),
        (
            "reward",
            "physics/tension",
            "so 'physics/tension' means nothing\n  run: pip install r1core-physics (plugins are called so by custom)",
        ),
        ("reward", "$(id)/x", "so '$(id)/x' means nothing\n  install the distribution that brings it"),
        ("reward", "chem/smlies", "no reward 'smlies' in plugin 'chem' (r1core-chem==0.1.0)\n  did you mean 'smiles'?"),
        ("reward", "chem/short", "there is a filter 'short', not a reward"),
        ("reward", "chem", "'chem' is a plugin of r1core-chem: write chem/<component>"),
    ],
)
def test_an_unknown_name_says_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, name: str, said: str
) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    chem = next(p for p in installed() if p.name == "chem")
    assert said in refusal(toy_host(chem), kind, name)


def test_suggestions_import_no_third_party(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    chem = next(p for p in installed() if p.name == "chem")
    refusal(toy_host(chem), "reward", "smiles")
    assert "r1core_chem" not in sys.modules


def test_without_built_ins_the_message_says_to_install() -> None:
    assert "pip install -e ." in refusal(PluginHost([]), "reward", "toy")


def test_a_denied_plugin_is_off_and_a_name_that_matches_nothing_warns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    host = PluginHost.discover(deny=["no:chem", "chme"])
    assert "plugin 'chem' (r1core-chem==0.1.0) is disabled: -p no:chem" in refusal(host, "reward", "chem/smiles")
    assert host.warnings == ("-p no:chme matches no installed plugin; did you mean 'chem'?",)


@pytest.mark.parametrize(("value", "on"), [("", False), ("geo", False), ("chem", True), ("geo, chem", True)])
def test_the_environment_may_limit_third_parties(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, on: bool
) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    monkeypatch.setenv("R1_PLUGINS", value)
    rows = {row.name: row for row in PluginHost.discover().report()}
    assert rows["chem"].status == ("ok" if on else "disabled")
    assert not [r for r in rows.values() if r.distribution == "r1core" and r.status == "disabled"]
