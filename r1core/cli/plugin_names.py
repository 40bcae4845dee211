"""What a new plugin is called: one name from the author, and all that follows from it.

    chem/smiles  ->  entry point chem, component smiles, class Smiles, package r1core_chem,
                     distribution r1core-chem

A name that would be refused later (by Python, by the package index, by the plugin host) is refused here.
"""

from __future__ import annotations

import keyword
from collections.abc import Collection
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from r1core.components import CONTRACTS, NAME
from r1core.errors import RecipeError
from r1core.hookspecs import PROJECT
from r1core.plugin_host.discovery import COMMAND, PLUGIN_NAME

WHERE = "r1 new-plugin"
EXAMPLE = "write NAME or NAME/COMPONENT, such as chem or chem/smiles"


@dataclass(frozen=True, kw_only=True)
class PluginNames:
    """The names of one plugin with one component."""

    kind: str
    plugin: str
    component: str

    @property
    def name(self) -> str:
        """What a recipe writes."""
        return f"{self.plugin}/{self.component}"

    @property
    def distribution(self) -> str:
        """What is installed: the package index's form of the name."""
        return canonicalize_name(f"{PROJECT}-{self.plugin}")

    @property
    def module(self) -> str:
        """What is imported."""
        return self.distribution.replace("-", "_")

    def class_name(self, taken: Collection[str]) -> str:
        """The component's class: `Smiles`; with the contract's name behind it where that is another name already."""
        plain = "".join(part.capitalize() for part in self.component.split("_"))
        return plain if plain not in taken else plain + CONTRACTS[self.kind].__name__


def names_of(text: str, kind: str, *, built_in: Collection[str]) -> PluginNames:
    """The names that `chem` or `chem/smiles` stands for. Raises RecipeError for one that cannot be used."""
    plugin, slash, component = text.partition("/")
    component = component if slash else plugin.replace("-", "_")
    wrong = _plugin(plugin, built_in) or _component(component)
    if wrong:
        raise RecipeError(wrong, where=WHERE, fix=EXAMPLE)
    return PluginNames(kind=kind, plugin=plugin, component=component)


def _plugin(plugin: str, built_in: Collection[str]) -> str:
    """What is wrong with a plugin's name, "" when nothing is."""
    if not PLUGIN_NAME.fullmatch(plugin):
        return f"{plugin!r} cannot name a plugin: lower-case letters, digits, '_' and '-', a letter first"
    if plugin in built_in:
        return f"{plugin!r} belongs to a built-in of {PROJECT}, so a plugin of that name would never be loaded"
    if plugin.startswith((f"{PROJECT}-", f"{PROJECT}_")):
        return f"{plugin!r}: the distribution gets the prefix {PROJECT}- by itself; leave it out"
    if plugin.startswith(COMMAND):
        return f"{plugin!r}: an entry point that begins with {COMMAND} is a command of r1, not a plugin with components"
    if keyword.iskeyword(plugin):
        return f"{plugin!r} is a keyword of Python"
    if plugin[-1] in "-_":
        return f"{PROJECT}-{plugin} is no valid name of a distribution: it may not end in {plugin[-1]!r}"
    return ""


def _component(component: str) -> str:
    """What is wrong with a component's name, "" when nothing is."""
    if not NAME.fullmatch(component):
        return f"{component!r} cannot name a component: lower-case letters, digits and '_', a letter first"
    if keyword.iskeyword(component) or keyword.iskeyword(component.capitalize()):
        return f"{component!r} is a keyword of Python"
    return ""
