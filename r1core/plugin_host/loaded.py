"""Components as the host hands them out, each with the distribution, version and source that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1core.plugin_host.discovery import COMMAND, OBSERVER, PluginStatus, Provider
from r1core.plugin_host.hashing import class_file
from r1core.plugin_host.loading import Plugin
from r1core.plugin_host.local import is_local

if TYPE_CHECKING:
    from r1core.components import Component


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A component class and where it came from. `name` is what a recipe writes."""

    kind: str
    name: str
    cls: type[Component]
    plugin: str
    distribution: str
    version: str
    source_hash: str
    file: str
    module: str
    """The plugin's module, whose package the source hash is of; the file itself for local code."""

    @property
    def local(self) -> bool:
        """Whether it is code of the recipe's own, in no distribution."""
        return is_local(self.name)

    @property
    def target(self) -> str:
        """Where another process finds the class: `package.module:Class` or `/abs/file.py:Class`."""
        place = str(Path(self.file).resolve()) if self.local else self.cls.__module__
        return f"{place}:{self.cls.__qualname__}"

    def lacks(self) -> list[str]:
        """What its `check` misses on this machine; a check that fails itself is a finding, too."""
        try:
            return list(self.cls.check())
        except Exception as error:
            return [f"its check() fails: {type(error).__name__}: {error}"]


@dataclass(frozen=True, kw_only=True)
class PluginRow:
    """One line of `r1 plugins`; `ms` is the time its import took."""

    name: str
    version: str
    distribution: str
    components: tuple[str, ...]
    status: PluginStatus
    detail: str
    ms: float


def component_of(provider: Provider, plugin: Plugin, kind: str, component: str) -> Loaded:
    """A component of a loaded plugin, under the name that a recipe writes."""
    cls = plugin.components[kind, component]
    name = component if provider.builtin else f"{provider.name}/{component}"
    return loaded_from(kind, name, cls, provider, plugin.source_hash, class_file(cls))


def loaded_from(kind: str, name: str, cls: type[Component], provider: Provider, source_hash: str, file: str) -> Loaded:
    """A class with its origin."""
    return Loaded(
        kind=kind,
        name=name,
        cls=cls,
        plugin=provider.name,
        distribution=provider.distribution,
        version=provider.version,
        source_hash=source_hash,
        file=file,
        module=str(Path(file).resolve()) if is_local(name) else provider.target.partition(":")[0],
    )


def listed(provider: Provider, plugin: Plugin) -> tuple[str, ...]:
    """What a row shows: a built-in entry point stands for one component, a third party's for all."""
    if provider.name.startswith(COMMAND):
        return (f"command {provider.name.removeprefix(COMMAND)}",)
    if provider.watches_all:
        return (f"observer {provider.name.removeprefix(OBSERVER)}",)
    shown: Mapping[tuple[str, str], Any] = plugin.components
    return tuple(f"{k} {n}" for k, n in shown if not provider.builtin or n == provider.name)
