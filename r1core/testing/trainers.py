"""The suite of trainers: run in a real stage, twice, and killed after every step.

class TestMine(TrainerSuite):
    component = "mine/trainer"
    recipe = '''                       # YAML, complete by itself; or a file's name, relative to the test's file
      r1: 1
      name: mine
      engines: {policy: ..., sampler: ...}
      stages:
        trained: {train: {use: mine/trainer, steps: 4}, model: ..., problems: ..., rewards: [...]}
    '''
    stage = "trained"                  # a few short steps, of which more than one can be gone on from
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from r1core.choices import Use
from r1core.components import Trainer
from r1core.errors import R1Error
from r1core.plugins import PluginHost
from r1core.recipe.annotations import Rewriter
from r1core.recipe.plan import Plan
from r1core.testing.promise import promise
from r1core.testing.stages import Launch, bytes_of, launch, planned, recipe_file, without
from r1core.testing.suite import ComponentSuite, fail
from r1core.testing.tasks import changed

READS = frozenset({"problems", "rewards", "data"})


@dataclass(frozen=True, kw_only=True)
class _Unbroken:
    """The stage run once to its end; the other tests start over in its folder, so that its inputs are made once."""

    path: Path
    folder: Path
    seen: Launch
    left: Mapping[str, str]


class TrainerSuite(ComponentSuite):
    """What a trainer promises."""

    kind = "trainer"
    recipe: ClassVar[str] = ""
    """A recipe as YAML, or its file; no profile is laid over it."""
    stage: ClassVar[str] = ""
    """The stage in it that the trainer runs."""

    # --- what it declares ----------------------------------------------------------------------------

    @promise
    def test_it_cannot_do_without_what_it_reads(self, tmp_path: Path) -> None:
        """Each key in `reads` is one that a stage can have, and without it the recipe is refused before any compute."""
        for key in sorted(self.build().reads - READS):
            fail(f"reads names {key!r}, which no stage can give: of {', '.join(sorted(READS))}")
        plan = self._plan(self._file(tmp_path))
        for key in sorted(self._trainer(plan).reads):
            path = tmp_path / f"without_{key}.yaml"
            path.write_text(without(plan, self.stage, key), encoding="utf-8")
            try:
                planned(path, PluginHost.discover())
            except R1Error:
                continue
            fail(f"it reads {key!r}, but a stage without it is not refused")

    @promise
    def test_presets_are_valid(self) -> None:
        """Each preset is a set of options that the trainer has, and the components that it names exist."""
        cls, host = self.loaded.cls, PluginHost.discover()
        assert issubclass(cls, Trainer), "the host gives what was asked for"

        def check(use: Use, kind: str, path: tuple[str | int, ...]) -> str:
            host.find(kind, use.use).Config.model_validate(use.options)
            return use.use

        for name, preset in cls.presets.items():
            try:
                config = cls.Config.model_validate({**self.options, **preset})
                Rewriter(use=check, ref=lambda value, artifact, path: value).model(config)
            except (ValidationError, R1Error) as error:
                fail(f"preset {name!r} is not valid: {' '.join(str(error).split())}")

    # --- what it does --------------------------------------------------------------------------------

    @promise
    def test_it_takes_the_planned_steps(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """As many steps as it asked `context.steps` for, and as `planned_steps` says where that is known."""
        unbroken = self._unbroken(tmp_path_factory)
        took, total = len(unbroken.seen.steps), unbroken.seen.total
        said = self._trainer(self._plan(unbroken.path)).planned_steps
        if took != total:
            fail(f"it took {took} steps, {total} were planned")
        if said is not None and said != total:
            fail(f"planned_steps is {said}, but it asked for {total} steps")

    @promise
    def test_its_numbers_are_finite(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Every step reports `loss`, and every metric is a number."""
        for event in self._unbroken(tmp_path_factory).seen.steps:
            if "loss" not in event.metrics:
                fail(f"step {event.step} reports no loss, only {', '.join(sorted(event.metrics))}")
            if wrong := [name for name, value in event.metrics.items() if not math.isfinite(value)]:
                fail(f"step {event.step} reports {wrong[0]}: {event.metrics[wrong[0]]}")

    @promise
    def test_it_measures_what_it_says(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Each metric in `measures` is reported by some step, or a gate on it could never pass."""
        unbroken = self._unbroken(tmp_path_factory)
        told = {name for event in unbroken.seen.steps for name in event.metrics}
        for name in sorted(self._trainer(self._plan(unbroken.path)).measures):
            if not name.startswith("eval/"):
                fail(f'measures names {name!r}: what a trainer measures begins with "eval/"')
            if name not in told:
                fail(f"measures names {name!r}, which no step reports")

    @promise
    def test_it_leaves_the_same_bytes_again(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The same recipe gives the same model, rollouts and metrics: nothing random but from `context.key`."""
        unbroken = self._unbroken(tmp_path_factory)
        launch(unbroken.path, unbroken.folder, self.stage, anew=True)
        if differ := changed(unbroken.left, bytes_of(unbroken.folder, self.stage)):
            fail(f"run again it leaves other bytes in {', '.join(differ)}")

    @promise
    def test_killed_after_every_step_it_leaves_the_same_bytes(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A step follows from `at`, the context and the trainer's `state` alone; where a new process could not go on
        from a step, it says `resumable=False`."""
        unbroken = self._unbroken(tmp_path_factory)
        last = len(unbroken.seen.steps)
        launches = []
        for step in range(2, last + 1):
            launches.append(launch(unbroken.path, unbroken.folder, self.stage, anew=step == 2, kill_at=step))
        launches.append(launch(unbroken.path, unbroken.folder, self.stage))
        if not any(each.gone_on for each in launches):
            fail(f"of {last} steps none could be gone on from: is every step resumable=False, or are there too few?")
        if differ := changed(unbroken.left, bytes_of(unbroken.folder, self.stage)):
            fail(
                f"killed after every step and gone on with, it leaves other bytes in {', '.join(differ)}: what a step "
                "needs of an earlier one belongs into state(), or the earlier one is not resumable"
            )

    # --- shared ----------------------------------------------------------------------------------------

    def _file(self, folder: Path) -> Path:
        if not self.recipe or not self.stage:
            fail(f"{type(self).__name__} needs a recipe and the stage in it: set recipe and stage")
        here = Path(inspect.getfile(type(self))).parent.resolve()
        return recipe_file(textwrap.dedent(self.recipe), folder, here=here)

    def _plan(self, path: Path) -> Plan:
        """The recipe's plan. Fails where its stage has another trainer than the suite's."""
        try:
            plan = planned(path, PluginHost.discover())
            use = plan.stage(self.stage).stage.train
        except R1Error as error:
            fail(f"{type(self).__name__}.recipe is not valid: {error}")
        if use is None or plan.loaded("trainer", use).target != self.loaded.target:
            fail(f"stage {self.stage!r} is not trained by {self.component}")
        return plan

    def _trainer(self, plan: Plan) -> Trainer:
        use = plan.stage(self.stage).stage.train
        assert use is not None, "seen when it was planned"
        trainer: Trainer = plan.component("trainer", use)
        return trainer

    def _unbroken(self, places: pytest.TempPathFactory) -> _Unbroken:
        """Run once for all tests of the suite."""
        if "_once" not in vars(type(self)):
            place = places.mktemp(self.stage)
            path = self._file(place)
            self._plan(path)
            seen = launch(path, place / "run", self.stage)
            left = bytes_of(place / "run", self.stage)
            type(self)._once = _Unbroken(path=path, folder=place / "run", seen=seen, left=left)
        return type(self)._once

    _once: ClassVar[_Unbroken]
