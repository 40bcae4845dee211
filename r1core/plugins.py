"""The plugin host: what is installed, what a name in a recipe means, and who is to blame.

Installed is not active: discovery imports nothing, and only what a recipe names is imported, one by
one, under guard. A bare name is a built-in, `plugin/component` is a third party's, `./file.py:Class`
a file of one's own. A broken plugin is a line in `r1 plugins`, and an error only for whoever names it.

    host = PluginHost.discover()
    host.find("advantage", "name")          # imports one module
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from r1core.errors import RecipeError
from r1core.hookspecs import PROJECT
from r1core.plugin_host import loading
from r1core.plugin_host.discovery import COMMAND, PLUGIN_NAME, Provider, classify, core_version, installed, unmatched
from r1core.plugin_host.loaded import Loaded, PluginRow, component_of, listed, loaded_from
from r1core.plugin_host.loading import Failure, Plugin
from r1core.plugin_host.local import is_local, load_local
from r1core.plugin_host.observers import HOOKS, Observers, lacks_of, options_of
from r1core.suggest import did_you_mean

if TYPE_CHECKING:
    import click

    from r1core.choices import ObserverOptions, Use
    from r1core.components import Component

__all__ = ["Loaded", "Observers", "PluginHost", "PluginRow", "core_version"]


class PluginHost:
    """All providers of this environment; loads them when they are named, each at most once."""

    def __init__(self, providers: Sequence[Provider], warnings: Sequence[str] = ()) -> None:
        self.warnings = tuple(warnings)
        """Names on the command line or in R1_PLUGINS that match nothing."""
        self._providers = tuple(providers)
        self._manager = loading.new_manager()
        self._loaded: dict[str, Plugin | Failure] = {}

    @classmethod
    def discover(cls, deny: Iterable[str] = (), allow: Iterable[str] | None = None) -> PluginHost:
        """Read what is installed, importing none of it.

        `deny` are the names of `-p no:NAME` (with or without `no:`). `allow` limits third parties, ()
        leaves built-ins only; None reads the environment variable R1_PLUGINS (comma-separated).
        """
        denied = [name.removeprefix("no:") for name in deny]
        if allow is None and "R1_PLUGINS" in os.environ:
            allow = filter(None, (name.strip() for name in os.environ["R1_PLUGINS"].split(",")))
        allowed = None if allow is None else list(allow)
        found = installed()
        return cls(classify(found, deny=denied, allow=allowed), unmatched(denied, allowed, found))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """What was discovered: enough to make an equal host in another process."""
        return self._providers

    # --- what a name means -----------------------------------------------------------------

    def find(self, kind: str, name: str, folder: Path | None = None) -> type[Component]:
        """The class that a recipe's `name` stands for; `folder` is what `./file.py` is relative to."""
        return self.load(kind, name, folder).cls

    def load(self, kind: str, name: str, folder: Path | None = None) -> Loaded:
        """The class with its origin. Raises RecipeError: unknown, of another kind, broken, disabled."""
        if is_local(name):
            cls, provider, source_hash, file = load_local(kind, name, folder)
            return loaded_from(kind, name, cls, provider, source_hash, file)
        prefix, slash, component = name.rpartition("/")
        provider = self._provider(kind, prefix if slash else name, qualified=bool(slash), name=name)
        plugin = self._plugin(provider)
        if (kind, component) not in plugin.components:
            raise self._missing(kind, component, provider, plugin)
        return component_of(provider, plugin, kind, component)

    def matches(self, name: str) -> list[Loaded]:
        """Every component of that name, of all kinds: a bare name's in all plugins, `plugin/component`'s in one."""
        prefix, _, component = name.rpartition("/")
        return [c for c in self.components() if c.name == name or (not prefix and c.cls.name == component)]

    def components(self) -> list[Loaded]:
        """Everything that loads, by kind and name; what does not is in `report()`."""
        found: dict[tuple[str, str, str], Loaded] = {}
        for provider in self._providers:
            plugin = None if provider.name.startswith(COMMAND) else self._try(provider)
            if not isinstance(plugin, Plugin):
                continue
            for kind, name in plugin.components:
                if not provider.builtin or provider.name == name:
                    found.setdefault((kind, provider.target, name), component_of(provider, plugin, kind, name))
        return sorted(found.values(), key=lambda c: (c.kind, c.name))

    def _provider(self, kind: str, plugin: str, *, qualified: bool, name: str) -> Provider:
        namesakes = [p for p in self._providers if p.name == plugin and p.builtin != qualified]
        if namesakes and not plugin.startswith(COMMAND):
            return namesakes[0]
        raise self._unknown_plugin(plugin, name) if qualified else self._unknown_builtin(kind, name)

    def _plugin(self, provider: Provider) -> Plugin:
        """The loaded plugin, or an error that says whose fault it is and how to go on."""
        plugin = self._try(provider)
        if isinstance(plugin, Plugin):
            return plugin
        named = f"plugin {provider.name!r} ({provider.pinned})"
        if plugin is None:
            raise RecipeError(f"{named} is {provider.status}: {provider.detail}")
        raise RecipeError(
            f"{named} failed to load: {plugin.detail}",
            where=plugin.where,
            fix=f"repair, upgrade or uninstall {provider.distribution}; r1 plugins shows every plugin's state",
        )

    def _try(self, provider: Provider) -> Plugin | Failure | None:
        """Load once; None when its status forbids it."""
        if provider.status != "not loaded":
            return None
        if provider.target not in self._loaded:
            self._loaded[provider.target] = loading.load(provider, self._manager)
        return self._loaded[provider.target]

    # --- errors ----------------------------------------------------------------------------

    def _unknown_builtin(self, kind: str, name: str) -> RecipeError:
        if not any(p.builtin for p in self._providers):
            return RecipeError(
                f"no {kind} {name!r}: the built-in plugins are not installed", fix="run: pip install -e . (or r1core)"
            )
        third = [p for p in self._providers if p.name == name]
        if third:
            fix = f"{name!r} is a plugin of {third[0].distribution}: write {name}/<component>"
        else:
            fix = did_you_mean(name, [c.name for c in self._builtins(kind)], otherwise=f"{_several(kind)}: ")
        return RecipeError(f"no {kind} {name!r}", fix=fix)

    def _unknown_plugin(self, plugin: str, name: str) -> RecipeError:
        if any(p.name == plugin for p in self._providers):
            return RecipeError(f"{plugin!r} is built in", fix=f"write {name.rpartition('/')[2]!r}, without a prefix")
        known = {p.name for p in self._providers if not p.builtin and not p.name.startswith(COMMAND)}
        near = did_you_mean(plugin, known)
        fix = near or "install the distribution that brings it"
        if PLUGIN_NAME.fullmatch(plugin):  # a recipe is a stranger's: nothing else of it is offered to a shell
            install = f"run: pip install {PROJECT}-{plugin} (plugins are called so by custom)"
            fix = f"{near} Else {install}" if near else install
        return RecipeError(f"no plugin {plugin!r} is installed, so {name!r} means nothing", fix=fix)

    def _missing(self, kind: str, component: str, provider: Provider, plugin: Plugin) -> RecipeError:
        other = [k for k, n in plugin.components if n == component]
        of = "" if provider.builtin else f" in plugin {provider.name!r} ({provider.pinned})"
        if other:
            return RecipeError(f"no {kind} {component!r}{of}: there is {_a(other[0])} {component!r}, not {_a(kind)}")
        mine = [n for k, n in plugin.components if k == kind]
        everything = ", ".join(f"{k} {n}" for k, n in plugin.components) or "nothing"
        fix = did_you_mean(component, mine, otherwise=f"{_several(kind)}: ") or f"it registers {everything}"
        return RecipeError(f"no {kind} {component!r}{of}", fix=fix)

    def _builtins(self, kind: str) -> list[Loaded]:
        """Built-ins of a kind, for suggestions; third parties that nobody named stay unimported."""
        plugins = [(p, self._try(p)) for p in self._providers if p.builtin]
        return [
            component_of(provider, plugin, kind, provider.name)
            for provider, plugin in plugins
            if isinstance(plugin, Plugin) and (kind, provider.name) in plugin.components
        ]

    # --- the whole environment ---------------------------------------------------------------

    def report(self) -> list[PluginRow]:
        """One row for each provider, all of them loaded; never raises."""
        return [self._row(provider) for provider in self._providers]

    def _row(self, provider: Provider) -> PluginRow:
        plugin = self._try(provider)
        status, detail, ms = provider.status, provider.detail, 0.0
        components: tuple[str, ...] = ()
        if isinstance(plugin, Plugin):
            status, ms, components = "ok", plugin.ms, listed(provider, plugin)
            detail = "\n".join([*plugin.deprecated, *self._unreachable(provider, plugin)])
        elif isinstance(plugin, Failure):
            status, ms, detail = "FAILED", plugin.ms, plugin.detail + (f" ({plugin.where})" if plugin.where else "")
        return PluginRow(
            name=provider.name,
            version=provider.version,
            distribution=provider.distribution,
            components=components,
            status=status,
            detail=detail,
            ms=ms,
        )

    def _unreachable(self, provider: Provider, plugin: Plugin) -> list[str]:
        """The commands that a plugin returns and nobody can call: they are found by entry points of their own."""
        own = [i for i in self._manager.hook.r1_commands.get_hookimpls() if i.plugin is plugin.hooks]
        try:
            names = [str(each.name) for implementation in own for each in _called(implementation)]
        except Exception as error:
            return [f"its r1_commands() fails: {type(error).__name__}: {error}"]
        known, module = {p.name for p in self._providers}, provider.target
        return [
            f'command {name!r} is not found: add the entry point {COMMAND}{name} = "{module}"'
            for name in names
            if COMMAND + name not in known
        ]

    def deprecations(self) -> list[str]:
        """What the plugins that were loaded so far do in a way that will go: one line each, with whom to tell."""
        return [
            f"plugin {plugin.provider.name!r} ({plugin.provider.pinned}): {line}"
            for plugin in self._loaded.values()
            if isinstance(plugin, Plugin)
            for line in plugin.deprecated
        ]

    def lock(self, loadeds: Iterable[Loaded]) -> dict[str, Any]:
        """For plugins.lock: the version of r1core, and distribution, version and source hash of each component."""
        components = {
            f"{c.kind} {c.name}": {"distribution": c.distribution, "version": c.version, "source_hash": c.source_hash}
            for c in loadeds
        }
        return {"r1core": core_version(), "components": dict(sorted(components.items()))}

    # --- commands and observers ----------------------------------------------------------------

    def commands(self) -> tuple[str, ...]:
        """The names of the commands that plugins bring, read without importing any."""
        names = {p.name.removeprefix(COMMAND) for p in self._providers if self._is_command(p)}
        return tuple(sorted(names))

    def _is_command(self, provider: Provider) -> bool:
        return provider.name.startswith(COMMAND) and provider.status == "not loaded"

    def command(self, name: str) -> click.Command:
        """Load one command."""
        providers = [p for p in self._providers if p.name == COMMAND + name]
        if not providers:
            raise RecipeError(f"no command {name!r}", fix=did_you_mean(name, self.commands(), otherwise="commands: "))
        plugin = self._plugin(next((p for p in providers if p.status == "not loaded"), providers[0]))
        implementations = self._manager.hook.r1_commands.get_hookimpls()
        for implementation in implementations:
            for command in _called(implementation) if implementation.plugin is plugin.hooks else ():
                if command.name == name:
                    found: click.Command = command
                    return found
        raise RecipeError(f"plugin {plugin.provider.name!r} ({plugin.provider.pinned}) has no command {name!r}")

    def observers(self, uses: Sequence[Use], report: Callable[[str], None], *, of_all: bool = False) -> Observers:
        """The named plugins as observers of one run; `report` gets each first failure; a run never does.

        `of_all`: and those of r1core's own that watch every run. One that does not load is reported, too.
        """
        plugins = self._of_all(report) if of_all else {}
        options: dict[str, ObserverOptions | None] = {}
        for use in uses:
            plugin = self._plugin(self._observer(use.use))
            callers = [i for hook in HOOKS for i in getattr(self._manager.hook, hook).get_hookimpls()]
            if not any(caller.plugin is plugin.hooks for caller in callers):
                raise RecipeError(f"plugin {use.use!r} ({plugin.provider.pinned}) observes nothing")
            taken = options_of(self._manager, plugin)
            if use.options and taken is None:
                raise RecipeError(f"observer {use.use!r} takes no options, got {', '.join(use.options)}")
            plugins[plugin.provider.target] = plugin
            options[plugin.provider.target] = None if taken is None else taken.model_validate(use.options)
        return Observers(self._manager, list(plugins.values()), report, options)

    def observer_options(self, name: str) -> type[ObserverOptions] | None:
        """What the observer takes in a recipe; None where it takes nothing."""
        return options_of(self._manager, self._plugin(self._observer(name)))

    def observer_lacks(self, name: str) -> list[str]:
        """What the observer misses on this machine, each with the command that adds it."""
        return lacks_of(self._manager, self._plugin(self._observer(name)))

    def observer_lock(self, names: Iterable[str]) -> dict[str, Any]:
        """For plugins.lock: distribution, version and source hash of each observer that a recipe names."""
        plugins = {name: self._plugin(self._observer(name)) for name in sorted(names)}
        return {
            name: {"distribution": p.provider.distribution, "version": p.provider.version, "source_hash": p.source_hash}
            for name, p in plugins.items()
        }

    def _of_all(self, report: Callable[[str], None]) -> dict[str, Plugin]:
        """The observers of every run, by target, less those that `-p no:NAME` left out."""
        found: dict[str, Plugin] = {}
        for provider in self._providers:
            plugin = self._try(provider) if provider.watches_all else None
            if isinstance(plugin, Plugin):
                found[provider.target] = plugin
            elif isinstance(plugin, Failure):
                report(f"observer {provider.switch!r} ({provider.pinned}) failed to load: {plugin.detail}")
        return found

    def _observer(self, name: str) -> Provider:
        """Observers are named by plugin: no component, so no prefix."""
        found = [p for p in self._providers if p.name == name and p.status not in ("REFUSED", "CONFLICT")]
        found = found or [p for p in self._providers if p.name == name]
        if not found:
            raise RecipeError(f"no observer {name!r}", fix=did_you_mean(name, {p.name for p in self._providers}))
        return found[0]


def _called(implementation: pluggy.HookImpl) -> list[Any]:
    found: list[Any] = list(implementation.function())  # type: ignore[call-overload]
    return found


def _several(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
