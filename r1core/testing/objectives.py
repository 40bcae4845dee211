"""The suite of objectives: finite, still where there is no advantage, pushing the right way, each token for itself.

    class TestMine(ObjectiveSuite):
        component = "mine/objective"
        @staticmethod
        def reference(log_ratio, advantage):      # optional: the formula in numpy, to compare with
            return -advantage * np.exp(log_ratio)

It needs torch (r1core[train]). Everything is float64. Tokens come in sequences of one advantage each, with
log-ratios to the old policy from -30 to 30.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from r1core.testing.promise import promise
from r1core.testing.suite import ComponentSuite, fail
from r1core.types import Floats

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView

LOG_RATIOS = (0.0, 0.1, -0.1, 1.0, -1.0, 30.0, -30.0)
ADVANTAGES = (-2.0, -0.5, 0.0, 0.5, 2.0)
OLD_LOGPROB = -40.0
"""So low that a ratio of e^30 is still a probability."""
REF_LOGPROB = -39.5
VOCABULARY = 5
EXACT = 1e-9


class ObjectiveSuite(ComponentSuite):
    """What an objective promises."""

    kind = "objective"
    scope: ClassVar[Literal["token", "sequence"]] = "token"
    """What a token's loss may depend on: the token alone, or the whole of its own sequence."""
    pushes: ClassVar[bool] = True
    """Whether, at the old policy, a positive advantage makes its token likelier."""

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float | None:
        """The loss of one token by the formula, where there is one to compare with."""
        return None

    # --- the numbers -------------------------------------------------------------------------------

    @promise
    def test_losses_and_gradients_are_finite(self) -> None:
        """One loss for each token, (N,), and a gradient, both finite however far the policy has moved."""
        view = self.view()
        loss, gradient = self.losses(view), self.gradient(view)
        for what, numbers in (("loss", loss), ("gradient", gradient)):
            if wrong := np.flatnonzero(~np.isfinite(numbers)).tolist():
                fail(f"the {what} is {numbers[wrong[0]]} at {_at(wrong[0])}")

    @promise
    def test_no_advantage_gives_no_gradient(self) -> None:
        """An answer that was worth what was expected teaches nothing."""
        gradient = self.gradient(self.view())
        for place, (_, advantage) in enumerate(_grid()):
            if advantage == 0 and abs(gradient[place]) > EXACT:
                fail(f"the gradient is {gradient[place]:.3g} at {_at(place)}")

    @promise
    def test_an_advantage_pushes_its_token(self) -> None:
        """Where the policy is still the old one, a positive advantage makes a token likelier, a negative one less."""
        if not self.pushes:
            return
        gradient = self.gradient(self.view(log_ratios=(0.0, 0.0)))
        for place, (_, advantage) in enumerate(_grid((0.0, 0.0))):
            if advantage and not gradient[place] * advantage < 0:
                fail(
                    f"at ratio 1 an advantage of {advantage:g} has the gradient {gradient[place]:.3g}: the step, which "
                    f"goes against it, makes the token {'less likely' if advantage > 0 else 'likelier or leaves it'}"
                )

    @promise
    def test_it_is_the_formula(self) -> None:
        """The loss of each token is `reference(log_ratio, advantage)`, where the suite has one."""
        loss = self.losses(self.view())
        for place, (log_ratio, advantage) in enumerate(_grid()):
            wanted = self.reference(log_ratio, advantage)
            if wanted is not None and not np.isclose(loss[place], wanted, rtol=EXACT, atol=EXACT):
                fail(f"the loss is {loss[place]:.9g} at {_at(place)}, by the formula {wanted:.9g}")

    # --- what it depends on --------------------------------------------------------------------------

    @promise
    def test_it_reads_what_it_declares(self) -> None:
        """Of the policy's tensors only those in `reads`; of columns advantage, old_logprob, ref_logprob, weight."""
        view = self.view()
        try:
            self.losses(view)
        except KeyError as error:
            named = ", ".join(sorted(self.loaded.cls.reads)) or "nothing"  # type: ignore[attr-defined]
            fail(f"it reads what it does not declare or nobody provides ({error}); `reads` names {named}")

    @promise
    def test_columns_stay_as_they_are(self) -> None:
        """The view is shared with others: nothing in it is written to, and asking twice gives the same."""
        view = self.view()
        before = {name: column.clone() for name, column in view.columns.items()}
        first, second = self.losses(view), self.losses(view)
        for name, column in before.items():
            if not np.array_equal(column.numpy(), view.columns[name].numpy()):
                fail(f"it writes to column {name!r}")
        if not np.array_equal(first, second):
            fail("asked twice about the same tokens, it gives other losses")

    @promise
    def test_a_loss_depends_on_its_own_alone(self) -> None:
        """On its token, or with `scope = "sequence"` on its sequence: elsewhere micro-batches may be cut."""
        plain = self.losses(self.view())
        moved = len(LOG_RATIOS) + 3  # in the second sequence
        for what in ("logprob", "advantage", "old_logprob"):
            other = self.losses(self.view(moved=moved, by=what))
            touched = np.flatnonzero(np.abs(other - plain) > EXACT).tolist()
            own = moved // len(LOG_RATIOS)
            foreign = [t for t in touched if t != moved and (self.scope == "token" or t // len(LOG_RATIOS) != own)]
            if foreign:
                whose = "another token" if self.scope == "token" else "a token of another sequence"
                fail(f"the loss at {_at(foreign[0])} changes with the {what} of {whose}")

    # --- shared ----------------------------------------------------------------------------------------

    def view(
        self, *, log_ratios: Sequence[float] = LOG_RATIOS, moved: int | None = None, by: str = "", shift: float = 0.25
    ) -> TokenView:
        """All pairs of log-ratio and advantage; one token's number moved by `shift` where `moved` says so."""
        torch, token_view = _torch()
        pairs = _grid(log_ratios)
        numbers = {
            "logprob": np.array([OLD_LOGPROB + log_ratio for log_ratio, _ in pairs]),
            "advantage": np.array([advantage for _, advantage in pairs]),
            "old_logprob": np.full(len(pairs), OLD_LOGPROB),
            "ref_logprob": np.full(len(pairs), REF_LOGPROB),
            "weight": np.full(len(pairs), 1 / len(pairs)),
        }
        if moved is not None:
            numbers[by][moved] += shift
        logprob = torch.tensor(numbers.pop("logprob"), requires_grad=True)
        given = {
            "logprob": logprob,
            "entropy": torch.linspace(0.5, 1.5, len(pairs), dtype=torch.float64, requires_grad=True),
            "logits": torch.zeros(len(pairs), VOCABULARY, dtype=torch.float64, requires_grad=True),
            "score": torch.zeros(len(pairs), dtype=torch.float64, requires_grad=True),
        }
        reads = self.loaded.cls.reads  # type: ignore[attr-defined]
        view: TokenView = token_view(
            columns={name: torch.tensor(column) for name, column in numbers.items()},
            sequence=torch.arange(len(pairs)) // len(log_ratios),
            targets=torch.arange(len(pairs)) % VOCABULARY,
            given={name: tensor for name, tensor in given.items() if name in reads},
        )
        return view

    def losses(self, view: TokenView) -> Floats:
        """(N,) the objective of these tokens."""
        return _numbers(self._loss(view))

    def gradient(self, view: TokenView) -> Floats:
        """(N,) the slope of the summed loss in each token's log-probability."""
        torch, _ = _torch()
        loss = self._loss(view)
        if not loss.requires_grad:
            fail("the loss has no gradient: it does not depend on what the policy gave")
        if "logprob" not in view.given:
            return np.zeros(len(loss))
        (slope,) = torch.autograd.grad(loss.sum(), [view.given["logprob"]], allow_unused=True)
        return np.zeros(len(loss)) if slope is None else _numbers(slope)

    def _loss(self, view: TokenView) -> torch.Tensor:
        loss: torch.Tensor = self.build()(view)
        if tuple(loss.shape) != tuple(view.targets.shape):
            shape = tuple(loss.shape)
            fail(f"the loss of {len(view.targets)} tokens has the shape {shape}: one number for each, not aggregated")
        return loss


def _grid(log_ratios: Sequence[float] = LOG_RATIOS) -> list[tuple[float, float]]:
    """(log-ratio, advantage) of each token: a sequence for each advantage."""
    return [(log_ratio, advantage) for advantage in ADVANTAGES for log_ratio in log_ratios]


def _at(place: int) -> str:
    log_ratio, advantage = _grid()[place]
    return f"log-ratio {log_ratio:g}, advantage {advantage:g}"


def _numbers(tensor: Any) -> Floats:
    numbers: Floats = tensor.detach().double().numpy().copy()
    return numbers


def _torch() -> tuple[Any, Any]:
    """torch and the view of tokens; imported when a test runs, so that a suite may be collected without."""
    if importlib.util.find_spec("torch") is None:
        fail("an objective is tested with torch, which is not installed: pip install 'r1core[train]'")
    import torch

    from r1core.nn import TokenView

    return torch, TokenView
