"""Answers that are asked for once: a sampler in front of which lies the trace ledger.

An answer is found by the hash of all that decides it: what the teacher is really sent, who the teacher is (the endpoint
and its model, or the content of a model's folder), how is sampled, and which of the samples it is. Chunks, filters,
problem ids and the place of the run are not among it, so a stage that is made again asks for what is new. The same
question, asked twice, has one answer for each sample number.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from r1core.components import Policy, Sampler
from r1core.keys import derive_key
from r1core.recipe.fingerprint import counted_options
from r1core.stages.base import Job
from r1core.store import StageDirectory, mark_folder
from r1core.store.traces import TraceLedger
from r1core.types import Message, Problem, Response, Rollout, SampleRequest, tokens_of_bytes

LEDGERS = ".traces"
"""The folder, beside the stages', of the ledgers that belong to the run. It outlives a stage that is made again."""
KEY_CHARS = 32
TAKEN = ("answers", "refused", "tokens_in", "tokens_out", "tokens_estimated", "usd", "from_ledger")
"""`tokens_estimated`: those of both, where the teacher's server counts none."""


class Traces(Sampler):
    """Gives what the ledger has, has the sampler answer the rest, and keeps that. Implements `contexts.SampleRecord`.

    `asked(problem)` are the messages that the teacher gets. Rollouts come back without log-probs, the same ones
    whether they are new or not.
    """

    def __init__(
        self, job: Job, sampler: Sampler, ledger: TraceLedger, asked: Callable[[Problem], Sequence[Message]]
    ) -> None:
        super().__init__(sampler.config)
        self._taken: dict[str, list[float]] = {name: [] for name in TAKEN}
        """Of the answers since `metrics` was asked last, each counted once."""
        self._job = job
        self._sampler = sampler
        self._ledger = ledger
        self._asked = asked
        self._about = teacher_of(job, sampler)
        self._teacher = _hash(self._about)
        self._keys: dict[int, str] = {}
        self._coming: Iterator[Rollout] = iter(())
        self._worst: dict[int, float] = {}
        ledger.introduce(self._teacher, self._about)
        if sampler.remote:
            sampler.prepare(self)

    def sync(self, policy: Policy) -> None:
        """The model never changes within a sample stage."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Every answer, those of the ledger first."""
        places: dict[str, list[tuple[int, SampleRequest]]] = {}
        for request in requests:
            for number, place in enumerate(request.samples):
                places.setdefault(self._key(request, number), []).append((place, request))
        missing: dict[int, list[tuple[str, int]]] = {}
        for key, alike in places.items():
            entry = self._ledger.answer(key)
            if entry is None:
                place, request = alike[0]
                missing.setdefault(id(request), []).append((key, place))
            else:
                yield from self._given(entry, alike, is_new=False)
        self._keys = {place: key for own in missing.values() for key, place in own}
        left = [self._rest(request, missing[id(request)]) for request in requests if id(request) in missing]
        self._coming = self._sampler.generate(left) if left else iter(())
        for rollout in self._coming:
            key = self._keys[rollout.sample]
            if not self._sampler.remote:
                self._ledger.answered(key, self._teacher, _entry(rollout), usd=0.0)
            self._job.alive()
            entry = self._ledger.answer(key)
            if entry is None:
                raise RuntimeError(f"the sampler gave answer {rollout.sample} without keeping it")
            yield from self._given(entry, places[key], is_new=True)

    def close(self) -> None:
        """No answer is taken any more: what is under way is put down as lost while there is a ledger."""
        if isinstance(self._coming, Generator):
            self._coming.close()

    def _rest(self, request: SampleRequest, missing: Sequence[tuple[str, int]]) -> SampleRequest:
        """What is left of a request. Its keys come from the ledger's, not from the unit: another cut into chunks
        changes no answer."""
        seed = 0 if self._sampler.remote else self._job.stage.seed
        told = replace(request.problem, messages=tuple(self._asked(request.problem)))
        return replace(
            request,
            problem=told if self._sampler.remote else request.problem,
            keys=tuple(derive_key(seed, "trace", key) for key, _ in missing),
            samples=tuple(place for _, place in missing),
        )

    def _key(self, request: SampleRequest, number: int) -> str:
        sampling = {"max_new_tokens": request.max_new_tokens, "temperature": request.temperature}
        told = {
            "messages": [dict(message) for message in self._asked(request.problem)],
            "teacher": self._about,
            "sampling": {**sampling, "top_p": request.top_p},
            "sample": number,
        }
        return _hash(told)

    def _given(
        self, entry: Mapping[str, Any], alike: Sequence[tuple[int, SampleRequest]], *, is_new: bool
    ) -> Iterator[Rollout]:
        self._take(entry, alike[0][1], is_new=is_new)
        for place, request in alike:
            yield _rollout(entry, request, place)

    def _take(self, entry: Mapping[str, Any], request: SampleRequest, *, is_new: bool) -> None:
        """Count an answer. Nobody counts the prompts of a model of the run, or what one that is elsewhere refused."""
        tokens_in, tokens_out, estimated = entry["tokens_in"] or 0, entry["tokens"] or 0, 0
        if self._sampler.remote and not entry["refused"]:
            texts = (message["content"] for message in self._asked(request.problem))
            about_in = 0 if tokens_in else tokens_of_bytes(sum(len(_bytes(text)) for text in texts))
            about_out = 0 if tokens_out else tokens_of_bytes(len(_bytes(entry["text"])))
            tokens_in, tokens_out, estimated = tokens_in + about_in, tokens_out + about_out, about_in + about_out
        told = (1, bool(entry["refused"]), tokens_in, tokens_out, estimated, entry["usd"], not is_new)
        for name, value in zip(TAKEN, told, strict=True):
            self._taken[name].append(value)

    # --- what a remote sampler is given (contexts.SampleRecord) ----------------------------------

    @property
    def calls(self) -> int:
        """Calls to this teacher that may have been billed."""
        return self._ledger.account(self._teacher).calls

    @property
    def usd(self) -> float:
        """Their cost, USD."""
        return self._ledger.account(self._teacher).usd

    def metrics(self, before: Mapping[str, float]) -> dict[str, float]:
        """The sums over the stage, `before` being those of its last unit; under `time/` what kills and other runs have
        a part in."""
        names = {name: f"{'time/' if name == 'from_ledger' else 'traces/'}{name}" for name in TAKEN}
        sums = {name: before.get(name, 0.0) + math.fsum(self._taken[own]) for own, name in names.items()}
        if not sums["traces/tokens_estimated"]:
            del sums["traces/tokens_estimated"]
        self._taken = {name: [] for name in TAKEN}  # sums of many in any order are the same, rounded once
        account = self._ledger.account(self._teacher)
        spent = {"calls": account.calls, "usd": account.usd, "lost_calls": account.lost, "asked_again": account.cut}
        return {**sums, **{f"time/{name}": float(value) for name, value in spent.items()}}

    def told(self) -> str:
        """The account in words."""
        account = self._ledger.account(self._teacher)
        spent = f"{account.calls:,} calls" + (f", {account.usd:.4f} USD" if account.usd else "")
        lost = f"; {account.lost:,} brought no answer" if account.lost else ""
        cut = f"; {account.cut:,} were under way when a process was killed, and asked again" if account.cut else ""
        damaged = f"; {self._ledger.damaged:,} lines of it were damaged" if self._ledger.damaged else ""
        return f"the trace ledger has {account.answers:,} answers of this teacher: {spent}{lost}{cut}{damaged}"

    def asking(self, place: int, *, usd: float) -> None:
        """A call is about to be made."""
        self._worst[place] = usd
        self._ledger.asking(self._keys[place], self._teacher, usd=usd)

    def lost(self, place: int) -> None:
        """It came to nothing, and may be billed."""
        self._ledger.lost(self._keys[place], self._teacher, usd=self._worst[place], why="no reply")

    def unbilled(self, place: int) -> None:
        """It was turned away."""
        self._ledger.unbilled(self._keys[place], self._teacher)

    def keep(self, rollout: Rollout, *, usd: float, tokens_in: int | None, calls: int = 1) -> None:
        """It brought this answer."""
        entry = {**_entry(rollout), "tokens_in": tokens_in}
        self._ledger.answered(self._keys[rollout.sample], self._teacher, entry, usd=usd, calls=calls)

    def note(self, text: str) -> None:
        """Say a line to whoever watches."""
        self._job.note(text)

    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return self._job.stopping()


