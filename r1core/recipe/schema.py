"""The recipe as typed data: what may be written in the YAML, before names are resolved.

One class for each block; every field is read by something. A stage's kind is the key it carries:
`import`, `sample`, `signals`, `train`, `evaluate` or `review` (a train stage may carry `evaluate` too:
in-training evaluation). Component options stay untyped here; `plan.py` checks them with each component's Config.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from r1core.choices import Kind, Options, Uncounted, Use, UseFilter, UseSource
from r1core.recipe.limits import Bound, Gate
from r1core.recipe.signals_spec import SignalsSpec
from r1core.schedules import Schedule, Window

SCHEMA_VERSION = 1
KINDS = ("import", "sample", "train", "evaluate", "review", "signals")
StageKind: TypeAlias = Literal["import", "sample", "train", "evaluate", "review", "signals"]

UseTrainer: TypeAlias = Annotated[Use, Kind("trainer")]
UsePolicy: TypeAlias = Annotated[Use, Kind("policy")]
UseSampler: TypeAlias = Annotated[Use, Kind("sampler")]


class Scratch(Options):
    """A model made from nothing: the keys of its Hugging Face config. Its tokenizer comes from the stage's data."""

    scratch: dict[str, Any] = Field(description="keys of the Hugging Face config, model_type among them")


class RewardUse(Use):
    """A reward in a stage: the component's options beside these."""

    called: str | None = Field(
        None,
        alias="as",
        description="name of its part of the score; that of its slot, or the last part of its own name",
    )
    weight: float = Field(1.0, description="factor in the combined score")
    only_for: dict[str, str] = Field(
        default_factory=dict, alias="for", description="problem fields it applies to, such as {domain: general}"
    )
    active: Window | None = Field(None, description="steps it counts in, such as 'last 400'; always when absent")
    gate: dict[str, float] = Field(
        default_factory=dict,
        description="other parts that must be at least so much where an answer has them, such as {accuracy: 0.5}; else "
        "this part is worth its reward's lowest",
    )
    python: str | None = Field(
        None, description="a virtual environment, or an interpreter in one, to run it in; r1core's own when absent"
    )

    @property
    def part(self) -> str:
        """What its part of the score is called, before equal names are numbered."""
        return self.called or self.use


UseReward: TypeAlias = Annotated[RewardUse, Kind("reward")]
Length: TypeAlias = Schedule[Annotated[int, Field(ge=1)]]
Temperature: TypeAlias = Schedule[Annotated[float, Field(ge=0)]]


class Sampling(Options):
    """How completions are sampled."""

    max_new_tokens: Length = Field(Length.model_validate(1024), description="longest completion, tokens")
    temperature: Temperature = Field(Temperature.model_validate(1.0), description="softmax temperature; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus: smallest set of tokens with this probability")
    ahead: bool = Field(
        False,
        description="sample a train stage's next rollout batch while the policy learns from the present one, with "
        "weights that are then one batch old",
    )


class Scoring(Options):
    """The processes that run rewards."""

    workers: int = Field(1, ge=1, description="scoring processes of a stage")
    max_infrastructure_rate: float = Field(
        0.05, ge=0, le=1, description="share of answers lost to infrastructure failures above which the stage stops"
    )
    batch_timeout_s: float = Field(
        60.0,
        gt=0,
        description="seconds that workers have from the last answer of a batch on; what is left then is lost",
    )
    memory_mib: int | None = Field(
        None,
        ge=256,
        description="address space of a scoring process, MiB; the most that its rewards declare when absent",
    )
    unreadable_golds: Literal["refuse", "skip"] = Field(
        "refuse",
        description="problems whose gold a reward cannot judge answers by: refuse the run and say which, or leave them "
        "out and count them (`golds/unreadable`); of an endless source the first 256 are looked at",
    )


class Checkpointing(Options):
    """How often a train stage saves all that it needs to go on from, and how much of that is kept."""

    every_s: float = Field(
        10.0,
        ge=0,
        description="least seconds between two checkpoints; 0: one at every step that can be gone on from. "
        "Where saving is slow there are fewer, so that it takes at most 2 % of the time",
    )
    keep: int = Field(2, ge=1, description="checkpoints kept; an older one goes when its successor has been verified")


class RolloutRecord(Options):
    """What a train stage keeps of the answers that it learned from, in `rollouts/`."""

    keep: Literal["none", "text", "ids", "ids+logprobs"] = Field(
        "text",
        description="text: rows that people read; ids: tokens too; ids+logprobs: the sampler's log-probs too",
    )
    last: int = Field(100, ge=1, description="rollout batches kept; older ones are removed")


class Shot(Options):
    """A worked example: what was asked and a good answer, thinking included."""

    question: str = Field(description="what the user says")
    answer: str = Field(description="what the assistant answers")


