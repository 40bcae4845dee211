"""Names and what they mean: built-ins, third parties, local files; nothing is imported before it is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from third_party import install, toy_host

from r1core.choices import Use
from r1core.components import Reward
from r1core.errors import RecipeError
from r1core.plugin_host import loading
from r1core.plugins import PluginHost

LOCAL = """
from __future__ import annotations
from pydantic import Field
from r1core.choices import Use
from r1core.components import Reward
from r1core.types import Score

class Mine(Reward):
    name = "mine"
    class Config(Reward.Config):
        factor: float = Field(2.0, description="factor")
    def score(self, problem, response):
        return Score(value=self.config.factor)
"""


def test_discovery_imports_no_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-chem", "r1core-broken")
    host = PluginHost.discover()
    assert "chem" in host.commands()
    assert "r1core_chem" not in sys.modules


def test_a_named_plugin_is_imported_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-chem", "r1core-watch", "r1core-broken")
    smiles = PluginHost.discover().find("reward", "chem/smiles")
    assert issubclass(smiles, Reward)
    assert smiles.__module__ == "r1core_chem"
    assert "r1core_watch" not in sys.modules


def test_a_bare_name_is_a_built_in() -> None:
    loaded = toy_host().load("reward", "toy")
    assert (loaded.kind, loaded.name, loaded.distribution) == ("reward", "toy", "r1core")
    assert loaded.target == "toy_components:Toy"


def test_a_third_party_component_knows_its_origin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-chem")
    loaded = PluginHost.discover().load("reward", "chem/smiles")
    assert (loaded.name, loaded.plugin, loaded.distribution, loaded.version) == (
        "chem/smiles",
        "chem",
        "r1core-chem",
        "0.1.0",
    )
    assert loaded.file == str(site / "r1core_chem" / "__init__.py")
    assert not loaded.local


def test_one_module_behind_several_names_is_registered_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-watch")
    host = PluginHost.discover()
    rows = {row.name: row for row in host.report() if row.distribution == "r1core-watch"}
    assert rows["watch"].status == rows["watchman"].status == "ok"
    assert rows["watch"].ms == rows["watchman"].ms


def test_the_source_hash_follows_code_and_data_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = install(monkeypatch, tmp_path, "r1core-chem")

    def hashed() -> str:
        return PluginHost.discover().load("reward", "chem/smiles").source_hash

    first = hashed()
    (site / "r1core_chem" / "__pycache__" / "x.pyc").parent.mkdir(exist_ok=True)
    (site / "r1core_chem" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert hashed() == first
    (site / "r1core_chem" / "cases.jsonl").write_text("{}")
    assert hashed() != first


def test_a_local_file_is_found_relative_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOCAL)
    loaded = toy_host().load("reward", "./mine.py:Mine", tmp_path)
    assert loaded.local
    assert loaded.cls(loaded.cls.Config()).config.factor == 2.0
    assert loaded.target == f"{tmp_path / 'mine.py'}:Mine"


def test_an_edited_local_file_is_read_again_under_another_hash(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOCAL)
    before = toy_host().load("reward", "./mine.py:Mine", tmp_path)
    (tmp_path / "mine.py").write_text(LOCAL.replace("2.0", "3.0"))
    after = toy_host().load("reward", "./mine.py:Mine", tmp_path)
    assert after.source_hash != before.source_hash
    assert after.cls.Config().factor == 3.0  # type: ignore[attr-defined]


def test_local_files_with_faults_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOCAL)
    (tmp_path / "bad.py").write_text("import os\n\n1 / 0\n")
    host = toy_host()
    for name, kind, said in [
        ("./mine.py", "reward", "names a file but no class in it"),
        ("./none.py:Mine", "reward", "no file"),
        ("./mine.py:Nine", "reward", "did you mean 'Mine'?"),
        ("./mine.py:Mine", "filter", "Mine is not a subclass of r1core.components.DataFilter"),
        ("./bad.py:Mine", "reward", f"{tmp_path / 'bad.py'}:3 in <module>: bad.py failed to load: ZeroDivisionError"),
    ]:
        with pytest.raises(RecipeError) as caught:
            host.load(kind, name, tmp_path)
        assert said in str(caught.value)


def test_commands_are_listed_unimported_and_loaded_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    host = PluginHost.discover()
    assert host.command("chem").help == "Draw a molecule."
    with pytest.raises(RecipeError, match="no command 'chme'"):
        host.command("chme")


def test_matches_finds_a_name_in_all_plugins_and_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-chem", "r1core-broken")
    host = PluginHost.discover()
    assert [(c.kind, c.name) for c in host.matches("smiles")] == [("reward", "chem/smiles")]
    assert [(c.kind, c.name) for c in host.matches("chem/short")] == [("filter", "chem/short")]
    assert host.matches("nothing_has_this_name") == []


def test_the_lock_names_version_and_source_of_each_component(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "r1core-chem")
    host = PluginHost.discover()
    smiles = host.load("reward", "chem/smiles")
    assert host.lock([smiles])["components"] == {
        "reward chem/smiles": {
            "distribution": "r1core-chem",
            "version": "0.1.0",
            "source_hash": smiles.source_hash,
        }
    }


def test_a_deprecated_hook_works_and_says_who_should_change_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = install(monkeypatch, tmp_path, "r1core-watch")
    manager = loading.new_manager()
    manager.hook.r1_stage_end.spec.warn_on_impl = DeprecationWarning("r1_stage_end ends with 0.3: use r1_stage_done")
    monkeypatch.setattr(loading, "new_manager", lambda: manager)
    host = PluginHost.discover()
    assert host.deprecations() == []
    seen = host.observers([Use(use="watch")], report=pytest.fail)
    said = f"{site / 'r1core_watch.py'}:18: r1_stage_end ends with 0.3: use r1_stage_done"
    assert host.deprecations() == [f"plugin 'watch' (r1core-watch==0.3.0): {said}"]
    row = next(row for row in host.report() if row.name == "watch")
    assert (row.status, row.detail) == ("ok", said)
    seen.stage_end(stage="base", metrics={})
    assert sys.modules["r1core_watch"].SEEN == [("base", {})]


def test_a_command_without_an_entry_point_of_its_own_is_a_line_of_its_plugin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = install(monkeypatch, tmp_path, "r1core-watch")
    with (site / "r1core_watch.py").open("a", encoding="utf-8") as module:
        module.write("\nimport click\n@hookimpl\ndef r1_commands():\n    return [click.Command('lab')]\n")
    row = next(row for row in PluginHost.discover().report() if row.name == "watch")
    assert (row.status, row.detail) == (
        "ok",
        "command 'lab' is not found: add the entry point command-lab = \"r1core_watch\"",
    )


def test_what_there_is_of_a_kind_is_listed_in_its_plural() -> None:
    for kind, plural in (("policy", "policies"), ("sampler", "samplers")):
        with pytest.raises(RecipeError, match=rf"no {kind} 'zzzzzz'\n  {plural}: "):
            PluginHost.discover(allow=()).find(kind, "zzzzzz")
