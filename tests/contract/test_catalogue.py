"""plugins/README.md says what there is: its tables are what plugins/catalogue.py writes from code and catalogue."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from r1core.errors import RecipeError

PLUGINS = Path(__file__).parents[2] / "plugins"
ENTRY = """\
  - plugin: chem
    distribution: r1core-chem
    brings: [reward smiles, source molecules]
    what: Are two SMILES strings | the same molecule?
    url: https://example.org/chem
"""


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plugin_catalogue", PLUGINS / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks names up there
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_up_to_date(catalogue: ModuleType) -> None:
    readme = (PLUGINS / "README.md").read_text(encoding="utf-8")
    entries = catalogue.published(PLUGINS / "catalogue.yaml")
    assert catalogue.rendered(readme, entries) == readme, "run: python plugins/catalogue.py"


def test_an_entry_becomes_a_row(catalogue: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "catalogue.yaml").write_text("plugins:\n" + ENTRY)
    readme = (PLUGINS / "README.md").read_text(encoding="utf-8")
    row = (
        "| [chem](https://example.org/chem) | `pip install r1core-chem` | reward smiles, source molecules "
        "| Are two SMILES strings \\| the same molecule? |"
    )
    assert row in catalogue.rendered(readme, catalogue.published(tmp_path / "catalogue.yaml")).splitlines()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("r1core-chem", "chem-for-r1", "catalogue.yaml:3:5: plugins.0.distribution: "),
        ("reward smiles", "smiles", "write a kind and a name, such as 'reward smiles', got 'smiles'"),
        ("url:", "ulr:", "did you mean 'url'?"),
        ("https://", "http://", "catalogue.yaml:6:5: plugins.0.url: "),
        ("    url:", ENTRY.replace("  - ", "    ") + "    url:", "already given in line"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(
    old: str, new: str, said: str, catalogue: ModuleType, tmp_path: Path
) -> None:
    assert old in ENTRY
    (tmp_path / "catalogue.yaml").write_text("plugins:\n" + ENTRY.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        catalogue.published(tmp_path / "catalogue.yaml")
    assert said in str(caught.value)


def test_entries_are_sorted_and_unique(catalogue: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "catalogue.yaml").write_text("plugins:\n" + ENTRY + ENTRY)
    with pytest.raises(RecipeError, match="sort them by plugin, each once, got chem, chem"):
        catalogue.published(tmp_path / "catalogue.yaml")
