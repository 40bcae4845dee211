"""The one thread that owns the model: it takes requests, draws tokens for all of them at once, and hands out text.

Whoever asks lives in an event loop and gets `Delta`s through a queue. What nobody waits for any more is cancelled:
its row is free at the next step.
"""

from __future__ import annotations

import asyncio
import math
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import click

from r1_plugins.serve.settings import Settings
from r1_plugins.serve.wire import Asked, Refused, queue_is_full
from r1core.errors import RecipeError, SetupError
from r1core.keys import derive_key
from r1core.reasoning_stream import Pieces, Reasoning, without_thinking
from r1core.types import Problem, SampleRequest, Tokens
from r1core.untrusted import untrusted

try:
    import torch

    from r1core.nn import ChatText, Drawn, LiveDecoder, Stops, Unread, Writer, load_lm, unsupported_layers
except ImportError as error:
    raise SetupError(f"serve needs {error.name}", where="r1 serve", fix="pip install 'r1core[serve]'") from error

IDLE_S = 0.2
GREEDY_BELOW = 1e-5
"""vLLM's rule, too: divided by less, logits leave the numbers of a float."""
TRIES = 3
"""Failures without a token between them after which the engine is given up."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What one step added to one choice; `finish` with the last: stop, length, timeout, closing, no_number or error."""

    choice: int
    pieces: Pieces
    ids: list[int]
    logprobs: list[float]
    reasoning: int = 0
    """How many of the ids are thinking."""
    finish: str | None = None


@dataclass(kw_only=True)
class _Choice:
    writer: Writer
    stops: Stops
    reasoning: Reasoning
    done: bool = False


@dataclass(kw_only=True, eq=False)
class Job:
    """A request under way. `out` belongs to the loop."""

    asked: Asked
    request: SampleRequest
    opened: bool
    deadline_s: float
    loop: asyncio.AbstractEventLoop
    out: asyncio.Queue[Delta] = field(default_factory=asyncio.Queue)
    choices: list[_Choice] = field(default_factory=list)
    number: int = -1
    cancelled: bool = False


