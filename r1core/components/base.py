"""What all components share, whatever their kind."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from r1core.choices import Options

NAME = re.compile(r"[a-z][a-z0-9_]*")


class Component(abc.ABC):  # noqa: B024 - the kinds have the abstract methods
    """What all components share. `config` is the validated, frozen `Config`."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    """The extra of r1core that it needs ("train", ...), empty for none."""
    preload: ClassVar[tuple[str, ...]] = ()
    """Heavy modules worth importing once, before the processes that use it are forked."""

    class Config(Options):
        """No options."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name and not NAME.fullmatch(cls.name):
            raise TypeError(f"{cls.__qualname__}.name is {cls.name!r}: use lower-case letters, digits and underscores")
        if not issubclass(cls.Config, Options):
            raise TypeError(f"{cls.__qualname__}.Config must derive from {cls.__mro__[1].__qualname__}.Config")

    @classmethod
    def check(cls) -> list[str]:
        """What is missing to run it on this machine, each with the command that adds it."""
        return []

    @classmethod
    def report(cls) -> list[str]:
        """What `r1 doctor` tells of it on this machine besides: which of its ways work here, and why others do not."""
        return []

    def state(self) -> dict[str, Any]:
        """What it remembers from one unit of work to the next, as JSON: a running mean, answers already seen.

        Asked after every unit and kept with it; `load` gets it back when a new process goes on from there.
        """
        return {}

    def load(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - nothing to remember is the rule
        """Remember what `state` told."""
