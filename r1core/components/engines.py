"""What trains a model, and what samples from it: policy and sampler, and the loss that the first is given."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from r1core.choices import Options
from r1core.components.base import Component
from r1core.contexts import SampleRecord
from r1core.errors import R1Error
from r1core.estimates import Load, Memory, Misfit, ModelShape, Quote, Range
from r1core.types import (
    Finish,
    Floats,
    Head,
    Message,
    Response,
    Rollout,
    SampleRequest,
    Tokens,
    TopLogprobs,
    TrainSequence,
)
from r1core.world import Alone, World

if TYPE_CHECKING:
    import torch

    from r1core.nn import LMHead, TokenView


class Loss(Protocol):
    """A per-token loss, called by the policy inside the wrapped module's forward."""

    reads: frozenset[str]
    """What it needs beside the columns: of "logprob", "entropy", "logits", "head", "score"."""

    def __call__(self, view: TokenView) -> torch.Tensor:
        """The loss of each counted token, (N,); the policy multiplies by `weight` and sums."""
        ...


class Policy(Component):
    """Weights, optimizer and tokenizer. Built by the core, then `open`ed on one model folder.

    Where several processes train together (`world`), each has one, and each calls the same methods with the same
    arguments, the whole batch: the policies share out the work between them, and every rank gets the whole answer.
    """

    kind = "policy"

    @property
    def world(self) -> World:
        """The processes that train together, met at the first call; this one alone, unless a launcher started it."""
        return Alone()

    @property
    def ranks(self) -> int:
        """How many processes its options ask for; a train stage with more than one is started by `launch`."""
        return 1

    @property
    def hosts(self) -> Sequence[str]:
        """The machines that they run on, all of which see the run's folder; none: this one alone."""
        return ()

    def absent(self) -> Sequence[R1Error]:
        """What its options ask of this machine and its ranks would lack, before any starts. A RecipeError: what an
        option names is not there, and `ranks` may be unknown for it; a SetupError: the machine lacks something."""
        return ()

    @property
    def sharded_by(self) -> str:
        """The option, as one writes it, by which a model in training is whole on none of its ranks, so that ranks can
        only use its `module` all at once; empty: each has it whole."""
        return ""

    def launch(self, program: Sequence[str], *, folder: Path) -> list[str]:
        """The command that runs `program` (a command, too) once for each rank, its number in RANK, on this machine or
        its `hosts`, and ends when one of them fails. What it needs to write goes into `folder`."""
        raise NotImplementedError(f"policy {self.name!r} runs in one process")

    @classmethod
    def architecture_options(cls, model_type: str) -> type[Options] | None:
        """What an architecture of this type is made of, so that the plan finds slips in it; None where that cannot be
        told. Raises RecipeError for a type that must be a slip. May import nothing heavy."""
        return None

    def memory(self, shape: ModelShape, load: Load) -> Memory | None:
        """What one rank takes for a model of this shape under this load, for `--dry-run`; None where it cannot tell.
        May import nothing heavy."""
        return None

    def misfits(self, shape: ModelShape) -> Sequence[Misfit]:
        """Why it cannot train or run a model of this shape; the plan refuses these. May import nothing heavy."""
        return ()

    @abc.abstractmethod
    def create(self, folder: Path, architecture: Mapping[str, Any], *, seed: int) -> None:
        """Write a randomly initialised model of this `architecture` (keys of its Hugging Face config) into
        `folder`, which already holds the tokenizer."""

    @abc.abstractmethod
    def open(self, folder: Path, *, trainable: bool, head: Head = "lm") -> Self:
        """Load the model folder; returns itself. With `head` "score" a language model gets a new head of one number."""

    @abc.abstractmethod
    def frozen(self, folder: Path) -> Policy:
        """Another policy of the same kind without optimizer: a reference or a teacher."""

    @abc.abstractmethod
    def prompt_ids(self, messages: Sequence[Message]) -> Tokens:
        """The prompt's tokens up to where the answer begins. A last message of the assistant is gone on from."""

    @abc.abstractmethod
    def prefilled(self, messages: Sequence[Message]) -> str:
        """What the prompt has already opened of the answer: the template's "<think>", or the assistant's start."""

    @abc.abstractmethod
    def completion_ids(self, text: str) -> Tokens:
        """The tokens of a finished answer, with the end token."""

    @abc.abstractmethod
    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of plain documents, as they stand: special tokens written in the text are read as such."""

    @abc.abstractmethod
    def decode(self, ids: Tokens) -> str:
        """The text of completion tokens, without the end token, think and answer tags kept."""

    @property
    def text_marks(self) -> Mapping[str, str]:
        """Hashes of what turns text into tokens, by content: "tokenizer" (vocabulary, merges, special and end tokens,
        all that decides ids) and "template" (the chat template, and the tokens that it names). Equal marks mean equal
        token ids, however the files are laid out. "ids" is the first without the special tokens that begin and end a
        text, "end" the one that ends it, as text: they tell what differs. Empty where it cannot tell."""
        return {}

    @property
    def positions(self) -> int | None:
        """Tokens of a sequence at most, by the opened model's config; None where nothing says so."""
        return None

    @abc.abstractmethod
    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """The log-probability of each counted token at temperature 1: one (T,) array for each sequence."""

    def top_logprobs(self, sequences: Sequence[TrainSequence], *, k: int, temperature: float) -> list[TopLogprobs]:
        """For each sequence the `k` likeliest tokens in each counted place, (T, k), likeliest first, their
        log-probabilities at this temperature, and that of the counted token itself, (T,); all given the tokens before.
        Where the vocabulary has fewer than `k` tokens the rest is -1 and -inf; nothing predicts the first token of a
        document, whose own log-probability is NaN. `k` may be 0.

        A policy that does not override this grades nobody's texts: the plan refuses it to a `signals` stage.
        """
        raise NotImplementedError(f"policy {self.name!r} tells no likeliest tokens")

    def head(self, view: TokenView) -> LMHead:
        """This model's head for the counted tokens of the view, given what stands before them in its micro-batch. No
        gradient: it is what a loss compares with `view.head`. Ids must mean the same token in both models.

        A policy that does not override this is no live teacher.
        """
        raise NotImplementedError(f"policy {self.name!r} gives no loss its next-token distributions")

    def head_on(self, sequences: Sequence[TrainSequence]) -> LMHead:
        """The same for texts in this model's own tokens: those counted of the first sequence, of the second, and so
        on, in one micro-batch.

        A policy that does not override this is no teacher across tokenizers.
        """
        raise NotImplementedError(f"policy {self.name!r} gives no loss its next-token distributions")

    @property
    def pieces(self) -> Sequence[bytes]:
        """The bytes that each token stands for, by id, and what is no byte of a text for the end token. Raises
        SetupError where its tokens do not say."""
        raise NotImplementedError(f"policy {self.name!r} does not spell its tokens")

    def values(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """What a score head says where each counted token is predicted: one (T,) array for each sequence.

        A policy that does not override this has none: the plan refuses it to a trainer whose `head` is "score".
        """
        raise NotImplementedError(f"policy {self.name!r} has no score head")

    @abc.abstractmethod
    def update(self, sequences: Sequence[TrainSequence], loss: Loss, *, lr: float) -> dict[str, float]:
        """One optimizer step over all sequences, whatever the micro-batches. Returns `loss`, `grad_norm` and the
        weighted means of what the loss recorded."""

    @abc.abstractmethod
    def export(self, folder: Path) -> None:
        """Write one plain Hugging Face folder: config, safetensors, tokenizer, chat template."""

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that the next `update` depends on into `folder`: weights in full precision, the optimizer. No
        pickles. Raises OSError when the disk does not take it, then on every rank."""

    @abc.abstractmethod
    def restore(self, folder: Path) -> None:
        """Take back what `save` wrote, after `open` on the same model: the next updates give the same bytes."""

    @abc.abstractmethod
    def module(self) -> Any:
        """The model itself, for a sampler that shares it (`native`)."""

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each present weight whole, under its name in an exported folder, one after the other and never many at once,
        on the device and in the format that it computes in: for a sampler with a copy of its own. Tied weights come
        once. Ranks go through them together, each to the end. What comes next may overwrite what came before."""
        raise NotImplementedError(f"policy {self.name!r} gives its weights to no other engine")


class Sampler(Component):
    """Samples completions. `sync` after every change of the policy's weights, before `generate`."""

    kind = "sampler"
    writes: ClassVar[bool] = True
    """Whether it samples at all; one that only grades (`score`) does not."""
    remote: ClassVar[bool] = False
    """Whether its answers come as text from elsewhere, without the stage's model: for sample stages alone. It is then
    given a record (`prepare`) and requests with the messages to send; its rollouts have neither ids nor log-probs."""
    shares_module: ClassVar[bool] = False
    """Whether it samples with the policy's own `module`. The plan refuses it where a policy `sharded_by` an option
    trains: each rank samples answers of its own, of other lengths than its neighbours'."""
    overlaps: ClassVar[bool] = False
    """Whether it samples, in a thread, while the policy is trained: it has weights and a device of its own."""

    @abc.abstractmethod
    def sync(self, policy: Policy) -> None:
        """Take the policy's present weights; counts `weights_version` up."""

    @abc.abstractmethod
    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Yield rollouts as they finish, in any order; every sample of every request comes exactly once."""

    def prepare(self, record: SampleRecord) -> None:
        """Take the record of what is asked elsewhere, once, before the first request. The core calls no other."""

    def quote(self, calls: int, *, prompt_bytes: Range, max_new_tokens: int) -> Quote | None:
        """What so many calls will take elsewhere, for `--dry-run`; None where that costs nothing."""
        return None

    def quote_graded(self, calls: int, *, tokens: Range) -> Quote | None:
        """What grading so many texts (`score`), of so many tokens in all, takes elsewhere; None where that costs
        nothing."""
        return None

    def memory(self, shape: ModelShape, load: Load, *, policy: Policy) -> Memory | None:
        """What it takes beside the policy whose weights it samples with; None where it cannot tell."""
        return None

    def misfits(self, shape: ModelShape, *, policy: Policy) -> Sequence[Misfit]:
        """Why it cannot sample from a model of this shape, trained by this policy; the plan refuses these."""
        return ()

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        """What `Policy.top_logprobs` tells, of the model that samples, after `sync`; the log-probability of a token
        that nobody graded is NaN. Raises SetupError where nobody answers, after retries of its own.

        A sampler that does not override this cannot be a teacher: the plan refuses it.
        """
        raise NotImplementedError(f"sampler {self.name!r} grades no texts")

    def identity(self) -> Mapping[str, str]:
        """Whose model it samples from, where that is not the policy's: kept beside what it graded."""
        return {}

    @staticmethod
    def start_of(policy: Policy, request: SampleRequest) -> str:
        """What stands before the sampled text: what the prompt opened, and the given prefix."""
        prefix = "" if request.prefix_ids is None else policy.decode(request.prefix_ids)
        return policy.prefilled(request.problem.messages) + prefix

    @staticmethod
    def rollout_of(
        policy: Policy,
        request: SampleRequest,
        place: int,
        *,
        start: str,
        ids: Tokens,
        logprobs: Floats | None,
        finish: Finish,
        weights_version: int,
    ) -> Rollout:
        """What was sampled for the request's answer number `place`; `start` as `start_of` tells."""
        return Rollout(
            problem=request.problem,
            sample=request.samples[place],
            prompt_ids=request.prompt_ids,
            completion_ids=ids,
            logprobs=logprobs,
            response=Response.parse(policy.decode(ids), finish=finish, prefilled=start),
            weights_version=weights_version,
            key=request.keys[place],
        )

    def rest(self) -> None:
        """It is not asked again before the next `sync`: give memory back to the policy beside it."""
