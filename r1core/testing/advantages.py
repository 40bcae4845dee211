"""The suite of advantage estimators: what has to hold of A for any rewards, and what an estimator claims of its own.

    class TestBestOfGroup(AdvantageSuite):
        component = "mine/best_of_group"
        properties = ("permutation_equivariant",)

        def reference(self, group):              # optional: the formula once more, written for reading
            return [np.array([float(r == group.rewards_G.max())]) for r in group.rewards_G]

G samples of a group, T tokens of a sample, K states at which a sample was valued.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from r1core.components import AdvantageEstimator
from r1core.recipe.checks import PROVIDED
from r1core.suggest import did_you_mean
from r1core.testing.signals import copied, difference, mapped, permuted, random_group
from r1core.testing.suite import ComponentSuite, fail
from r1core.types import Floats, GroupSignals

TOLERANCE = 1e-6
"""How far advantages may be from what they should be: in all for those up to 1, of their size above."""
SPREAD = 10.0
"""Standard deviation of the rewards that claims are checked with: an epsilon of 1e-6 beside it does not show."""

Batch: TypeAlias = Sequence[GroupSignals]
Advantages: TypeAlias = list[list[Floats]]


class AdvantageSuite(ComponentSuite):
    """What an estimator promises."""

    kind = "advantage"
    properties: ClassVar[tuple[str, ...]] = ()
    """What it claims, of "zero_mean" (over the samples of what it is asked at once, over tokens where it tells them
    apart), "shift_invariant" and "scale_invariant" (one number added to all rewards, a factor on all of them), and
    "permutation_equivariant" (the order of samples does not matter)."""

    def reference(self, group: GroupSignals) -> Sequence[Floats] | None:
        """The advantages of one group by a formula of your own; None where there is none to compare with."""
        return None

    # --- for any rewards -------------------------------------------------------------------------------

    def test_its_needs_are_known(self) -> None:
        """The plan refuses what nobody provides."""
        for need in sorted(self._class.needs - PROVIDED):
            fail(f"needs {need!r}, not provided; {did_you_mean(need, PROVIDED, otherwise='provided: ')}")

    def test_every_sample_gets_an_array_of_one_or_of_its_tokens(self) -> None:
        """For each group and each sample an array of floats, (1,) or (T,)."""
        for name, batch in self._batches():
            found = self._ask(name, batch)
            if not isinstance(found, list) or len(found) != len(batch):
                fail(f"{name}: asked about {len(batch)} groups, got {_shape(found)}; return a list for each group")
            for group, own in zip(batch, found, strict=True):
                if len(own) != len(group.rewards_G):
                    fail(f"{name}: a group of {len(group.rewards_G)} samples got {len(own)} advantages")
                for length, advantage in zip(group.lengths_G, own, strict=True):
                    wrong = _wrong_array(advantage, int(length))
                    if wrong:
                        fail(f"{name}: a sample of {length} tokens got {wrong}; return a float array of (1,) or (T,)")

    def test_every_advantage_is_finite(self) -> None:
        """Also where all rewards are equal, huge, or a hair apart: a NaN ends the run."""
        for name, batch in self._batches():
            for group, own in zip(batch, self._ask(name, batch), strict=True):
                if not all(np.isfinite(advantage).all() for advantage in own):
                    fail(f"{name}: rewards {_shown(group.rewards_G)} got {_shown(_flat([own]))}; guard the division")

    def test_what_its_critic_learns_fits_its_tokens(self) -> None:
        """Where it needs "critic", `returns` gives (T,) finite numbers for each sample of each group."""
        for name, batch in self._batches() if "critic" in self._class.needs else ():
            for group, own in zip(batch, self._estimator().returns(batch), strict=True):
                for length, returns_T in zip(group.lengths_G, own, strict=True):
                    if np.shape(returns_T) != (length,) or not np.isfinite(returns_T).all():
                        fail(f"{name}: a sample of {length} tokens got returns {returns_T!r}; give (T,) finite numbers")

    def test_it_changes_nothing_that_it_is_given(self) -> None:
        """The same arrays are read again: for metrics, and by what is compared with it."""
        for name, batch in self._batches():
            before = [copied(group) for group in batch]
            self._ask(name, batch)
            for was, now in zip(before, batch, strict=True):
                field = difference(was, now)
                if field:
                    fail(f"{name}: it changed {field} of what it was given; make an array of its own")

    def test_the_same_groups_get_the_same_advantages(self) -> None:
        """Twice, and by a new instance: a run that goes on after a kill must not differ."""
        for name, batch in self._batches():
            estimator = self._estimator()
            first = self._ask(name, batch, estimator)
            again = {"asked twice": self._ask(name, batch, estimator), "a new instance": self._ask(name, batch)}
            for how, found in again.items():
                if not _equal(first, found, tolerance=0.0):
                    fail(f"{name}: {_shown(_flat(first))}, {how} {_shown(_flat(found))}")

    def test_a_group_does_not_depend_on_other_groups(self) -> None:
        """Where the scope is the group, what was asked before does not matter."""
        if self._class.scope != "group":
            return
        estimator, batches = self._estimator(), list(self._batches())
        for name, batch in [*batches, *batches[::-1]]:
            found, alone = self._ask(name, batch, estimator), self._ask(name, batch)
            if not _equal(found, alone, tolerance=0.0):
                told = f"{_shown(_flat(alone))} alone, {_shown(_flat(found))} after other groups"
                fail(f'{name}: {told}; remember nothing, or declare scope = "batch"')

    # --- what it claims ----------------------------------------------------------------------------------

    def test_its_claims_are_known(self) -> None:
        """A misspelled claim would be checked by nobody."""
        for claim in self.properties:
            if claim not in CLAIMS:
                fail(f"properties has {claim!r}; {did_you_mean(claim, CLAIMS, otherwise='there are: ')}")

    def test_its_claims_hold(self) -> None:
        """Each of `properties`, to 1e-6."""
        for claim in [claim for claim in self.properties if claim in CLAIMS]:
            for name, batch in self._plain_batches():
                wrong = CLAIMS[claim](functools.partial(self._ask, name), batch)
                if wrong:
                    fail(f"it claims to be {claim}; {name}: {wrong}")

    def test_it_is_its_reference(self) -> None:
        """Equal to `reference`, where the author gives one, to 1e-6."""
        for name, batch in self._batches():
            for group in batch:
                wanted = self.reference(group)
                if wanted is None:
                    return
                (found,) = self._ask(name, [group])
                if not _equal([list(wanted)], [found]):
                    fail(f"{name}: {_shown(_flat([found]))}, by the reference {_shown(_flat([list(wanted)]))}")

    # --- asking ----------------------------------------------------------------------------------------

    @property
    def _class(self) -> type[AdvantageEstimator]:
        cls = self.loaded.cls
        assert issubclass(cls, AdvantageEstimator), "the host gives what was asked for"
        return cls

    def _estimator(self) -> AdvantageEstimator:
        estimator: AdvantageEstimator = self.build()
        return estimator

    def _ask(self, name: str, batch: Batch, estimator: AdvantageEstimator | None = None) -> Advantages:
        """As the training loop asks: group by group, or for all at once where the scope is the batch."""
        try:
            return (estimator or self._estimator())(batch)
        except Exception as error:
            hint = "; what it does not name in needs is None" if self._class.needs != PROVIDED else ""
            fail(f"{name}: it raised {type(error).__name__}: {error}{hint}")

    def _batches(self) -> Iterator[tuple[str, Batch]]:
        """(name, groups to ask at once): ordinary ones, and those at the edges."""
        rng, needs = np.random.default_rng(0), self._class.needs
        one, outlier = rng.normal(size=1), np.array([0.0] * 7 + [1.0])
        rewards = {
            "random rewards": rng.normal(size=6),
            "rewards of 0 and 1": rng.integers(0, 2, 8).astype(np.float64),
            "one sample": one,
            "equal rewards": np.full(5, 0.1),
            "one outlier": outlier,
            "huge rewards": rng.normal(size=4) * 1e6,
            "rewards 1e-9 apart": 0.5 + 1e-9 * np.arange(4.0),
        }
        groups = {name: random_group(values, needs, rng) for name, values in rewards.items()}
        yield from ((name, [group]) for name, group in groups.items())
        if self._class.scope == "batch":
            yield "several groups", list(groups.values())

    def _plain_batches(self) -> Iterator[tuple[str, Batch]]:
        """Random rewards of a spread at which rounding and epsilons do not show."""
        rng, needs = np.random.default_rng(1), self._class.needs
        for number in range(5):
            sizes = rng.integers(2, 9, 3 if self._class.scope == "batch" else 1)
            yield f"random rewards {number}", [random_group(rng.normal(size=s) * SPREAD, needs, rng) for s in sizes]


# --- claims --------------------------------------------------------------------------------------

Claim: TypeAlias = Callable[[Callable[[Batch], Advantages], Batch], str]
"""(how to ask, groups) -> what is wrong, "" when it holds."""


def _zero_mean(ask: Callable[[Batch], Advantages], batch: Batch) -> str:
    found = _flat(ask(batch))
    mean = float(found.mean())
    return "" if abs(mean) <= TOLERANCE * _size(found) else f"the mean of {_shown(found)} is {mean:g}"


def _shift_invariant(ask: Callable[[Batch], Advantages], batch: Batch) -> str:
    return _same(
        ask(batch), ask([mapped(group, lambda r: r + 2.5) for group in batch]), "with 2.5 added to all rewards"
    )


def _scale_invariant(ask: Callable[[Batch], Advantages], batch: Batch) -> str:
    return _same(
        ask(batch), ask([mapped(group, lambda r: r * 3.0) for group in batch]), "with rewards three times as large"
    )


def _permutation_equivariant(ask: Callable[[Batch], Advantages], batch: Batch) -> str:
    orders = [[*range(1, len(group.rewards_G)), 0] for group in batch]
    turned = ask([permuted(group, order) for group, order in zip(batch, orders, strict=True)])
    wanted = [[own[i] for i in order] for own, order in zip(ask(batch), orders, strict=True)]
    return _same(wanted, turned, "with its samples in another order (and put back)")


CLAIMS: Mapping[str, Claim] = {
    "zero_mean": _zero_mean,
    "shift_invariant": _shift_invariant,
    "scale_invariant": _scale_invariant,
    "permutation_equivariant": _permutation_equivariant,
}


def _same(wanted: Advantages, found: Advantages, how: str) -> str:
    return "" if _equal(wanted, found) else f"{_shown(_flat(wanted))}, {how} {_shown(_flat(found))}"


# --- arrays --------------------------------------------------------------------------------------


def _flat(advantages: Advantages) -> Floats:
    return np.concatenate([np.ravel(sample) for group in advantages for sample in group] or [np.zeros(0)])


def _size(values: Floats) -> float:
    return max(1.0, float(np.abs(values).max(initial=0.0)))


def _equal(one: Advantages, other: Advantages, *, tolerance: float = TOLERANCE) -> bool:
    a, b = _flat(one), _flat(other)
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=tolerance * _size(a), equal_nan=True)


def _wrong_array(advantage: Any, length: int) -> str:
    if not isinstance(advantage, np.ndarray) or not np.issubdtype(advantage.dtype, np.floating):
        return f"{advantage!r}"
    return "" if advantage.shape in ((1,), (length,)) else f"an array of shape {advantage.shape}"


def _shape(found: Any) -> str:
    return f"{len(found)} lists" if isinstance(found, list) else f"{type(found).__name__}"


def _shown(values: Floats) -> str:
    most = 8
    more = ", ..." if len(values) > most else ""
    return f"[{', '.join(f'{value:.9g}' for value in values[:most])}{more}]"
