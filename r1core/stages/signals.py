"""`signals`: what a teacher says of each token of finished texts, kept for every loss that a student may learn by.

    teacher_signals: {signals: {k: 32, temperature: 1.0}, model: dev3, data: distillation_data}

The texts are the kept rows of other stages, in the tokens of the teacher; each of their counted tokens, the end token
included (a text that was cut has none), gets the teacher's likeliest tokens in its place (`scheme: top_k`), or its own
log-prob alone (`sampled`). The unit of replay is a chunk of texts. `signals.json` says whose they are: a cache of
another teacher, tokenizer, template or temperature looks just like the right one. With `sampler` the teacher is
elsewhere, and `model` gives the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1core.batching import counted, encode, require_same_start
from r1core.components import Policy, Sampler
from r1core.errors import NumericsError, RecipeError, RefusedError
from r1core.events import StepDone
from r1core.recipe.plan import Plan, StagePlan
from r1core.stages.base import Job
from r1core.stages.signal_texts import Texts, check_room
from r1core.stages.units import Units
from r1core.store import MetricsWriter, problem_of
from r1core.store.kills import reached
from r1core.store.metrics import METRICS
from r1core.store.signals import SignalRow, StoredSignals, write_about, write_signals
from r1core.types import Signal, TopLogprobs, TrainSequence

FOLDER = "signals"
ANOTHER = 0.1
"""Nats a token by which a server may differ from itself: another batch changes bfloat16 by about 0.01."""
SUMS = ("rows", "tokens", "counted", "present", "logprob", "mass", "bytes", "too_long")
"""What is added up over the units: texts, their tokens, those graded or to be graded, and of the graded ones the
log-probs and the shares of the teacher's distribution that were kept; and texts that it has no positions for."""


def run(job: Job) -> dict[str, float]:
    """Fill `signals/` and say what is in it."""
    stage = job.stage.stage
    assert stage.signals is not None, "the plan checks what a signals stage needs"
    folders = [job.artifacts[data] for data in stage.data if isinstance(data, str)]
    texts = Texts(folders, stage.signals.chunk)
    if not len(texts):
        raise RecipeError("there are no texts to grade", where=f"stages.{job.stage.id}.data", fix="keep some rows")
    with Units(job, texts) as units, MetricsWriter(job.folder / METRICS) as writer:
        check_room(job, folders, left=1 - len(units.finished) / len(texts))
        job.started(len(texts), done=len(units.finished))
        sums = _taken_over(job, units, writer)
        teacher = _Teacher(job)
        if units.finished:
            teacher.check_same(job.folder / FOLDER)
        for unit in units.left():
            rows = teacher.graded(texts.rows(unit))
            reached("unit")
            path = write_signals(job.folder / FOLDER, rows, part=unit)
            found = _sums(rows, path, teacher.too_long)
            sums = {name: sums.get(name, 0.0) + found[name] for name in SUMS}
            event = StepDone(stage=job.stage.id, step=unit + 1, total=len(texts), metrics=_metrics(found))
            units.enter(path, told={"metrics": event.metrics, "sums": sums})
            job.step(event, writer)
        write_about(job.folder / FOLDER, {**teacher.about(), **{name: int(sums[name]) for name in SUMS[:4]}})
    return _concluded(job, sums)


def signals_of(plan: Plan, folder: Path) -> StoredSignals:
    """The signals of a stage, by the folder that it left them in. Raises RecipeError where they are not those that the
    stage would make: files put there by hand, made by another teacher or in another way."""
    stored, stage = StoredSignals(folder), plan.stage(folder.parent.name)
    told = stored.about
    wrong = [
        f"{key} {told.get(key)}, not {asked}" for key, asked in _asked(plan, stage).items() if told.get(key) != asked
    ]
    if wrong:
        raise RecipeError(
            f"these signals are not those of stage {stage.id!r}: {'; '.join(wrong)}",
            where=str(folder),
            fix=f"make them again with --from {stage.id}",
        )
    return stored


def _asked(plan: Plan, stage: StagePlan) -> dict[str, Any]:
    """What the plan says of a stage's signals: whose tokens, by the fingerprint of the model, and what is kept."""
    spec, model = stage.stage.signals, stage.model
    assert spec is not None, "asked of signals stages"
    assert model is not None, "the plan checks what a signals stage needs"
    tokens_of = {"stage": model, "fingerprint": plan.fingerprints[model]}
    return {"tokens_of": tokens_of, "temperature": spec.temperature, "k": spec.kept, "scheme": spec.scheme}