class SampleSpec(Options):
    """A sample stage: several answers to each problem, scored, filtered, kept as a dataset."""

    prompts: int | None = Field(None, ge=1, description="problems to sample; of given answers all, when absent")
    samples: int = Field(1, ge=1, description="answers for each problem")
    answers: Literal["model", "given", "given_with_thinking"] = Field(
        "model",
        description="sampled; or given: the problems' own completions, or the rows of the stages in `data`; or "
        "completions behind thinking that the model adds",
    )
    rows: Literal["kept", "all"] = Field(
        "kept",
        description="given answers of other stages: what their filters kept is judged, the rest stays rejected with "
        "its reason; or all is judged anew",
    )
    trivial_chars: int = Field(0, ge=0, description="given_with_thinking: questions up to this length get no thinking")
    instruction: str = Field("", description="put before the question; it stays out of the dataset")
    shots: list[Shot] = Field(
        default_factory=list, description="worked examples before the question; they stay out of the dataset"
    )
    chunk: int = Field(64, ge=1, description="problems in one unit of replay")
    ledger: Annotated[str | None, Uncounted()] = Field(
        None,
        min_length=1,
        description="folder of the trace ledger: each answer is put down as it comes, and asked for once by all runs "
        "that name the same folder. Absent: one of the run's own for teachers elsewhere, none for a model of the run",
    )
    jsonl: Annotated[bool, Uncounted()] = Field(
        False, description="write the kept answers as chat messages into `kept.jsonl`, too, when the stage ends"
    )
    license: Annotated[str | None, Uncounted()] = Field(
        None,
        min_length=1,
        description="licence of the dataset, for the card that it gets when the stage ends: an identifier, apache-2.0",
    )

    @model_validator(mode="after")
    def _asks_for_so_many(self) -> Self:
        if self.prompts is None and self.answers != "given":
            raise ValueError("give `prompts`: how many problems to sample")
        if self.rows != "kept" and self.answers != "given":
            raise ValueError(f"`rows` tells which given answers are judged, and these are not given ({self.answers})")
        return self

    @property
    def sampled(self) -> int:
        """Problems that a model is asked about at most."""
        return 0 if self.answers == "given" else self.prompts or 0


class EvalSet(Options):
    """One set of problems to measure on; its name is the metric's name."""

    problems: UseSource | str = Field(description="a problem slot or a source")
    limit: int = Field(500, ge=1, description="problems taken from the source")
    samples: int = Field(1, ge=1, description="answers for each problem")
    temperature: float = Field(1.0, ge=0, description="softmax temperature; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus")
    k: int = Field(1, ge=1, description="pass@k; the unbiased estimate from `samples` answers")
    also_k: list[int] = Field(default_factory=list, description="further k, measured beside it: `set/k=...`")
    reward: str | None = Field(
        None,
        description="the reward that says what is right, by the last part of its name; the stage's first when absent",
    )
    at_least: float = Field(0.5, description="value of that reward from which an answer counts as right")
    by: list[str] = Field(default_factory=list, description="problem fields or meta keys to break the result down by")
    models: list[str] | None = Field(None, description="only these models; all when absent")
    thinking: Literal["required", "optional"] = Field(
        "required", description="optional: all of a text without think tags is its answer; else it has none"
    )


class EvaluateSpec(Options):
    """What to measure: an evaluate stage, or (with `every`) within a train stage."""

    sets: dict[str, EvalSet] = Field(description="metric name -> what it is measured on; the first gives the details")
    every: int | None = Field(None, ge=1, description="in training: steps between evaluations; at the end when absent")
    chunk: int = Field(128, ge=1, description="problems in one unit of replay")


class ReviewSpec(Options):
    """A review stage: people look at a dataset before anything learns from it."""

    path: str = Field(
        min_length=1, description="the rows as people left them, JSONL; while there is no such file they pass unedited"
    )


class Extend(Options):
    """Train on when a metric has not been reached at the end."""

    until: Bound = Field(description="what must hold; its metric comes from the stage's `evaluate`")
    by: float = Field(0.3, gt=0, description="share of the planned steps to add each time")
    times: int = Field(1, ge=1, description="most extensions")


class Share(Options):
    """One source of a mix."""

    problems: Schedule[UseSource | str] = Field(description="a problem slot, a source, or a schedule of sources")
    weight: float = Field(gt=0, description="its share, relative to the others'")


class Mix(Options):
    """Several sources, weighed. A recipe writes `mix: {reasoning: 3, general: 1}`, slots or sources by name."""

    mix: list[Share] = Field(min_length=1, description="the sources, in the order in which they are named")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """For editors: as a recipe writes it, by name; as a list it stands in resolved recipes."""
        schema = handler.resolve_ref_schema(handler(core))
        weight = Share.model_json_schema()["properties"]["weight"]
        by_name = {"type": "object", "minProperties": 1, "additionalProperties": weight}
        shares = schema["properties"]["mix"]
        text = {"description": shares.pop("description")}
        return {**schema, "properties": {"mix": {**text, "anyOf": [by_name, shares]}}}


ProblemsInput: TypeAlias = Schedule[Mix | UseSource | str]
DataInput: TypeAlias = UseSource | str


class VariantOf(Options):
    """Which variant a stage is, of a recipe with a `matrix`."""

    of: str = Field(
        description="the stage that it is a variant of: everything random is derived from that name, so that variants "
        "are compared problem by problem"
    )
    where: dict[str, str] = Field(default_factory=dict, description="axis -> its choice, for tables")


