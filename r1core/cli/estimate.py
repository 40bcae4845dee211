"""What each stage will take: memory by role, tokens, time and disk, before anything runs.

Memory is what the engines tell (`Policy.memory`, `Sampler.memory`) of the shape of their model. Models of one process
stay in it together and take turns with their work: the peak is what stays of all, and the most that any works with.
Lengths are guessed (`PROMPT`, `ANSWER`): no data is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from r1core.cli.arithmetic import load_of
from r1core.cli.speed import Speed, Work
from r1core.components import AdvantageEstimator, Policy, Sampler, Trainer
from r1core.errors import RecipeError
from r1core.estimates import NOTHING, Load, Memory, ModelShape, Range, Role, Unknown, biggest, total
from r1core.recipe.model_shapes import shape_after, shape_before
from r1core.recipe.plan import Plan, StagePlan
from r1core.store.signals import bytes_of

PROMPT = Range(32, 128, 512)
"""Tokens of a prompt, taken for granted."""
ANSWER = Range(0.1, 0.5, 1.0)
"""Share of `max_new_tokens` that an answer has."""
KEPT = Range(0.1, 0.5, 1.0)
"""Share of a dataset's answers that its filters keep."""
DOCUMENT = Range(64, 256, 4096)
"""Tokens of an example of a source that nothing is known of."""
SAMPLER = "sampler"
TRAINED: frozenset[Role] = frozenset({"policy", "critic"})


@dataclass(frozen=True, kw_only=True)
class Held:
    """One engine's part in a stage: the role, the stage that its model comes from, and its memory or why not."""

    role: str
    model: str
    memory: Memory | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One stage. None where something decides that is not known yet."""

    held: tuple[Held, ...]
    ranks: int | None
    trains: bool
    samples_ahead: bool
    """Whether the sampler works while the others do."""
    sampled: Range | None
    trained: Range | None
    time_s: Range | None
    disk: Range | None
    notes: tuple[str, ...] = ()

    @property
    def peak(self) -> Range | None:
        """Bytes of one process; None where nothing is known, and too little where not all is (`is_whole`)."""
        known = [held for held in self.held if held.memory is not None]
        if not known:
            return None
        stays = total(held.memory.stays for held in known if held.memory is not None)
        works = {held.role: held.memory.comes_and_goes for held in known if held.memory is not None}
        beside = works.pop(SAMPLER, NOTHING)
        turns = biggest(works.values())
        return stays + (turns + beside if self.samples_ahead else biggest((turns, beside)))

    @property
    def is_whole(self) -> bool:
        """Whether all of its parts are known."""
        return all(held.memory is not None for held in self.held)

    @property
    def host(self) -> Range:
        """The share of it that lies in the CPU's memory although the model does not."""
        return total(held.memory.host for held in self.held if held.memory is not None)