class _Teacher:
    """Who grades: the stage's model, or its sampler."""

    def __init__(self, job: Job) -> None:
        stage = job.stage.stage
        assert stage.signals is not None, "the plan checks what a signals stage needs"
        assert isinstance(stage.model, str), "the plan checks what a signals stage needs"
        self._job = job
        self._spec = stage.signals
        self._policy: Policy = job.policy().open(job.artifacts[stage.model], trainable=False)
        self._sampler: Sampler | None = job.sampler(self._policy) if stage.sampler is not None else None
        self.too_long = 0
        """Texts of the last unit that it has no positions for; of one that is elsewhere its server says so."""

    def graded(self, rows: Sequence[Mapping[str, Any]]) -> list[SignalRow]:
        """The texts of which a token can be learned, each with its signal. Raises RecipeError with the first that the
        model's template begins otherwise than its writer's did."""
        texts = [problem_of(row) for row in rows]
        for text in texts:
            require_same_start(self._policy, text, where=f"stages.{self._job.stage.id}")
        encoded = encode(self._policy, texts)
        limit = self._policy.positions if self._sampler is None else None
        fits = [limit is None or len(sequence.ids) <= limit for sequence in encoded]
        self.too_long = fits.count(False)
        pairs = zip(rows, encoded, fits, strict=True)
        kept = [(row, sequence) for row, sequence, is_short in pairs if is_short and counted(sequence)]
        told = self._told([sequence for _, sequence in kept])
        return [
            SignalRow(id=row["id"], sample=row["sample"], signal=_signal(sequence, each))
            for (row, sequence), each in zip(kept, told, strict=True)
        ]

    def _told(self, sequences: Sequence[TrainSequence]) -> list[TopLogprobs]:
        k, temperature = self._spec.kept, self._spec.temperature
        if not sequences:
            return []
        if self._sampler is None:
            told = self._policy.top_logprobs(sequences, k=k, temperature=temperature)
            self._check_numbers(sequences, told)
            return told
        return self._sampler.score(sequences, top_k=k, temperature=temperature)

    def _check_numbers(self, sequences: Sequence[TrainSequence], told: Sequence[TopLogprobs]) -> None:
        """A model has a word on every token that something precedes; NaN from there is no silence. Raises
        NumericsError."""
        for sequence, (_, _, logprobs) in zip(sequences, told, strict=True):
            if np.isnan(logprobs[max(1 - sequence.start, 0) :]).any():
                raise NumericsError(
                    f"the teacher's log-probs of a text of {len(sequence.ids)} tokens are NaN",
                    where=f"stages.{self._job.stage.id}",
                    fix=f"look at model {self._job.stage.model}: its weights, and the policy's dtype",
                )

    def check_same(self, folder: Path) -> None:
        """Hold a teacher elsewhere against what it said in an earlier process: under the same name there may be
        another model by now. Raises RefusedError."""
        stored = StoredSignals(folder)
        if self._sampler is None or not len(stored):
            return
        signal = stored[0]
        ((_, _, logprobs),) = self._told([TrainSequence(ids=signal.ids, start=signal.start, columns={})])
        gap = float(np.abs(logprobs - signal.logprobs)[signal.present].mean()) if signal.present.any() else 0.0
        if not gap <= ANOTHER:
            raise RefusedError(
                f"the teacher grades the first text otherwise than before, by {gap:.3g} nats a token",
                where=f"stages.{self._job.stage.id}",
                fix=f"bring back the model that it had, or start the stage over with --from {self._job.stage.id}",
            )

    def about(self) -> dict[str, Any]:
        """What `signals.json` says."""
        asked = _asked(self._job.plan, self._job.stage)
        teacher = asked["tokens_of"] if self._sampler is None else dict(self._sampler.identity())
        return {"teacher": teacher, **asked, **self._policy.text_marks}


def _signal(sequence: TrainSequence, told: TopLogprobs) -> Signal:
    """What the teacher told, and where it told nothing: nothing predicts the first token of a document."""
    top_ids, top_logprobs, logprobs = told
    present = ~np.isnan(logprobs)
    present[: max(1 - sequence.start, 0)] = False
    return Signal(
        ids=sequence.ids,
        start=sequence.start,
        top_ids=np.where(present[:, None], top_ids, -1),
        top_logprobs=np.where(present[:, None], top_logprobs, -np.inf).astype(np.float32),
        logprobs=np.where(present, logprobs, np.nan).astype(np.float32),
        present=present,
    )


# --- what is said of them -------------------------------------------------------------------------


def _sums(rows: Sequence[SignalRow], path: Path, too_long: int) -> dict[str, float]:
    signals = [row.signal for row in rows]
    mass = sum(float(np.exp(s.top_logprobs[s.present].astype(np.float64)).sum()) for s in signals)
    return {
        "rows": len(rows),
        "tokens": sum(len(s.ids) for s in signals),
        "counted": sum(len(s.present) for s in signals),
        "present": int(sum(s.present.sum() for s in signals)),
        "logprob": sum(float(s.logprobs[s.present].astype(np.float64).sum()) for s in signals),
        "mass": mass,
        "bytes": path.stat().st_size,
        "too_long": too_long,
    }


def _metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Counts, and means over the tokens that have a signal."""
    graded = max(sums["present"], 1)
    mass = {"signals/mass": sums["mass"] / graded} if sums["mass"] else {}
    too_long = {"signals/too_long": float(sums["too_long"])} if sums.get("too_long") else {}
    return {
        "num_tokens": float(sums["tokens"]),
        "signals/present": sums["present"] / max(sums["counted"], 1),
        "signals/logprob": sums["logprob"] / graded,
        **mass,
        **too_long,
        "signals/bytes": float(sums["bytes"]),
    }


def _taken_over(job: Job, units: Units, writer: MetricsWriter) -> dict[str, float]:
    """Log the units that an earlier process did; returns their sums."""
    for step, entry in enumerate(units.finished, start=1):
        job.log(step, entry["metrics"], writer)
    return dict(units.finished[-1]["sums"]) if units.finished else dict.fromkeys(SUMS, 0.0)


def _concluded(job: Job, sums: Mapping[str, float]) -> dict[str, float]:
    """Say what there is. Raises RefusedError where nothing was graded."""
    if too_long := int(sums.get("too_long", 0)):
        job.note(f"{too_long:,} texts are left out: they have more tokens than the teacher has positions")
    if not sums["present"]:
        raise RefusedError(
            f"none of {int(sums['counted'])} tokens has a signal",
            where=f"stages.{job.stage.id}",
            fix="take a teacher with more positions" if too_long else "look at what the teacher answers",
        )
    told = f"{int(sums['present']):,} of {int(sums['counted']):,} tokens of {int(sums['rows']):,} texts"
    job.note(f"signals of {told}, {sums['bytes'] / 2**20:.3g} MiB")
    return _metrics(sums)
