"""A promise as a test: what a component raises in it becomes the test's sentence, with the line that raised it."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from r1core.testing.suite import ComponentSuite, fail

S = TypeVar("S", bound=ComponentSuite)
P = ParamSpec("P")


def promise(test: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """The test of a promise, which its docstring makes."""

    @functools.wraps(test)
    def told(suite: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            test(suite, *args, **kwargs)
        except Exception as error:
            said = (test.__doc__ or test.__name__).strip().partition("\n")[0]
            fail(
                f"{suite.component} raised {type(error).__name__}: {error} ({_place(error, suite.loaded.file)}), "
                f"so this was not seen: {said}"
            )

    return told


def _place(error: Exception, file: str) -> str:
    """The deepest line in the component's own file, else the deepest of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == Path(file)]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