class Stage(Options):
    """One stage. One of `import`, `sample`, `train`, `evaluate`, `review`, `signals` says its kind (a train stage may
    also evaluate)."""

    import_: str | None = Field(None, alias="import", description="a Hugging Face folder, or a hub id")
    sample: SampleSpec | None = Field(None, description="sample a dataset from a model")
    train: UseTrainer | None = Field(None, description="train a model")
    evaluate: EvaluateSpec | None = Field(None, description="measure models, or this model while it trains")
    review: ReviewSpec | None = Field(None, description="let people look at a dataset")
    signals: SignalsSpec | None = Field(None, description="keep what a teacher says of a dataset's texts")

    model: Scratch | str | None = Field(None, description="the stage whose model it starts from, or `scratch`")
    models: list[str] = Field(default_factory=list, description="the stages whose models are evaluated")
    data: list[DataInput] = Field(
        default_factory=list, description="datasets: stages or sources; of given answers the stages that have them"
    )
    balance: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="shares in which the stages in `data` are taken; the scarcest decides how much",
    )
    problems: ProblemsInput | None = Field(None, description="a problem slot, a source, a `mix`, or a schedule of them")
    rewards: list[UseReward] = Field(
        default_factory=list, description="what an answer is worth; the first is 'correct'"
    )
    filters: list[UseFilter] = Field(default_factory=list, description="which answers are kept, in order")
    sampling: Sampling = Field(default_factory=Sampling, description="how completions are sampled")
    scoring: Scoring = Field(default_factory=Scoring, description="the processes that run rewards")
    policy: UsePolicy | None = Field(None, description="training engine")
    sampler: UseSampler | None = Field(None, description="sampling engine")
    checkpoint: Checkpointing = Field(
        default_factory=Checkpointing, description="how a train stage is saved, to go on after a kill"
    )
    rollouts: RolloutRecord = Field(
        default_factory=RolloutRecord, description="what is kept of the answers that it learned from"
    )
    gate: list[Gate] = Field(default_factory=list, description="limits that stop the run (exit 4)")
    extend: Extend | None = Field(None, description="train on when a metric is not reached")
    threads: int = Field(1, ge=1, description="compute threads of the stage's process, or of each of its ranks")
    stall_s: float = Field(
        1800.0,
        gt=0,
        description="seconds without a step or unit after which that is said, and what each thread does is printed "
        "into the stage's output",
    )
    seed: int | None = Field(
        None, ge=0, description="everything random in it is derived from this; from the recipe's `seed` when absent"
    )
    variant: VariantOf | None = Field(None, description="which variant it is of another stage; a `matrix` writes it")

    @model_validator(mode="before")
    @classmethod
    def _data_as_list(cls, value: Any) -> Any:
        if isinstance(value, dict) and "data" in value and not isinstance(value["data"], list):
            return {**value, "data": [value["data"]]}
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """For editors: `data` may be one dataset, not in a list."""
        schema: dict[str, Any] = handler(core)
        data = handler.resolve_ref_schema(schema)["properties"]["data"]
        if "anyOf" not in data:
            listed = {key: data.pop(key) for key in ("type", "items")}
            data["anyOf"] = [*listed["items"]["anyOf"], listed]
        return schema

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.import_, self.sample, self.train, self.evaluate, self.review, self.signals)
        given = [key for key, value in zip(KINDS, kinds, strict=True) if value]
        if len(given) != 1 and given != ["train", "evaluate"]:
            raise ValueError(
                f"a stage has exactly one of {', '.join(KINDS)} (train may have evaluate too), got {given}"
            )
        return self

    def asked(self) -> list[DataInput]:
        """Every source of the stage's `problems`."""
        found: list[DataInput] = []
        for point in self.problems.points.values() if self.problems is not None else ():
            schedules = [share.problems for share in point.mix] if isinstance(point, Mix) else []
            found += [] if isinstance(point, Mix) else [point]
            found += [source for schedule in schedules for source in schedule.points.values()]
        return found

    def sources(self) -> list[Use]:
        """Every problem source of the stage, slots filled."""
        found = [*self.data, *self.asked()]
        found += [each.problems for each in (self.evaluate.sets.values() if self.evaluate is not None else ())]
        return [use for use in found if isinstance(use, Use)]

    @property
    def kind(self) -> StageKind:
        """The stage's kind."""
        if self.train is not None:
            return "train"
        if self.sample is not None:
            return "sample"
        if self.review is not None:
            return "review"
        if self.signals is not None:
            return "signals"
        return "import" if self.import_ is not None else "evaluate"


class Recipe(Options):
    """A whole recipe, its profile merged in and its slots filled."""

    r1: Literal[1] = Field(description="schema version")
    name: str = Field(description="names the run directory", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = Field("", description="one line for people")
    seed: int = Field(0, ge=0, description="everything random is derived from it")
    requires: list[str] = Field(default_factory=list, description="PEP 508 requirements, checked first")
    observers: list[Use] = Field(default_factory=list, description="plugins that watch the run")
    stages: dict[str, Stage] = Field(description="the pipeline")
