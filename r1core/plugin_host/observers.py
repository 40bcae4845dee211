"""Observers: plugins that watch a run. They get frozen data, one by one, and can never stop it.

The first failure of each (plugin, hook) is reported through a callback, with its frame; later ones
of the same kind are silent, so a tracker that lost its network does not fill the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pluggy

from r1core.errors import RecipeError, SetupError
from r1core.plugin_host.loading import Plugin, blame

if TYPE_CHECKING:
    from r1core.choices import ObserverOptions
    from r1core.events import RunStarted, SampleShown
    from r1core.types import Step

HOOKS = ("r1_run_start", "r1_stage_start", "r1_step_end", "r1_stage_end", "r1_run_end")


@dataclass(frozen=True, kw_only=True)
class _Call:
    plugin: Plugin
    hook: str
    implementation: pluggy.HookImpl


class Observers:
    """The observers of one run; each method calls one hook on every plugin that implements it."""

    def __init__(
        self,
        manager: pluggy.PluginManager,
        plugins: Sequence[Plugin],
        report: Callable[[str], None],
        options: Mapping[str, ObserverOptions | None] | None = None,
    ) -> None:
        self._report = report
        self._options = options or {}
        """By the plugin's target."""
        self._failed: set[tuple[str, str]] = set()
        self._calls = [
            _Call(plugin=plugin, hook=hook, implementation=implementation)
            for plugin in plugins
            for hook in HOOKS
            for implementation in getattr(manager.hook, hook).get_hookimpls()
            if implementation.plugin is plugin.hooks
        ]

    def run_start(self, *, folder: Path, recipe: Mapping[str, Any], started: RunStarted) -> None:
        """A run starts, or goes on, in `folder`."""
        self._call("r1_run_start", {"folder": folder, "recipe": _frozen(recipe), "started": started})

    def stage_start(self, *, folder: Path, stage: str) -> None:
        """A stage starts; `folder` is its own."""
        self._call("r1_stage_start", {"folder": folder, "stage": stage})

    def step_end(self, *, stage: str, step: int, report: Step, sample: SampleShown | None = None) -> None:
        """One step is done; `step` counts from 1."""
        seen = replace(report, metrics=_frozen(report.metrics))
        self._call("r1_step_end", {"stage": stage, "step": step, "report": seen, "sample": sample})

    def stage_end(self, *, stage: str, metrics: Mapping[str, float]) -> None:
        """A stage finished with these last metrics."""
        self._call("r1_stage_end", {"stage": stage, "metrics": _frozen(metrics)})

    def run_end(self, *, folder: Path, error: str) -> None:
        """The run ended; `error` is empty when it ended well."""
        self._call("r1_run_end", {"folder": folder, "error": error})

    def _call(self, hook: str, arguments: Mapping[str, Any]) -> None:
        for call in self._calls:
            if call.hook != hook:
                continue
            given = {**arguments, "options": self._options.get(call.plugin.provider.target)}
            try:
                call.implementation.function(*(given[name] for name in call.implementation.argnames))
            except (Exception, SystemExit) as error:
                self._blame(call, error)

    def _blame(self, call: _Call, error: BaseException) -> None:
        provider = call.plugin.provider
        if (provider.target, call.hook) in self._failed:
            return
        self._failed.add((provider.target, call.hook))
        if isinstance(error, SetupError):  # no fault of its code: one plain line
            self._report(f"observer {provider.switch!r}: {error.what}" + (f"; {error.fix}" if error.fix else ""))
            return
        where = blame(error, provider.target)
        place = f" at {where}" if where else ""
        self._report(
            f"observer {provider.name!r} ({provider.pinned}): {call.hook} raised "
            f"{type(error).__name__}: {error}{place}; the run goes on"
        )


class _Frozen(dict[str, Any]):
    """A mapping that cannot be written to, and is JSON as any other. A copy can be."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("what an observer gets is frozen: copy it")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _frozen(value: Any) -> Any:
    """A copy that is frozen all the way down: gates and results are read from the mapping itself."""
    if isinstance(value, Mapping):
        return _Frozen({key: _frozen(inner) for key, inner in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def options_of(manager: pluggy.PluginManager, plugin: Plugin) -> type[ObserverOptions] | None:
    """The class that an observer's hook `r1_observer_options` returns. Raises RecipeError for anything else."""
    from r1core.choices import ObserverOptions

    for implementation in manager.hook.r1_observer_options.get_hookimpls():
        if implementation.plugin is plugin.hooks:
            found: Any = implementation.function()
            if not (isinstance(found, type) and issubclass(found, ObserverOptions)):
                named = f"observer {plugin.provider.name!r} ({plugin.provider.pinned})"
                raise RecipeError(f"{named}: r1_observer_options returned {found!r}, no subclass of ObserverOptions")
            return found
    return None


def lacks_of(manager: pluggy.PluginManager, plugin: Plugin) -> list[str]:
    """What an observer's hook `r1_observer_lacks` misses; one that fails itself is a finding, too."""
    for implementation in manager.hook.r1_observer_lacks.get_hookimpls():
        if implementation.plugin is plugin.hooks:
            try:
                return list(map(str, implementation.function()))  # type: ignore[call-overload]
            except Exception as error:
                return [f"its r1_observer_lacks() fails: {type(error).__name__}: {error}"]
    return []