class Estimator:
    """Estimates the stages of one plan."""

    def __init__(self, plan: Plan, speed: Speed) -> None:
        self.plan = plan
        self.speed = speed
        self.by_id = {stage.id: stage for stage in plan.stages}

    def of(self, stage: StagePlan) -> Estimate | None:
        """What the stage takes; None where it runs no model."""
        body = stage.stage
        samples_given = body.sample is not None and body.sample.answers == "given"
        if body.policy is None or stage.kind in ("import", "review") or samples_given:
            return None
        policy: Policy = self.plan.component("policy", body.policy)
        shape = self._shape(stage)
        load = self._load(stage, shape)
        ranks, why = _ranks(policy) if stage.kind == "train" else (1, "")
        held = tuple(self._held(stage, policy, shape if ranks else Unknown(why), load))
        sampled, trained = self._sampled(stage), self._trained(stage, load)
        work = self._work(stage, sampled, trained, load)
        time_s = None
        if isinstance(shape, ModelShape) and work is not None and ranks:
            time_s = self.speed.seconds(work, shape, policy, threads=body.threads, ranks=ranks)
        return Estimate(
            held=held,
            ranks=ranks,
            trains=stage.kind == "train",
            samples_ahead=body.sampling.ahead,
            sampled=sampled,
            trained=trained,
            time_s=time_s,
            disk=self._disk(stage, shape, sampled, held),
            notes=tuple(_notes(policy, load, ranks or 1)),
        )

    # --- memory ----------------------------------------------------------------------------------

    def _shape(self, stage: StagePlan) -> ModelShape | Unknown:
        """The model that the stage trains or asks; of several the largest that is known."""
        if stage.stage.model is not None:
            return shape_before(stage, self.by_id)
        shapes = [shape_after(name, self.by_id) for name in stage.stage.models]
        known = [shape for shape in shapes if isinstance(shape, ModelShape)]
        return max(known, key=lambda shape: shape.parameters) if known else shapes[0]

    def _load(self, stage: StagePlan, shape: ModelShape | Unknown) -> Load:
        trainer = self._trainer(stage)
        most = float(shape.positions or DOCUMENT.high) if isinstance(shape, ModelShape) else DOCUMENT.high
        length = (self._answer(stage) + PROMPT).capped(most) if self._has_answers(stage) else DOCUMENT.capped(most)
        lengths = [round(value) for value in (length.low, length.expected, length.high)]
        updates = [trainer.update_tokens(each) for each in lengths] if trainer is not None else []
        known = [each for each in updates if each is not None]
        return Load(
            length=length,
            update_tokens=Range.about(known) if len(known) == len(lengths) else None,
            samples=_at_a_time(stage, trainer),
            trained=stage.kind == "train",
            scores=trainer is not None and trainer.head == "score",
        )

    def _held(self, stage: StagePlan, policy: Policy, shape: ModelShape | Unknown, load: Load) -> Iterator[Held]:
        name = stage.model or stage.id
        yield _told("policy" if load.trained else "model", name, shape, lambda known: policy.memory(known, load))
        for role, other in self._beside(stage).items():
            own = shape if other is None else shape_after(other, self.by_id)
            asked = Load(
                length=load.length,
                update_tokens=load.update_tokens,
                trained=role in TRAINED,
                scores=role == "critic",
            )
            yield _told(role, other or name, own, lambda known, asked=asked: policy.memory(known, asked))
        if stage.stage.sampler is not None and load.samples:
            sampler: Sampler = self.plan.component("sampler", stage.stage.sampler)
            yield _told(SAMPLER, name, shape, lambda known: sampler.memory(known, load, policy=policy))

    def _beside(self, stage: StagePlan) -> Mapping[Role, str | None]:
        """The models beside the one that is trained; a critic where an estimator needs one."""
        trainer = self._trainer(stage)
        needs = {need for c in stage.components if issubclass(c.cls, AdvantageEstimator) for need in c.cls.needs}
        found = trainer.models_beside if trainer is not None else {}
        return {role: other for role, other in found.items() if role != "critic" or "critic" in needs}

    # --- tokens and time -------------------------------------------------------------------------

    def _answer(self, stage: StagePlan) -> Range:
        """Tokens of an answer that the stage samples, or learns from where others have sampled it."""
        own = [stage] if stage.stage.problems is not None or stage.stage.evaluate is not None else []
        others = [self.by_id[datum] for datum in self._datasets(stage)]
        caps = [max(each.stage.sampling.max_new_tokens.points.values()) for each in (*own, *others)]
        return ANSWER * max(caps, default=0)

    def _datasets(self, stage: StagePlan) -> list[str]:
        """The sample stages whose answers it learns from, through those that curate, review or grade them."""
        found: list[str] = []
        cached = [name for name in stage.inputs if self.by_id[name].kind == "signals"]
        for datum in (*(each for each in stage.stage.data if isinstance(each, str)), *cached):
            inner = self.by_id[datum]
            passes_on = inner.kind in ("review", "signals") or (inner.kind == "sample" and inner.stage.data)
            found += self._datasets(inner) if passes_on else [datum]
        return found

    def _has_answers(self, stage: StagePlan) -> bool:
        return self._answer(stage).high > 0

    def _sampled(self, stage: StagePlan) -> Range | None:
        most = load_of(self.plan, stage).tokens
        return ANSWER * most if most else None

    def _trained(self, stage: StagePlan, load: Load) -> Range | None:
        """Tokens that go through optimizer steps, prompts included."""
        trainer = self._trainer(stage)
        if trainer is None:
            return None
        if trainer.planned_steps is not None and load.update_tokens is not None:
            return load.update_tokens * trainer.planned_steps
        own, kept = trainer.rollout_batches, self._kept(stage)
        answers = load.length * own.answers if own is not None else NOTHING
        return kept.times(load.length) * _epochs(trainer.config) + answers if kept is not None else None

    def graded(self, stage: StagePlan) -> tuple[int, Range] | None:
        """(texts at most, their tokens) that a teacher grades for the stage; None where the data decides."""
        length = self._load(stage, self._shape(stage)).length
        if stage.kind == "signals":
            kept = self._kept(stage)
            return (round(kept.high), kept.times(length)) if kept is not None else None
        trainer = self._trainer(stage)
        own = trainer.rollout_batches if trainer is not None else None
        return (own.answers, length * own.answers) if own is not None else None

    def _kept(self, stage: StagePlan) -> Range | None:
        """Rows of its data that filters leave; None where a source decides."""
        datasets = [self.by_id[name] for name in self._datasets(stage)]
        if not datasets or len(datasets) < len(stage.stage.data):
            return None
        specs = [each.stage.sample for each in datasets if each.stage.sample is not None]
        if any(spec.prompts is None for spec in specs):
            return None
        return KEPT * sum((spec.prompts or 0) * spec.samples for spec in specs)

    def _work(self, stage: StagePlan, sampled: Range | None, trained: Range | None, load: Load) -> Work | None:
        """None where the data decides."""
        kept = self._kept(stage) if stage.kind == "signals" else None
        if (stage.kind == "train" and trained is None) or (stage.kind == "signals" and kept is None):
            return None
        if kept is not None and stage.stage.sampler is not None:
            return None  # the teacher is elsewhere
        if kept is not None:
            read = kept.times(load.length)
            return Work(sampled=NOTHING, trained=NOTHING, read=read, length=load.length.expected, rounds=NOTHING)
        return Work(
            sampled=sampled or NOTHING,
            trained=trained or NOTHING,
            read=(trained or NOTHING) * (1 + len(self._beside(stage))) if sampled is not None else NOTHING,
            length=load.length.expected,
            rounds=sampled * (1 / max(load.samples, 1)) if sampled is not None else NOTHING,
        )

    # --- disk ------------------------------------------------------------------------------------

    def _disk(
        self, stage: StagePlan, shape: ModelShape | Unknown, sampled: Range | None, held: tuple[Held, ...]
    ) -> Range | None:
        if stage.stage.signals is not None:
            kept, answer = self._kept(stage), self._answer(stage)
            return kept.times(_signal_bytes(answer, k=stage.stage.signals.kept)) if kept is not None else None
        if stage.kind != "train":
            return (sampled or NOTHING) * TEXT_BYTES
        if isinstance(shape, Unknown):
            return None
        learned = sum(1 for each in held if each.role in TRAINED) * 12.0 * shape.parameters
        reference = 4.0 * shape.parameters if any(each.role == "reference" for each in held) else 0.0
        checkpoints = (learned + reference) * stage.stage.checkpoint.keep
        kept = _rollouts(stage, sampled, self._trainer(stage))
        model = Range.exactly(4.0 * shape.parameters + checkpoints + reference)
        return model + kept if sampled is not None else model

    def _trainer(self, stage: StagePlan) -> Trainer | None:
        if stage.stage.train is None:
            return None
        trainer: Trainer = self.plan.component("trainer", stage.stage.train)
        return trainer


