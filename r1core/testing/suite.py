"""The base of every suite: how a component is found and built, and what holds for all kinds.

    class TestMine(RewardSuite):
        component = "./mine.py:Mine"   # or plugin/component, or a built-in's bare name; relative to the test's file
        options = {"tolerance": 0.1}   # those that the component needs or that are worth testing

A failure is a sentence that says what the component did and what its kind promises, without a stack.
"""

from __future__ import annotations

import functools
import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest
from pydantic import ValidationError

from r1core.components import CONTRACTS, Component
from r1core.errors import R1Error
from r1core.plugin_host.loading import HEAVY
from r1core.plugins import Loaded, PluginHost

BUILD = """
import json, sys
from r1core.scoring.worker import load_class
target, options, heavy = json.loads(sys.argv[1])
cls = load_class(target)
print(json.dumps(sorted(set(heavy) & set(sys.modules))))
cls(cls.Config.model_validate(options))
"""


def fail(sentence: str) -> NoReturn:
    """End the test with a sentence instead of a stack."""
    pytest.fail(sentence, pytrace=False)


@functools.cache
def _host() -> PluginHost:
    return PluginHost.discover()


class ComponentSuite:
    """What every kind of component promises. Inherit the suite of its kind, not this one."""

    kind: ClassVar[str] = ""
    component: ClassVar[str] = ""
    """Its name, as a recipe writes it."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options to test it with."""

    # --- for suites ------------------------------------------------------------------------------

    @property
    def loaded(self) -> Loaded:
        """The component's class and where it comes from."""
        if not self.component:
            fail(f'{type(self).__name__} names no component: set component = "plugin/name"')
        try:
            return _host().load(self.kind, self.component, Path(inspect.getfile(type(self))).parent)
        except R1Error as error:
            fail(f"{type(self).__name__}.component: {error}")

    def build(self, **options: Any) -> Any:
        """A new instance with the suite's options, and these on top."""
        cls = self.loaded.cls
        try:
            return cls(cls.Config.model_validate({**self.options, **options}))
        except ValidationError as error:
            fail(f"{self.component}: {type(self).__name__}.options are not valid: {error}")

    # --- what holds for all kinds ------------------------------------------------------------------

    def test_it_says_what_it_is(self) -> None:
        """A docstring of its own: `r1 explain` has nothing else to show."""
        cls = self.loaded.cls
        if not cls.__doc__ or cls.__doc__ == CONTRACTS[self.kind].__doc__:
            fail(f"{cls.__qualname__} has no docstring; r1 explain {self.component} prints it")

    def test_every_option_is_described(self) -> None:
        """Each field of `Config` says what it is."""
        fields = self.loaded.cls.Config.model_fields
        silent = [name for name, field in fields.items() if not field.description]
        if silent:
            fail(f'options without a description: {", ".join(silent)}; write Field(..., description="what, unit")')

    def test_a_misspelled_option_is_refused(self) -> None:
        """Unknown keys are errors, else a slip trains with the default."""
        cls = self.loaded.cls
        try:
            cls.Config.model_validate({**self.options, "no_such_option": 1})
        except ValidationError as error:
            if any(e["type"] == "extra_forbidden" for e in error.errors()):
                return
            raise
        fail(f'{cls.__qualname__}.Config accepts an option that it does not have; keep extra="forbid"')

    def test_its_options_survive_the_way_to_another_process(self) -> None:
        """Processes rebuild a component from its name and the JSON of its options."""
        cls = self.loaded.cls
        config = self.build().config
        again = cls.Config.model_validate(json.loads(json.dumps(config.model_dump(mode="json", by_alias=True))))
        if again != config:
            fail(f"options changed on their way through JSON: {config!r} became {again!r}")

    def test_a_fresh_process_builds_it_and_imports_nothing_heavy(self) -> None:
        """Importing it costs no engine; a worker process can make it from its name and options."""
        argument = json.dumps([self.loaded.target, dict(self.options), HEAVY])
        done = subprocess.run([sys.executable, "-c", BUILD, argument], capture_output=True, text=True, check=False)
        if done.returncode:
            fail(f"a fresh process cannot build {self.component}:\n{done.stderr.strip().splitlines()[-1]}")
        heavy = json.loads(done.stdout.splitlines()[0])
        if heavy:
            fail(f"importing {self.loaded.file} imports {', '.join(heavy)}: do that inside the methods that need it")

    def test_what_it_remembers_is_json(self) -> None:
        """`state` is saved with a stage's progress and read by another process."""
        component: Component = self.build()
        state = component.state()
        try:
            same = json.loads(json.dumps(state, allow_nan=False)) == state
        except (TypeError, ValueError) as error:
            fail(f"state() is not JSON: {error}")
        if not same:
            fail(f"state() changes on its way through JSON: {state!r}; use lists, strings and numbers")
        component.load(state)

    def test_what_it_lacks_is_a_list_of_sentences(self) -> None:
        """`check` is printed by `r1 doctor`."""
        lacking = self.loaded.cls.check()
        if not isinstance(lacking, list) or not all(isinstance(each, str) for each in lacking):
            fail(f"check() returned {lacking!r}, not a list of sentences")
