"""The contracts: what a policy, sampler, reward, estimator, objective, filter, trainer or source is.

A component is a class with a `name`, a nested pydantic `Config` and few methods. The core builds it
from (name, config) in every process that needs it, never from a pickle. Modules that define
components must import without torch: heavy imports belong inside methods.

    class Exact(Reward):
        '''1 when the answer is the reference, else 0.'''
        name = "exact"
        class Config(Reward.Config):
            case: bool = Field(True, description="whether case matters")
        def score(self, problem, response):
            return Score(value=float(response.answer == problem.reference))
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from r1core.choices import Options
from r1core.estimates import Load, Memory, Misfit, ModelShape, Role
from r1core.types import (
    Floats,
    Group,
    GroupSignals,
    Head,
    Message,
    Problem,
    Response,
    Rollout,
    SampleRequest,
    Score,
    Sentinel,
    Step,
    Tokens,
    TrainSequence,
    Verdict,
)
from r1core.world import Alone, World

if TYPE_CHECKING:
    import torch

    from r1core.contexts import RewardContext, TrainContext
    from r1core.nn import TokenView

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


# --- problems --------------------------------------------------------------------------------


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


# --- policy and sampler ----------------------------------------------------------------------


class Loss(Protocol):
    """A per-token loss, called by the policy inside the wrapped module's forward."""

    reads: frozenset[str]
    """What it needs beside the columns: of "logprob", "entropy", "logits", "score"."""

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

    @abc.abstractmethod
    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """The log-probability of each counted token at temperature 1: one (T,) array for each sequence."""

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
    overlaps: ClassVar[bool] = False
    """Whether it samples, in a thread, while the policy is trained: it has weights and a device of its own."""

    @abc.abstractmethod
    def sync(self, policy: Policy) -> None:
        """Take the policy's present weights; counts `weights_version` up."""

    @abc.abstractmethod
    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Yield rollouts as they finish, in any order; every sample of every request comes exactly once."""

    def memory(self, shape: ModelShape, load: Load, *, policy: Policy) -> Memory | None:
        """What it takes beside the policy whose weights it samples with; None where it cannot tell. As `Policy.memory`."""
        return None

    def misfits(self, shape: ModelShape, *, policy: Policy) -> Sequence[Misfit]:
        """Why it cannot sample from a model of this shape, trained by this policy; the plan refuses these."""
        return ()

    def rest(self) -> None:
        """It is not asked again before the next `sync`: give memory back to the policy beside it."""


# --- what an answer is worth -----------------------------------------------------------------


class Reward(Component):
    """Scores one answer. Runs in a killable worker process (`runs = "worker"`): time-outs, crashes are the core's."""

    kind = "reward"
    timeout_s: ClassVar[float] = 3.0
    lowest: ClassVar[float] = 0.0
    """What an answer that broke the check is worth."""
    sees: ClassVar[Literal["response", "answer"]] = "response"
    """What it is shown. A `Config` with an option `sees` lets the recipe choose."""
    runs: ClassVar[Literal["worker", "stage"]] = "worker"
    remote: ClassVar[bool] = False
    memory_mib: ClassVar[int] = 2048
    """Most address space of a worker that it runs in, MiB."""
    gold_form: ClassVar[str] = ""
    """What a problem's reference looks like, for whoever writes the data; `r1 explain` shows it."""

    @abc.abstractmethod
    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict on one answer."""

    def score_all(self, asked: Sequence[tuple[Problem, Response]]) -> list[Score]:
        """The verdicts on many answers, in order. What runs in the stage (`runs = "stage"`) is asked so, for whole
        groups, and may judge those together; a `remote` one in a thread, for those that are complete while others are
        still sampled: how many groups come at once is not promised."""
        return [self.score(problem, response) for problem, response in asked]

    def refuses(self, problem: Problem) -> str:
        """Why nothing can be said of answers to this problem (a gold that it cannot read), "" where it can. Asked, in
        a worker, of a data set's problems before any compute; what refuses one then is said with its row."""
        return ""

    def sentinels(self) -> Sequence[Sentinel]:
        """Answers whose worth is known, one right and one wrong at least. Workers are asked about them at their start
        and every so often; another value means that the grader is broken or forged, and stops the run."""
        return ()

    def prepare(self, context: RewardContext) -> None:
        """Once, before the stage's first answer, where it runs in the stage: check what it depends on, open its record.
        Raises RefusedError when it must not be trusted."""

    def metrics(self) -> dict[str, float]:
        """What it measured since it was asked last, where it runs in the stage; logged as `verifier/<reward>/<key>`."""
        return {}