TEXT_BYTES = 5
"""A token's text in a file of rows: about four characters and its share of the row."""
NUMBER_BYTES = {"none": 0, "text": TEXT_BYTES, "ids": TEXT_BYTES + 8, "ids+logprobs": TEXT_BYTES + 16}


def _signal_bytes(answer: Range, *, k: int) -> Range:
    """Of one text with an answer of so many tokens."""
    each = [bytes_of(prompt + own, own, k=k) for prompt, own in zip(PROMPT.all, answer.all, strict=True)]
    return Range(*each)


def _told(role: str, model: str, shape: ModelShape | Unknown, tell: Any) -> Held:
    if isinstance(shape, Unknown):
        return Held(role=role, model=model, memory=None, why=shape.why)
    memory: Memory | None = tell(shape)
    return Held(role=role, model=model, memory=memory, why="" if memory is not None else "its engine does not tell")


def _at_a_time(stage: StagePlan, trainer: Trainer | None) -> int:
    """Answers that a sampler is asked for at once."""
    body = stage.stage
    counts = [0]
    if trainer is not None and body.problems is not None:
        found = [_number(trainer.config, "prompts") * _number(trainer.config, "samples")]
        nested = [getattr(trainer.config, name) for name in type(trainer.config).model_fields]
        found += [_number(each, "prompts") * _number(each, "samples") for each in nested if isinstance(each, BaseModel)]
        counts += found
    if body.sample is not None:
        counts.append(min(body.sample.chunk, body.sample.sampled) * body.sample.samples)
    if body.evaluate is not None:
        chunk = body.evaluate.chunk
        counts += [min(chunk, each.limit) * each.samples for each in body.evaluate.sets.values()]
    return max(counts)


def _number(options: Any, name: str) -> int:
    value = getattr(options, name, 0)
    return value if isinstance(value, int) else 0


def _epochs(options: BaseModel) -> int:
    """Passes over the data, wherever among its options a trainer has them."""
    inner = [getattr(options, name) for name in type(options).model_fields]
    return max([_number(options, "epochs"), *(_epochs(each) for each in inner if isinstance(each, BaseModel)), 1])


def _rollouts(stage: StagePlan, sampled: Range | None, trainer: Trainer | None) -> Range:
    """The rollout batches that are kept."""
    own = trainer.rollout_batches if trainer is not None else None
    if sampled is None or own is None or not own.batches:
        return NOTHING
    kept = min(1.0, stage.stage.rollouts.last / own.batches)
    return sampled * (kept * NUMBER_BYTES[stage.stage.rollouts.keep])


def _ranks(policy: Policy) -> tuple[int | None, str]:
    """How many train together, or why that is not known on this machine."""
    lost = next((each for each in policy.absent() if isinstance(each, RecipeError)), None)
    return (policy.ranks, "") if lost is None else (None, f"{lost.where}: {lost.what}")


def _notes(policy: Policy, load: Load, ranks: int) -> Iterator[str]:
    """What is legal and yet may not be meant."""
    most = _number(policy.config, "micro_batch_tokens")
    if most and load.length.high > most:
        yield (
            f"a sequence of up to {load.length.high:,.0f} tokens is longer than micro_batch_tokens ({most:,}): it goes "
            "alone, and takes the memory of its own length"
        )
    if load.update_tokens is not None and ranks > 1:
        sequences = load.update_tokens.high / load.length.high
        if sequences < ranks:
            idle = ranks - sequences
            yield f"{ranks} ranks share {sequences:,.0f} sequences a step: {idle:,.0f} are idle"