class Engine:
    """The model of a folder, and its thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.text = ChatText(settings.folder)
        self._prompts = ChatText(settings.folder)
        """A tokenizer is not for several threads: this one belongs to `_reader`."""
        self._reader = ThreadPoolExecutor(1, "r1-prompts")
        if self.text.tokenizer.chat_template is None:
            fix = "add chat_template.jinja to the folder"
            raise RecipeError("its tokenizer has no chat template", where=str(settings.folder), fix=fix)
        cuda = torch.cuda.is_available()
        module = load_lm(settings.folder, dtype=torch.bfloat16 if cuda else torch.float32)
        if reason := unsupported_layers(module):
            raise SetupError(f"this model cannot be decoded: {reason}", where="r1 serve", fix="--engine vllm")
        self.module = module.to("cuda" if cuda else "cpu").eval()
        self.context: int | None = getattr(module.config, "max_position_embeddings", None)
        """Tokens that the model reads, its answer with them; None where its config does not say."""
        self.cancelled_rows = 0
        """Rows of requests that nobody waited for any more, or that took too long."""
        self.stopped_rows = 0
        """Rows that a stop string ended."""
        self._spelling = _spelling(self.text)
        self.failed = ""
        """Why its thread has ended before its time."""
        self._decoder = self._new_decoder()
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}
        self._asked_for = 0
        self._lock = threading.Lock()
        self._stopped = False
        self._ended = False
        self._closing_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="r1-engine", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    @property
    def rows(self) -> int:
        """Answers that are written at this moment."""
        return self._decoder.alive

    async def ask(self, asked: Asked) -> Job:
        """Put a request into the queue. Raises Refused: 400 too long, 429 too many, 503 no engine."""
        self._admit(asked)
        try:
            deadline_s = time.monotonic() + self.settings.timeout_s
            loop = asyncio.get_running_loop()
            # a prompt of a megabyte takes half a second, in which the streams of others go on
            request, opened = await loop.run_in_executor(self._reader, self._read, asked)
            job = Job(asked=asked, request=request, opened=opened, deadline_s=deadline_s, loop=loop)
            with self._lock:  # once the thread has ended, nobody empties the queue
                if self._ended:
                    raise Refused(503, "the engine has stopped")
                self._inbox.put(job)
        except BaseException:
            self._release(asked.n)
            raise
        return job

    def _admit(self, asked: Asked) -> None:
        """Count it in, before any work is done for it."""
        with self._lock:
            if not self.healthy:
                raise Refused(503, "the engine has stopped")
            if self._closing_s is not None:
                raise Refused(503, "the server is stopping")
            if asked.n > self.settings.rows:
                raise Refused(400, f"n is {asked.n}, at most {self.settings.rows} are written at once", param="n")
            if self._asked_for + asked.n > self.settings.rows + self.settings.queue:
                raise queue_is_full()
            self._asked_for += asked.n

    def _release(self, count: int) -> None:
        with self._lock:
            self._asked_for -= count

    def _read(self, asked: Asked) -> tuple[SampleRequest, bool]:
        """What the decoder is asked for, and whether the prompt opens the thinking."""
        messages = [{"role": turn.role.replace("developer", "system"), "content": turn.text} for turn in asked.messages]
        turns = without_thinking(messages)
        try:
            prompt, opened = self._prompts.prompt_ids(turns), bool(self._prompts.prefilled(turns))
        except Exception as error:  # a template may raise what it likes about the order of roles
            raise Refused(400, f"the chat template refuses these messages: {error}", param="messages") from None
        seed = secrets.randbits(63) if asked.seed is None else asked.seed
        request = SampleRequest(
            problem=Problem(id="request"),
            prompt_ids=prompt,
            keys=tuple(derive_key(seed, choice) for choice in range(asked.n)),
            samples=tuple(range(asked.n)),
            max_new_tokens=self._limit(asked, prompt),
            temperature=asked.temperature if asked.temperature >= GREEDY_BELOW else 0.0,
            top_p=asked.top_p,
        )
        return request, opened

    def spelled(self, number: int) -> bytes:
        """What a token stands for; a special token, its name."""
        try:
            return self._spelling[number]
        except IndexError:  # a head may have more rows than there are tokens
            return b""

    def cancel(self, job: Job) -> None:
        """Nobody waits for it; harmless when it is done."""
        job.cancelled = True

    def end_within(self, seconds: float) -> None:
        """Take nothing more, and give what is under way so long."""
        self._closing_s = time.monotonic() + seconds

    def close(self) -> None:
        """End the thread."""
        self._stopped = True
        self._inbox.put(None)
        self._thread.join()
        self._reader.shutdown(cancel_futures=True)

    def _limit(self, asked: Asked, prompt: Tokens) -> int:
        if self.context is None:
            return asked.limit or self.settings.max_tokens
        room = self.context - len(prompt)
        if room < (asked.limit or 1):
            what = f"{len(prompt)} tokens of prompt and {asked.limit or 1} of answer; the model reads {self.context}"
            raise Refused(400, what, param="messages", code="context_length_exceeded")
        return asked.limit or min(room, self.settings.max_tokens)

    # --- in the thread ---

    def _new_decoder(self) -> LiveDecoder:
        return LiveDecoder(self.module, ends=self.text.end_ids, max_rows=self.settings.rows)

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopped:
                try:
                    drew = self._work()
                except Exception as error:
                    failures += 1
                    cause = error.__cause__ if isinstance(error, Unread) and error.__cause__ is not None else error
                    said = f"{type(cause).__name__}: {cause}"
                    if failures == TRIES:
                        self.failed = said
                        return
                    self._begin_anew(error, said)
                else:
                    failures = 0 if drew else failures
        finally:
            with self._lock:
                self._ended = True
            self._lose_all()
            while not self._inbox.empty():
                if (job := self._inbox.get()) is not None:
                    self._lose(job)

    def _work(self) -> bool:
        """One step for all that is asked; whether it drew anything."""
        self._take()
        self._drop()
        drawn = list(self._decoder.step()) if self._decoder.busy else []
        for each in drawn:
            self._note(each)
        return bool(drawn)

    def _begin_anew(self, error: Exception, said: str) -> None:
        """A prompt that there is no memory for, say, is lost alone; a failure in a step takes all answers with it."""
        if isinstance(error, Unread):
            click.echo(untrusted(f"a prompt could not be computed: {said}"), err=True)
            for number in error.numbers:
                if (job := self._jobs.get(number)) is not None:
                    self._finish(job, "error")
            return
        click.echo(untrusted(f"the engine begins anew, answers under way are lost: {said}"), err=True)
        self._lose_all()
        self._decoder = self._new_decoder()

    def _lose_all(self) -> None:
        for job in list(self._jobs.values()):
            self._finish(job, "error")

    def _lose(self, job: Job) -> None:
        """The same for one that the decoder does not have yet."""
        delta = Delta(choice=0, pieces=[], ids=[], logprobs=[], finish="error")
        self._send(job, lambda: job.out.put_nowait(delta))
        self._release(len(job.request.keys))

    def _take(self) -> None:
        wait = not self._decoder.busy
        while True:
            try:
                job = self._inbox.get(wait, IDLE_S if wait else None)
            except queue.Empty:
                return
            wait = False
            if job is None:
                continue
            for _ in job.request.keys:
                job.choices.append(
                    _Choice(
                        writer=Writer(self.text.tokenizer),
                        stops=Stops(job.asked.stops),
                        reasoning=Reasoning(thinking=job.opened),
                    )
                )
            try:
                job.number = self._decoder.add(job.request)
            except BaseException:
                self._lose(job)
                raise
            self._jobs[job.number] = job

    def _drop(self) -> None:
        now_s = time.monotonic()
        closing = self._closing_s is not None and now_s > self._closing_s
        for job in list(self._jobs.values()):
            if job.cancelled or closing or now_s > job.deadline_s:
                self.cancelled_rows += self._decoder.cancel(job.number)
                self._finish(job, "closing" if closing else "timeout")

    def _note(self, drawn: Drawn) -> None:
        job = self._jobs.get(drawn.number)
        if job is None or job.choices[drawn.sample].done:
            return
        if not math.isfinite(drawn.logprob):
            self._decoder.cancel(job.number)
            self._finish(job, "no_number")
            return
        choice, pieces, finish = job.choices[drawn.sample], [], drawn.finish
        was_thinking = choice.reasoning.thinking
        if drawn.id not in self.text.dropped:
            pieces = choice.reasoning.feed(choice.stops.feed(choice.writer.add(drawn.id)))
        if finish and not choice.stops.found:
            pieces += choice.reasoning.feed(choice.stops.feed(choice.writer.end()) + choice.stops.end())
        if choice.stops.found:
            finish = "stop"
        if finish:
            pieces += choice.reasoning.end()
            choice.done = True
        delta = Delta(
            choice=drawn.sample, pieces=pieces, ids=[drawn.id], logprobs=[drawn.logprob],
            reasoning=int(was_thinking), finish=finish,
        )  # fmt: skip
        self._send(job, lambda: job.out.put_nowait(delta))
        if finish and not drawn.finish:  # a stop string: the model would go on
            self.stopped_rows += self._decoder.cancel(job.number, drawn.sample)
        if all(each.done for each in job.choices):
            self._forget(job)

    def _finish(self, job: Job, how: str) -> None:
        for number, choice in enumerate(job.choices):
            if not choice.done:
                delta = Delta(choice=number, pieces=[], ids=[], logprobs=[], finish=how)
                self._send(job, lambda delta=delta: job.out.put_nowait(delta))  # type: ignore[misc]
        self._forget(job)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.number]
        self._release(len(job.choices))

    def _send(self, job: Job, call: Callable[[], Any]) -> None:
        try:
            job.loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has closed: nobody waits
            job.cancelled = True


def _spelling(text: ChatText) -> list[bytes]:
    """The bytes of each token; where a tokenizer does not tell (whole words), those of its text alone."""
    tokenizer = text.tokenizer
    try:
        spelling = list(text.pieces)
    except SetupError:
        spelling = [tokenizer.decode([number]).encode() for number in range(text.vocabulary)]
    spelling[tokenizer.eos_token_id] = tokenizer.eos_token.encode()
    return spelling