def ledger_of(job: Job) -> TraceLedger:
    """The stage's ledger, not opened yet: the one that the recipe names, or one of the run's own."""
    spec = job.stage.stage.sample
    assert spec is not None, "a sample stage says what to sample"
    folder = Path(spec.ledger) if spec.ledger else job.folder.parent / LEDGERS / job.stage.id
    said: list[str] = []

    def waiting(owner: str) -> None:
        if job.stopping():
            raise job.interrupted(f"waiting for the trace ledger {folder}")
        job.alive()
        if not said:
            said.append(owner)
            job.note(f"the trace ledger {folder} is in use by {owner}: waiting until it is free")

    return TraceLedger(folder, waiting=waiting)


def teacher_of(job: Job, sampler: Sampler) -> dict[str, Any]:
    """Who answers. Answers of a model of the run derive from the stage's seed, too; those of a service do not."""
    stage = job.stage.stage
    assert stage.sampler is not None, "the plan gives every stage its engines"
    if sampler.remote:
        return {"sampler": stage.sampler.use, **sampler.identity()}
    assert isinstance(stage.model, str), "the plan checks what a sample stage needs"
    options = counted_options(type(sampler).Config, job.plan.options("sampler", stage.sampler))
    return {
        "sampler": {"use": stage.sampler.use, **options},
        "model": _content(job.artifacts[stage.model]),
        "seed": job.stage.seed,
    }


