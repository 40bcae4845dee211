"""Policies and samplers that break one promise each, for tests of the suites that must notice."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from r1_plugins.echo import EchoPolicy, EchoSampler, tokens
from r1core.keys import derive_key
from r1core.types import Floats, Response, Rollout, SampleRequest, Tokens

# --- policies --------------------------------------------------------------------------------------


class Tagless(EchoPolicy):
    def decode(self, ids: Tokens) -> str:
        return super().decode(ids).replace("<think>", "")


class Endless(EchoPolicy):
    def completion_ids(self, text: str) -> Tokens:
        return tokens.encode(text)


class Incurious(EchoPolicy):
    def prompt_ids(self, messages: Any) -> Tokens:
        return np.array([tokens.ASSISTANT])


class Restarting(EchoPolicy):
    def prefilled(self, messages: Any) -> str:
        return ""


class Dropping(EchoPolicy):
    def prompt_ids(self, messages: Any) -> Tokens:
        return super().prompt_ids([m for m in messages if m["role"] == "user"])


class Probable(EchoPolicy):
    def logprobs(self, sequences: Any) -> list[Floats]:
        return [-own + 0.1 for own in super().logprobs(sequences)]


class Misshapen(EchoPolicy):
    def logprobs(self, sequences: Any) -> list[Floats]:
        return [own[:-1] for own in super().logprobs(sequences)]


class Infinite(EchoPolicy):
    def logprobs(self, sequences: Any) -> list[Floats]:
        return [own - np.inf for own in super().logprobs(sequences)]


class Sociable(EchoPolicy):
    def logprobs(self, sequences: Any) -> list[Floats]:
        return [own - 0.01 * len(sequences) for own in super().logprobs(sequences)]


class Ordered(EchoPolicy):
    def logprobs(self, sequences: Any) -> list[Floats]:
        return [own - 0.01 * place / len(sequences) for place, own in enumerate(super().logprobs(sequences))]


class Backwards(EchoPolicy):
    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        return super().update(sequences, loss, lr=-lr)


class Silent(EchoPolicy):
    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        return {"loss": super().update(sequences, loss, lr=lr)["loss"]}


class Eager(EchoPolicy):
    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        return super().update(sequences, loss, lr=lr or 0.1)


class FirstCome(EchoPolicy):
    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        return super().update(sequences[:1], loss, lr=lr)


class Unweighted(EchoPolicy):
    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        ones = [replace(own, columns={"weight": own.columns["weight"] * 0 + 1}) for own in sequences]
        return super().update(ones, loss, lr=lr)


class Shared(EchoPolicy):
    def frozen(self, folder: Path) -> Any:
        return self


class Rounding(EchoPolicy):
    def export(self, folder: Path) -> None:
        self.logits, kept = np.round(self._opened), self.logits
        super().export(folder)
        self.logits = kept


class Forgetful(EchoPolicy):
    def restore(self, folder: Path) -> None:
        super().restore(folder)
        self._moments = np.zeros_like(self._moments)


class Pickling(EchoPolicy):
    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "optimizer.bin").write_bytes(pickle.dumps({"steps": self._steps}))


class Seedless(EchoPolicy):
    def create(self, folder: Path, architecture: Any, *, seed: int) -> None:
        super().create(folder, architecture, seed=0)


class Unseeded(EchoPolicy):
    def create(self, folder: Path, architecture: Any, *, seed: int) -> None:
        super().create(folder, architecture, seed=np.random.default_rng().integers(2**31))


class Unlearning(EchoPolicy):
    """Has a score head, which nothing moves."""

    def open(self, folder: Path, *, trainable: bool, head: str = "lm") -> Any:
        return super().open(folder, trainable=trainable)

    def values(self, sequences: Any) -> list[Floats]:
        return [np.zeros(len(own.ids) - own.start) for own in sequences]


class Raising(EchoPolicy):
    def logprobs(self, sequences: Any) -> list[Floats]:
        raise ZeroDivisionError("no sequence is long enough")


# --- samplers --------------------------------------------------------------------------------------


class Changing(EchoSampler):
    """Changes each request on its way in, and each rollout on its way out."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for place, request in enumerate(requests):
            for rollout in super().generate([self.asked(request, place)]):
                key = request.keys[request.samples.index(rollout.sample)]
                yield self.told(replace(rollout, key=key), request)

    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return request

    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        return rollout


class Repeating(EchoSampler):
    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        rollouts = list(super().generate(requests))
        yield from [*rollouts[:-1], rollouts[0]]


class Misprompting(Changing):
    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        return replace(rollout, prompt_ids=rollout.prompt_ids[:-1])


class Batching(Changing):
    """Draws by a problem's place in the batch."""

    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, keys=tuple(derive_key(key, place) for key in request.keys))


class Remembering(Changing):
    """Draws by how often it was asked."""

    calls = 0

    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        Remembering.calls += 1
        return replace(request, keys=tuple(derive_key(key, self.calls) for key in request.keys))


class Deaf(Changing):
    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, keys=(1,) * len(request.keys))


class Talkative(Changing):
    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, max_new_tokens=1000)


class Finishing(Changing):
    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        return replace(rollout, response=replace(rollout.response, finish="stop"))


class Limited(Changing):
    """Draws by how long the answer may become."""

    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, keys=tuple(derive_key(key, request.max_new_tokens) for key in request.keys))


class Warm(Changing):
    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, temperature=request.temperature or 1.0)


class Timid(Changing):
    """At temperature 0 the same for all keys, but not the likeliest."""

    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, temperature=1.0, keys=(4,) * len(request.keys)) if not request.temperature else request


class Doubting(Changing):
    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        return rollout if rollout.logprobs is None else replace(rollout, logprobs=rollout.logprobs - 0.1)


class Reticent(Changing):
    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        return replace(rollout, logprobs=None)


class Unopened(Changing):
    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        response = Response.parse(rollout.response.text, finish=rollout.response.finish)
        return replace(rollout, response=response)


class Rewinding(Changing):
    def asked(self, request: SampleRequest, place: int) -> SampleRequest:
        return replace(request, prefix_ids=None)


class Rehearsing(Changing):
    """Gives the prefix back as if it had been sampled."""

    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        prefix = np.zeros(0, dtype=np.int64) if request.prefix_ids is None else request.prefix_ids
        return replace(rollout, completion_ids=np.concatenate([prefix, rollout.completion_ids]))


class Wandering(Changing):
    """Stops a token early when it goes on greedily."""

    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        early = request.prefix_ids is not None and request.temperature == 0
        return replace(rollout, completion_ids=rollout.completion_ids[:-1]) if early else rollout


class Uncounted(Changing):
    def told(self, rollout: Rollout, request: SampleRequest) -> Rollout:
        return replace(rollout, weights_version=0)


class Stale(EchoSampler):
    def sync(self, policy: Any) -> None:
        super().sync(copy.deepcopy(policy) if self.policy is None else self.policy)
