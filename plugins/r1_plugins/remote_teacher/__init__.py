"""`remote_teacher`: a model on a server grades texts, by the log-probs that it gives of a prompt's tokens.

    teacher_signals:
      signals: {k: 20}
      model: student_base                       # its tokenizer, which must be the teacher's
      sampler: {use: remote_teacher, endpoint: {url: "http://gpu1:8000/v1", private: true}}
      data: distillation_data

Any server of the OpenAI protocol that takes token ids as a prompt and knows `prompt_logprobs`, as vLLM does:
`vllm serve MODEL --max-logprobs 20`. Before the first text it is probed (probe.py): one that would give other numbers
than those asked for, in another vocabulary or one token off, is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from r1_plugins.remote_teacher.asking import Server
from r1_plugins.remote_teacher.probe import probe
from r1core.choices import Uncounted
from r1core.components import Policy, Sampler
from r1core.endpoints import Endpoint, lacking
from r1core.errors import SetupError
from r1core.estimates import Quote, Range
from r1core.hookspecs import hookimpl
from r1core.types import Rollout, SampleRequest, TopLogprobs, TrainSequence


class RemoteTeacher(Sampler):
    """Grades texts with the log-probs that a server gives of their tokens; it writes none itself."""

    name = "remote_teacher"
    writes = False

    class Config(Sampler.Config):
        endpoint: Endpoint = Field(description="the server, up to the version: http://host:8000/v1")
        model: str = Field("", description="its name there; the only one when empty")
        concurrent: Annotated[int, Uncounted()] = Field(16, ge=1, description="texts that it is asked for at once")

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._server = Server(config.endpoint, config.model, concurrent=config.concurrent)
        self._policy: Policy | None = None
        self._probed: set[tuple[int, float]] = set()

    @classmethod
    def check(cls) -> list[str]:
        """What it lacks here."""
        return [f"{', '.join(lacking())} not installed: pip install 'r1core[judge]'"] if lacking() else []

    def sync(self, policy: Policy) -> None:
        """Take the tokenizer whose ids it will be asked for: the server's weights are its own."""
        if self._policy is None or policy.text_marks != self._policy.text_marks:
            self._probed.clear()
        self._policy = policy

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """The plan asks it for no answers."""
        raise NotImplementedError(f"sampler {self.name!r} only grades")

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        """What the server's model says of the counted tokens. A server that is gone, or has changed, is a SetupError;
        one that cannot be a teacher of this kind a RefusedError."""
        if self._policy is None:
            raise SetupError("no tokenizer is known yet", where=f"sampler {self.name}", fix="call sync(policy) first")
        if (top_k, temperature) not in self._probed:
            probe(self._server, self._policy, top_k=top_k, temperature=temperature)
            self._probed.add((top_k, temperature))
        return self._server.score(sequences, top_k=top_k, temperature=temperature)

    def quote_graded(self, calls: int, *, tokens: Range) -> Quote:
        """One call for each text, which writes one token. How fast the server reads is its own affair."""
        return Quote(calls=calls, tokens_in=tokens, tokens_out=Range.exactly(calls), usd=None, time_s=None)

    def identity(self) -> Mapping[str, str]:
        """The server, and what it says of its model."""
        return self._server.identity()


@hookimpl
def r1_samplers() -> Iterable[type[Sampler]]:
    return [RemoteTeacher]