def _content(folder: Path) -> str:
    """The hash of what lies in a model's folder. A finished stage has those of its files."""
    record = StageDirectory(folder.parent).record()
    files = record.files if record is not None else {}
    start = f"{folder.name}/"
    marks = {name: mark for name, mark in files.items() if name.startswith(start)}
    marks = marks or {f"{start}{name}": mark for name, mark in mark_folder(folder).items()}
    return _hash({name: asdict(mark) for name, mark in sorted(marks.items())})


def _entry(rollout: Rollout) -> dict[str, Any]:
    """An answer as the ledger keeps it."""
    response = rollout.response
    return {
        "problem": rollout.problem.id,
        "text": response.text,
        "prefilled": response.prefilled,
        "finish": response.finish,
        "tokens_in": None,
        "tokens": len(rollout.completion_ids) or response.tokens,
        "refused": rollout.refused,
        **({"apart": True} if response.apart else {}),
        **({"ids": rollout.completion_ids.tolist()} if len(rollout.completion_ids) else {}),
    }


def _rollout(entry: Mapping[str, Any], request: SampleRequest, place: int) -> Rollout:
    """The answer to a request that an entry tells."""
    response = Response.parse(
        entry["text"], finish=entry["finish"], prefilled=entry["prefilled"], apart=entry.get("apart", False)
    )
    return Rollout(
        problem=request.problem,
        sample=place,
        prompt_ids=request.prompt_ids,
        completion_ids=np.array(entry.get("ids", []), dtype=np.int64),
        logprobs=None,
        response=replace(response, tokens=entry["tokens"]),
        refused=entry["refused"],
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _hash(told: Any) -> str:
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_CHARS]
