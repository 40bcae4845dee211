"""Where problems come from."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from r1core.components.base import Component
from r1core.types import Problem


class ProblemSource(Component):
    """An iterable of problems in a stable order: the same config gives the same problems for ever.

    The core keeps the cursor (how many were taken) and starts over at the end of a finite source.
    """

    kind = "source"
    listener: Callable[[str], None] | None = None
    """Who hears what it tells; the core listens where a stage reads."""

    def tell(self, text: str) -> None:
        """Say a line to whoever watches: what was left out, and why."""
        if self.listener is not None:
            self.listener(text)

    @abc.abstractmethod
    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The problems, in order; may be endless. `seed` is the run's: a generated source draws from it, a data set
        may ignore it."""

    @property
    def fields(self) -> Mapping[str, frozenset[str]] | None:
        """What a recipe may pick its problems by (`for`, `only`, `by`): `domain`, `language`, keys of `meta`, each with
        the values that it takes (none: any). None when only the data can tell; slips then pass unseen."""
        return None

    @property
    def endless(self) -> bool:
        """Whether `problems` never ends."""
        return False

    def where(self, number: int) -> str:
        """Where the problem that comes as number `number` (from 0) lies, for people: a row of a file."""
        return f"problem {number + 1}"

    @property
    def vocabulary(self) -> int | None:
        """How many tokens the tokenizer that it writes has; None where that cannot be told before it is written."""
        return None

    def write_tokenizer(self, folder: Path) -> None:
        """Write a Hugging Face tokenizer with its chat template, fit to this source's text, into `folder`.

        Only asked of a source that a model is trained on from scratch.
        """
        raise NotImplementedError(f"source {self.name!r} brings no tokenizer; give the stage a model to start from")
