"""The suite of policies: text and tokens, log-probabilities, updates, and folders that give the same bytes.

class TestMine(PolicySuite):
    component = "mine/policy"
    options = {"device": "cpu"}
    architecture = {"model_type": "llama", "hidden_size": 32, ...}   # what `create` gets: keep it tiny
    source = "mine/source"                                           # its tokenizer is the model's
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from r1core.components import Policy
from r1core.losses import CrossEntropy
from r1core.testing.promise import promise
from r1core.testing.suite import ComponentSuite, fail
from r1core.testing.tasks import PROBLEMS, TEXTS, apart, changed, component, digests, made, pickles, sequences
from r1core.types import Floats, Head, TrainSequence

if TYPE_CHECKING:
    import torch

    from r1core.nn import TokenView

START = "<think>One"


class _Higher:
    """- the score: an update makes it higher."""

    reads = frozenset({"score"})

    def __call__(self, view: TokenView) -> torch.Tensor:
        return -view.score


class PolicySuite(ComponentSuite):
    """What a policy promises."""

    kind = "policy"
    architecture: ClassVar[Mapping[str, Any]] = {}
    """What `create` gets."""
    source: ClassVar[str | Mapping[str, Any]] = ""
    """The problem source that brings the model's tokenizer, as a recipe names it."""
    texts: ClassVar[Sequence[str]] = TEXTS
    """Answers that its tokenizer gives back as they were."""
    lr: ClassVar[float] = 1e-3
    """A learning rate at which one update is a small step."""
    tolerance: ClassVar[float] = 1e-4
    """Nats by which the same log-probability may differ when it is computed in another batch."""

    # --- for tests -------------------------------------------------------------------------------

    def model(self, folder: Path, *, seed: int = 0) -> Path:
        """A model of this architecture in a new folder."""
        if not self.source:
            fail(f'{type(self).__name__} has no source: set source = "name", whose tokenizer the model takes')
        source = component("source", self.source, Path(inspect.getfile(type(self))).parent)
        return made(folder, self.build(), source, self.architecture, seed=seed)

    def opened(self, folder: Path, *, trainable: bool = True, head: Head = "lm") -> Policy:
        """A new instance, opened on a model."""
        policy: Policy = self.build()
        return policy.open(folder, trainable=trainable, head=head)

    # --- text ------------------------------------------------------------------------------------

    @promise
    def test_an_answer_comes_back_as_it_was(self, tmp_path: Path) -> None:
        """decode(completion_ids(text)) is the text: what is learned is what is said."""
        policy = self.opened(self.model(tmp_path / "model"))
        for text in self.texts:
            back = policy.decode(policy.completion_ids(text))
            if back != text:
                fail(f"decode(completion_ids({text!r})) gives {back!r}")

    @promise
    def test_a_finished_answer_ends_with_the_end_token(self, tmp_path: Path) -> None:
        """Every completion ends with the same token, else nothing learns to stop."""
        policy = self.opened(self.model(tmp_path / "model"))
        ends = {int(ids[-1]) if len(ids) else None for ids in map(policy.completion_ids, self.texts)}
        if len(ends) != 1 or None in ends:
            fail(
                f"completion_ids ends with {sorted(map(str, ends))} for {len(self.texts)} texts, not with one end token"
            )

    @promise
    def test_a_prompt_holds_the_question(self, tmp_path: Path) -> None:
        """Other messages are other tokens."""
        policy = self.opened(self.model(tmp_path / "model"))
        prompts = [tuple(policy.prompt_ids(problem.messages).tolist()) for problem in PROBLEMS]
        if len(set(prompts)) != len(prompts):
            fail("prompt_ids gives the same tokens for different questions")

    @promise
    def test_a_started_answer_is_gone_on_from(self, tmp_path: Path) -> None:
        """A last message of the assistant is the end of the prompt, and `prefilled` says what it is."""
        policy = self.opened(self.model(tmp_path / "model"))
        asked = PROBLEMS[0].messages
        started = (*asked, {"role": "assistant", "content": START})
        said, ids, start = policy.prefilled(started), policy.prompt_ids(started), policy.completion_ids(START)[:-1]
        if said.strip() != START:
            fail(f"prefilled is {said!r} where the assistant's message is {START!r}")
        if policy.decode(ids[-len(start) :]) != START:
            fail(f"the prompt of a started answer ends in {policy.decode(ids[-len(start) :])!r}, not in {START!r}")

    # --- log-probabilities -------------------------------------------------------------------------

    @promise
    def test_logprobs_are_log_probabilities(self, tmp_path: Path) -> None:
        """One number for each counted token, (T,), finite and at most 0."""
        policy = self.opened(self.model(tmp_path / "model"), trainable=False)
        asked = sequences(policy, self.texts)
        for own, logprobs in zip(asked, policy.logprobs(asked), strict=True):
            self._counted(own, logprobs, "logprobs")
            if logprobs.max() > 1e-6:
                fail(f"a log-probability is {logprobs.max():.3g}, above 0")

    @promise
    def test_logprobs_depend_on_their_own_sequence_alone(self, tmp_path: Path) -> None:
        """Alone, in a batch, or in the batch turned round: the same numbers."""
        policy = self.opened(self.model(tmp_path / "model"), trainable=False)
        asked = sequences(policy, self.texts)
        together, alone = policy.logprobs(asked), [policy.logprobs([own])[0] for own in asked]
        turned = policy.logprobs(asked[::-1])[::-1]
        for what, other in (("alone", alone), ("in another order", turned)):
            if (gap := apart(together, other)) > self.tolerance:
                fail(f"logprobs of a batch differ by {gap:.3g} from those of the same sequences {what}")

    # --- updates -----------------------------------------------------------------------------------

    @promise
    def test_an_update_makes_a_sequence_likelier(self, tmp_path: Path) -> None:
        """Minus its log-probability as the loss: one step at `lr`, and it is more probable."""
        policy = self.opened(self.model(tmp_path / "model"))
        learned = sequences(policy, self.texts[:1])
        before = sum(float(own.sum()) for own in policy.logprobs(learned))
        report = policy.update(learned, CrossEntropy(), lr=self.lr)
        after = sum(float(own.sum()) for own in policy.logprobs(learned))
        if not after > before:
            fail(f"an update on -logprob at lr {self.lr:g} took the log-probability from {before:.6g} to {after:.6g}")
        for name in ("loss", "grad_norm"):
            if not np.isfinite(report.get(name, np.nan)):
                fail(f"update reports {name}: {report.get(name)!r}, not a finite number")

    @promise
    def test_a_learning_rate_of_nought_changes_nothing(self, tmp_path: Path) -> None:
        """Not one byte of the exported model."""
        policy = self.opened(self.model(tmp_path / "model"))
        policy.export(tmp_path / "before")
        policy.update(sequences(policy, self.texts), CrossEntropy(), lr=0.0)
        policy.export(tmp_path / "after")
        if differ := changed(digests(tmp_path / "before"), digests(tmp_path / "after")):
            fail(f"an update at lr 0 changed {', '.join(differ)}")

    @promise
    def test_an_update_does_not_depend_on_order_or_split(self, tmp_path: Path) -> None:
        """The sequences turned round, or each twice with half its weight, are the same step."""
        folder = self.model(tmp_path / "model")
        asked = sequences(self.opened(folder, trainable=False), self.texts)
        plain, loss = self._after(folder, asked, asked)
        for what, other in (("in another order", asked[::-1]), ("given twice with half the weight", halved(asked))):
            found, told = self._after(folder, other, asked)
            gap = max(apart(plain, found), abs(loss - told))
            if gap > self.tolerance:
                fail(f"the same sequences {what} make another step: log-probs or loss differ by {gap:.3g}")

    # --- other models and folders ----------------------------------------------------------------------

    @promise
    def test_a_frozen_policy_stays_as_it_is(self, tmp_path: Path) -> None:
        """It has the folder's weights, whatever the policy that made it has learned before or since."""
        folder = self.model(tmp_path / "model")
        policy = self.opened(folder)
        asked = sequences(policy, self.texts)
        before = policy.logprobs(asked)
        reference = policy.frozen(folder)
        self._learn(policy, asked)
        for when, frozen in (("made before an update", reference), ("made after an update", policy.frozen(folder))):
            if (gap := apart(before, frozen.logprobs(asked))) > self.tolerance:
                fail(f"a frozen policy {when} differs by {gap:.3g} nats from the folder that it was opened on")

    @promise
    def test_an_exported_model_is_the_policy(self, tmp_path: Path) -> None:
        """Opened again it gives the same log-probabilities, and the same tokens."""
        policy = self.opened(self.model(tmp_path / "model"))
        asked = sequences(policy, self.texts)
        self._learn(policy, asked)
        policy.export(tmp_path / "exported")
        again = self.opened(tmp_path / "exported", trainable=False)
        gap = apart(policy.logprobs(asked), again.logprobs(sequences(again, self.texts)))
        if gap > self.tolerance:
            fail(f"the exported model differs by {gap:.3g} nats from the policy that wrote it")

    @promise
    def test_a_saved_policy_goes_on_to_the_same_bytes(self, tmp_path: Path) -> None:
        """After `restore` into a fresh instance the next update leaves what it would have left: the optimizer, too."""
        folder = self.model(tmp_path / "model")
        policy = self.opened(folder)
        asked = sequences(policy, self.texts)
        for part in (asked[:2], asked[2:]):
            policy.update(part, CrossEntropy(), lr=self.lr)
        policy.save(tmp_path / "saved")
        policy.update(asked, CrossEntropy(), lr=self.lr)
        policy.export(tmp_path / "unbroken")
        other = self.opened(folder)
        other.restore(tmp_path / "saved")
        other.update(asked, CrossEntropy(), lr=self.lr)
        other.export(tmp_path / "resumed")
        if differ := changed(digests(tmp_path / "unbroken"), digests(tmp_path / "resumed")):
            fail(f"saved, restored and trained on, other bytes in {', '.join(differ)}: does `save` keep the optimizer?")

    @promise
    def test_nothing_is_pickled(self, tmp_path: Path) -> None:
        """A model from elsewhere is opened without trusting it, so neither `export` nor `save` writes a pickle."""
        policy = self.opened(self.model(tmp_path / "model"))
        policy.update(sequences(policy, self.texts), CrossEntropy(), lr=self.lr)
        policy.export(tmp_path / "exported")
        policy.save(tmp_path / "saved")
        for folder in ("model", "exported", "saved"):
            if found := pickles(tmp_path / folder):
                fail(f"{', '.join(found)} is a pickle (in the {folder} folder): write safetensors or JSON")

    @promise
    def test_weights_are_a_matter_of_the_seed(self, tmp_path: Path) -> None:
        """`create` writes the same bytes for the same seed, and others for another."""
        one, same, other = (
            digests(self.model(tmp_path / name, seed=seed)) for name, seed in (("one", 1), ("same", 1), ("other", 2))
        )
        if differ := changed(one, same):
            fail(f"create with the same seed writes other bytes of {', '.join(differ)}")
        if not changed(one, other):
            fail("create writes the same weights whatever the seed")

    @promise
    def test_a_score_head_is_learned_and_kept(self, tmp_path: Path) -> None:
        """Where the policy has `values`: one finite number for each counted token, raised by an update, exported."""
        if self.loaded.cls.values is Policy.values:  # type: ignore[attr-defined]
            return
        policy = self.opened(self.model(tmp_path / "model"), head="score")
        asked = sequences(policy, self.texts[:1])
        before = policy.values(asked)
        for own, values in zip(asked, before, strict=True):
            self._counted(own, values, "values")
        for _ in range(2):  # of a head that starts at nought the first step may move the head alone
            policy.update(asked, _Higher(), lr=self.lr)
        after = policy.values(asked)
        if not sum(float(own.sum()) for own in after) > sum(float(own.sum()) for own in before):
            fail(f"two updates on -score at lr {self.lr:g} did not raise the scores")
        policy.export(tmp_path / "exported")
        gap = apart(after, self.opened(tmp_path / "exported", trainable=False, head="score").values(asked))
        if gap > self.tolerance:
            fail(f"the exported score model differs by {gap:.3g} from the policy that wrote it")

    # --- shared ----------------------------------------------------------------------------------------

    @staticmethod
    def _counted(own: TrainSequence, numbers: Floats, what: str) -> None:
        wanted = (len(own.ids) - own.start,)
        if numbers.shape != wanted:
            fail(f"{what} of {wanted[0]} counted tokens have the shape {numbers.shape}, not {wanted}")
        if not np.isfinite(numbers).all():
            fail(f"{what} are not finite: {numbers[~np.isfinite(numbers)][0]}")

    def _after(
        self, folder: Path, learned: Sequence[TrainSequence], asked: Sequence[TrainSequence]
    ) -> tuple[list[Floats], float]:
        """Log-probs of `asked`, and the loss, after one update of a fresh instance."""
        policy = self.opened(folder)
        loss = policy.update(learned, CrossEntropy(), lr=self.lr)["loss"]
        return policy.logprobs(asked), loss

    def _learn(self, policy: Policy, asked: Sequence[TrainSequence]) -> None:
        """One update, after which other weights show."""
        before = policy.logprobs(asked)
        policy.update(asked, CrossEntropy(), lr=self.lr)
        if not (moved := apart(before, policy.logprobs(asked))) > 10 * self.tolerance:
            fail(f"an update at lr {self.lr:g} moves log-probs by {moved:.2g} nats, too little to see: raise `lr`")


def halved(asked: Sequence[TrainSequence]) -> list[TrainSequence]:
    """Each sequence twice, with half its weight."""
    return [
        TrainSequence(ids=own.ids, start=own.start, columns={**own.columns, "weight": own.columns["weight"] / 2})
        for own in asked
        for _ in range(2)
    ]