class AdvantageEstimator(Component):
    """A pure function of one group, or, with `scope = "batch"`, of all groups of a rollout batch."""

    kind = "advantage"
    scope: ClassVar[Literal["group", "batch"]] = "group"
    needs: ClassVar[frozenset[str]] = frozenset({"rewards"})
    """Of "rewards", "components", "values", "greedy", "critic": made only where needed; others the plan refuses."""

    @abc.abstractmethod
    def __call__(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        """For each group (one, unless the scope is "batch") and each sample a (1,) or (T,) array."""

    def returns(self, groups: Sequence[GroupSignals]) -> list[list[Floats]]:
        """What the critic that it needs should have said, (T,) for each sample: by default the reward still to come."""
        return [[rewards_T[::-1].cumsum()[::-1] for rewards_T in group.token_rewards_GT()] for group in groups]


class Objective(Component):
    """The per-token policy loss, before aggregation. Aggregation, clipping and KL are separate keys of the trainer."""

    kind = "objective"
    reads: ClassVar[frozenset[str]] = frozenset({"logprob"})

    @abc.abstractmethod
    def __call__(self, view: TokenView) -> torch.Tensor:
        """The loss of each counted token, (N,). Columns: `advantage`, `old_logprob`, `weight`."""


class DataFilter(Component):
    """Verdicts over the rollouts of a group, the same online and offline. Sees what earlier filters kept."""

    kind = "filter"

    @property
    def needs(self) -> frozenset[str]:
        """Of "scores": what it reads of a group beside the answers; the plan refuses what nobody provides."""
        return frozenset()

    @abc.abstractmethod
    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout, in order."""


# --- training --------------------------------------------------------------------------------


class Trainer(Component):
    """A training loop: `run` is a generator, one `Step` per optimizer step; the core logs, evaluates and saves between.

    After a kill a new process restores the policy, gives the trainer back its `state`, and runs it again:
    `context.steps` then begins after the last step that was saved. So what a step does must follow from
    `at`, the context and the state alone; nothing may happen between a `yield` and the next step's start.
    """

    kind = "trainer"
    head: ClassVar[Head] = "lm"
    """What the model that it trains ends in."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    preset_sources: ClassVar[Mapping[str, str]] = {}
    """Named sets of options, what the recipe says on top wins; and the paper that each follows, for `r1 explain`."""

    @property
    def reads(self) -> frozenset[str]:
        """What the stage must give it: of "problems", "rewards", "data"."""
        return frozenset()

    @property
    def measures(self) -> frozenset[str]:
        """Its own metrics that begin with "eval/", beside those of the stage's `evaluate`: a gate may use them."""
        return frozenset()

    @property
    def off_policy(self) -> bool:
        """Whether it corrects for answers from weights that are one rollout batch old."""
        return False

    @property
    def planned_steps(self) -> int | None:
        """How many steps it will take; None when the data decides."""
        return None

    @property
    def models_beside(self) -> Mapping[Role, str | None]:
        """The models that it holds beside the one it trains, and the stage that each begins from (None: where its own
        begins). A critic counts where an estimator needs one."""
        return {}

    def update_tokens(self, length: int) -> int | None:
        """Tokens of one optimizer step at most, prompts included, where no sequence has more than `length`; None where
        the data decides."""
        return None

    @property
    def answers_beside(self) -> Mapping[str, int]:
        """Answers sampled beside the rollouts of a batch, at most, by what for: a need of estimators, or else."""
        return {}

    @abc.abstractmethod
    def run(self, context: TrainContext) -> Iterator[Step]:
        """Train `context.policy` in place."""


CONTRACTS: Mapping[str, type[Component]] = {
    contract.kind: contract
    for contract in (Policy, Sampler, Reward, AdvantageEstimator, Objective, DataFilter, Trainer, ProblemSource)
}
