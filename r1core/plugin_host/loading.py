"""Import one plugin under guard, and check all that pluggy accepts in silence.

Stock pluggy lets one broken plugin end the host, takes misspelled hooks until asked, never passes
defaulted arguments, crashes late on keyword-only ones, and cannot say whose generator failed. Here
each plugin is loaded alone and becomes either a `Plugin` or a sentence that says what is wrong. What
it does in a way that will go (`warn_on_impl` of a hook spec) is said with its line, and works.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from r1core import hookspecs
from r1core.plugin_host.discovery import Provider
from r1core.plugin_host.hashing import hash_source, module_root
from r1core.suggest import did_you_mean

if TYPE_CHECKING:
    from r1core.components import Component

KINDS: Mapping[str, str] = {
    "r1_policies": "policy",
    "r1_samplers": "sampler",
    "r1_rewards": "reward",
    "r1_advantages": "advantage",
    "r1_objectives": "objective",
    "r1_filters": "filter",
    "r1_trainers": "trainer",
    "r1_sources": "source",
}
HEAVY = ("torch", "transformers", "datasets", "wandb", "pyarrow")
"""What no module of a component may import while it is imported itself: a recipe's names are looked up long before a
component is used. Inference and training engines bring torch along, so they are found by it."""
RESERVED: Mapping[str, frozenset[str]] = {
    "reward": frozenset({"use", "weight", "for", "active", "python"}),
    "trainer": frozenset({"use", "preset"}),
}


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A loaded plugin: the object that carries its hooks, and the component classes it registered."""

    provider: Provider
    hooks: object
    components: Mapping[tuple[str, str], type[Component]]
    source_hash: str
    ms: float
    deprecated: tuple[str, ...] = ()
    """What it does that a later r1core will not know, each with `file:line`."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a plugin did not load: `detail` is a sentence, `where` the deepest frame inside the plugin."""

    provider: Provider
    detail: str
    where: str
    ms: float


class InvalidPluginError(Exception):
    """The plugin imports, but breaks a rule; the message says which and where."""


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows r1core's hooks and nothing else."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def load(provider: Provider, manager: pluggy.PluginManager) -> Plugin | Failure:
    """Import, check and register; never raises, except for Ctrl-C."""
    start = time.perf_counter()
    try:
        hooks = _import(provider.target)
        check_hooks(manager, hooks)
        deprecated = _register(manager, hooks, provider.target)
        components = _components(manager, hooks)
        module = sys.modules[provider.target.partition(":")[0]]
        source_hash = hash_source(module_root(module))
    except (Exception, SystemExit) as error:
        ms = 1000 * (time.perf_counter() - start)
        detail = str(error) if isinstance(error, InvalidPluginError) else f"{type(error).__name__}: {error}"
        return Failure(provider=provider, detail=detail, where=blame(error, provider.target), ms=ms)
    ms = 1000 * (time.perf_counter() - start)
    return Plugin(
        provider=provider,
        hooks=hooks,
        components=components,
        source_hash=source_hash,
        ms=ms,
        deprecated=deprecated,
    )


def _register(manager: pluggy.PluginManager, hooks: object, target: str) -> tuple[str, ...]:
    """Register, and return the warnings of deprecated hooks and arguments with their places."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(hooks, name=target)
    return tuple(f"{each.filename}:{each.lineno}: {each.message}" for each in caught)


def _import(target: str) -> object:
    module, _, attributes = target.partition(":")
    found: object = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def blame(error: BaseException, target: str, *, root: Path | None = None) -> str:
    """`file:line in function` of the deepest frame inside the plugin (or below `root`), "" when there is none."""
    if isinstance(error, InvalidPluginError):
        return ""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    root = root or _root(target)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if root and _inside(Path(f.filename), root)]
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""


def _root(target: str) -> Path | None:
    """The folder or file of the plugin's top-level package, found without importing it."""
    try:
        spec = importlib.util.find_spec(target.partition(":")[0].partition(".")[0])
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)


def _inside(path: Path, root: Path) -> bool:
    return path == root or root in path.parents


# --- hooks -----------------------------------------------------------------------------------


