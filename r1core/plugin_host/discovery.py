"""What is installed, read from distribution metadata without importing any of it.

An entry point of the group `r1core` is a provider; its name is the plugin's name. Stock pluggy drops
the second of two distributions with one name in silence and never looks at versions: here conflicts
name both sides, names of built-ins are reserved, and `Requires-Dist: r1core` is checked first.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from r1core.hookspecs import PROJECT
from r1core.suggest import did_you_mean

PluginStatus: TypeAlias = Literal["ok", "not loaded", "FAILED", "INCOMPATIBLE", "CONFLICT", "REFUSED", "disabled"]
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_-]*")
COMMAND = "command-"
OBSERVER = "observer-"
"""r1core's own entry points of this name watch every run; a third party's watch those that list them."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One entry point: `name = target`, and the distribution that declares it."""

    name: str
    target: str
    distribution: str
    version: str
    requires: tuple[str, ...] = ()
    status: PluginStatus = "not loaded"
    detail: str = ""

    @property
    def builtin(self) -> bool:
        """Whether it comes with r1core, so that a recipe may name it bare."""
        return self.distribution == PROJECT

    @property
    def watches_all(self) -> bool:
        """Whether it observes every run, named or not."""
        return self.builtin and self.name.startswith(OBSERVER)

    @property
    def switch(self) -> str:
        """What `-p no:` calls it: an observer of every run goes by its name alone."""
        return self.name.removeprefix(OBSERVER) if self.watches_all else self.name

    @property
    def pinned(self) -> str:
        """`distribution==version`."""
        return f"{self.distribution}=={self.version}"


@functools.cache
def core_version() -> str:
    """The version of the running r1core, "0" when it is used without being installed."""
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return "0"


def installed() -> list[Provider]:
    """Every provider, sorted by name and distribution, so that the order on disk never matters."""
    identities: dict[int, tuple[str, str, tuple[str, ...]]] = {}
    providers = []
    for entry in importlib.metadata.entry_points(group=PROJECT):
        if id(entry.dist) not in identities:
            identities[id(entry.dist)] = _identity(entry.dist)
        distribution, version, requires = identities[id(entry.dist)]
        providers.append(
            Provider(name=entry.name, target=entry.value, distribution=distribution, version=version, requires=requires)
        )
    return sorted(set(providers), key=lambda p: (p.name, p.distribution, p.target))


def without_entry_point() -> list[str]:
    """A sentence for each installed distribution that is named as plugins are and brings none.

    Installers read entry points once: those written after an editable install are not there.
    """
    found = {_identity(d)[:2] for d in importlib.metadata.distributions() if not d.entry_points.select(group=PROJECT)}
    return [
        f"{name} {version} is installed and brings no plugin: give its pyproject.toml "
        f"[project.entry-points.{PROJECT}], then install it again"
        for name, version in sorted(found)
        if name.startswith(f"{PROJECT}-")
    ]


def _identity(distribution: importlib.metadata.Distribution | None) -> tuple[str, str, tuple[str, ...]]:
    if distribution is None:
        return ("unknown", "0", ())
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "unknown").lower()
    return (name, distribution.version or "0", tuple(distribution.requires or ()) if name != PROJECT else ())


def classify(providers: Sequence[Provider], *, deny: Iterable[str], allow: Iterable[str] | None) -> list[Provider]:
    """The same providers, each with the status it has before anything is imported."""
    denied, allowed = set(deny), None if allow is None else set(allow)
    reserved = {p.name for p in providers if p.builtin}
    return [_classified(p, [q for q in providers if q.name == p.name], reserved, denied, allowed) for p in providers]


def _classified(
    provider: Provider, namesakes: list[Provider], reserved: set[str], denied: set[str], allowed: set[str] | None
) -> Provider:
    if not denied.isdisjoint((provider.name, provider.switch)):
        return replace(provider, status="disabled", detail=f"-p no:{provider.switch}")
    if not provider.builtin and allowed is not None and provider.name not in allowed:
        return replace(provider, status="disabled", detail="not listed in R1_PLUGINS")
    if not PLUGIN_NAME.fullmatch(provider.name):
        return replace(provider, status="REFUSED", detail="a plugin's name is lower-case letters, digits, '_' and '-'")
    if not provider.builtin and provider.name in reserved:
        return replace(provider, status="REFUSED", detail=f"the name {provider.name!r} belongs to a built-in of r1core")
    rivals = [p for p in namesakes if p.builtin == provider.builtin]
    if len(rivals) > 1:
        sides = " and ".join(sorted({p.pinned for p in rivals}))
        return replace(provider, status="CONFLICT", detail=f"claimed by {sides}; uninstall all but one")
    mismatch = _incompatible(provider)
    return replace(provider, status="INCOMPATIBLE", detail=mismatch) if mismatch else provider


def _incompatible(provider: Provider) -> str:
    """The requirement on r1core that the running version does not meet; pip does not look again after an upgrade."""
    from packaging.requirements import InvalidRequirement, Requirement

    running = core_version()
    for text in provider.requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.name.lower() != PROJECT or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        if not wanted.specifier.contains(running, prereleases=True):
            return f"needs {PROJECT}{wanted.specifier}, this is {running}"
    return ""


def unmatched(deny: Iterable[str], allow: Iterable[str] | None, providers: Sequence[Provider]) -> list[str]:
    """A warning for each name on the command line or in R1_PLUGINS that no provider has."""
    known = {name for p in providers for name in (p.name, p.switch)}
    wrong = [(f"-p no:{name}", name) for name in deny] + [(f"R1_PLUGINS={name}", name) for name in allow or ()]
    return [
        f"{option} matches no installed plugin; {did_you_mean(name, known)}".rstrip("; ")
        for option, name in wrong
        if name not in known
    ]