def check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Raise one sentence for each hook that pluggy would ignore, misread or crash on."""
    findings = [finding for name in dir(plugin) for finding in _hook_findings(manager, plugin, name)]
    if findings:
        raise InvalidPluginError("\n".join(findings))


def _hook_findings(manager: pluggy.PluginManager, plugin: object, name: str) -> Iterable[str]:
    known = {hook for hook in vars(manager.hook) if hook.startswith("r1_")}
    options = manager.parse_hookimpl_opts(plugin, name)
    function: Any = getattr(plugin, name, None)
    if options is None:
        if name in known and inspect.isfunction(function) and function.__module__ == getattr(plugin, "__name__", ""):
            yield f"{definition(function)}: {name} is not marked with @hookimpl, so it would never be called"
        return
    hook = options.get("specname") or name
    where = definition(function)
    if hook not in known:
        hint = did_you_mean(hook, known, otherwise="hooks: ")
        yield f"{where}: unknown hook {hook!r}; {hint} (or it needs a newer r1core)"
        return
    if options.get("wrapper") or options.get("hookwrapper"):
        yield f"{where}: {hook} is a wrapper; r1core has no hook wrappers"
    allowed = getattr(manager.hook, hook).spec.argnames
    for parameter in inspect.signature(function).parameters.values():
        wrong = _wrong(parameter, allowed)
        if wrong:
            yield f"{where}: argument {parameter.name!r} of {hook} {wrong}; it may take ({', '.join(allowed)})"


def _wrong(parameter: inspect.Parameter, allowed: tuple[str, ...]) -> str:
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return f"is {parameter.kind.description}, and hooks are called by position"
    if parameter.default is not inspect.Parameter.empty:
        return "has a default, which hooks never use"
    return "" if parameter.name in allowed else "is not an argument of that hook"


def definition(function: Callable[..., Any]) -> str:
    """`file:line: def ...`: the line that a person has to change."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return repr(function)
    offset = next((i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "async def "))), 0)
    return f"{inspect.getsourcefile(function)}:{first + offset}: {lines[offset].strip().rstrip(':')}"


# --- components ------------------------------------------------------------------------------


def _components(manager: pluggy.PluginManager, plugin: object) -> dict[tuple[str, str], type[Component]]:
    """Call each registration hook of this plugin alone; lists inside the guard, so generators are blamed too."""
    found: dict[tuple[str, str], type[Component]] = {}
    findings = []
    for hook, kind in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            for entry in list(implementation.function()):
                wrong = invalid(entry, kind) or (
                    f"two {kind}s are named {entry.name!r}" * ((kind, entry.name) in found)
                )
                if wrong:
                    findings.append(f"{hook}: {wrong}")
                else:
                    found[kind, entry.name] = entry
    if findings:
        raise InvalidPluginError("\n".join(findings))
    return found


def invalid(entry: Any, kind: str) -> str:
    """What is wrong with something that claims to be a component class of `kind`, "" when nothing is."""
    from r1core.components import CONTRACTS, NAME

    contract = CONTRACTS[kind]
    if not isinstance(entry, type):
        cls = type(entry).__name__
        return f"{entry!r} is an object, not a class; return the class" + f": [{cls}]" * isinstance(entry, contract)
    if not issubclass(entry, contract):
        return f"{entry.__qualname__} is not a subclass of r1core.components.{contract.__name__}"
    missing = sorted(entry.__abstractmethods__)
    if missing:
        return f"{entry.__qualname__} does not implement {', '.join(missing)}"
    if "<locals>" in entry.__qualname__:
        return f"{entry.__qualname__} must stand at the top of its module: other processes import it by name"
    if not NAME.fullmatch(entry.name):
        return f"{entry.__qualname__}.name is {entry.name!r}; use lower-case letters, digits and underscores"
    if entry.Config.model_config.get("extra") != "forbid":
        return f'{entry.__qualname__}.Config must keep extra="forbid", or misspelled options pass in silence'
    taken = RESERVED.get(kind, frozenset({"use"})) & set(entry.Config.model_fields)
    return f"{entry.__qualname__}.Config may not have {', '.join(sorted(taken))}: recipes use it" if taken else ""
