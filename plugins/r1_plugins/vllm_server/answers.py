"""One answer on the wire: vLLM's route from tokens to tokens (`/inference/v1/generate`).

Each sample is a request of its own, since its key is its seed: the same tokens from whichever server is asked. The
reply names the weights that each token was sampled with. Log-probabilities are after temperature and top-p, as every
sampler here gives them, which vLLM does with `--logprobs-mode processed_logprobs`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1core.errors import SetupError
from r1core.keys import derive_key
from r1core.types import Finish, Floats, SampleRequest, Tokens

PATH = "/inference/v1/generate"
BYTES_A_TOKEN = 512
"""Of a reply, at most: about 150 are seen, more with tokens of many digits."""
LEAST_KIB = 64
CERTAIN = 1e-3
"""Nats by which a log-probability may differ from that of the only token that top-p left."""


class Unfinished(Exception):
    """A reply that is no whole answer: the server ended it (`abort`), or it is not what was asked for."""


class OtherWeights(Exception):
    """An answer that was sampled with other weights."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One sample of one request: which, and where it stands in the request."""

    request: SampleRequest
    number: int
    place: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it; `ids` and `logprobs` are (T,)."""

    job: Job
    ids: Tokens
    logprobs: Floats
    finish: Finish


def asked(job: Job, ends: Collection[int]) -> dict[str, Any]:
    """The body of the request."""
    request = job.request
    given = [] if request.prefix_ids is None else request.prefix_ids.tolist()
    return {
        "token_ids": [*request.prompt_ids.tolist(), *given],
        "sampling_params": {
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": _seed(request.keys[job.place], len(given)),
            "stop_token_ids": sorted(ends),
            "ignore_eos": True,  # the ends are the policy's, not those of the model that the server was started on
            "logprobs": 0,
            "detokenize": False,
        },
    }


def _seed(key: int, given: int) -> int:
    """63 bits: none is negative, and -1 would mean no seed. What goes on from given tokens does not draw the numbers
    again that their own answer began with."""
    return (derive_key(0, key, given) if given else key) >> 1


def answer(job: Job, reply: Any, ends: Collection[int], *, version: str) -> Answer:
    """The reply, read. Raises Unfinished, OtherWeights, and SetupError where the server cannot do what is asked."""
    try:
        choice = reply["choices"][0]
        ids = np.array(choice["token_ids"], dtype=np.int64)
        logprobs = np.array([token["logprob"] for token in choice["logprobs"]["content"]], dtype=np.float64)
        finish = choice["finish_reason"]
        versions = {span["version"] for span in choice["weight_versions"]}
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise Unfinished(f"its reply cannot be read ({type(error).__name__}: {error})") from None
    if versions != {version}:
        raise OtherWeights(f"it answered with the weights {', '.join(sorted(map(str, versions))) or '?'}")
    if finish not in ("stop", "length") or not len(ids) or len(ids) != len(logprobs):
        raise Unfinished(f"it ended an answer early ({finish}, {len(ids)} tokens)")
    ended = int(ids[-1]) in ends
    if not ended and len(ids) < job.request.max_new_tokens:
        asked_for = len(job.request.prompt_ids) + job.request.max_new_tokens
        raise SetupError(
            f"the server cut an answer off after {len(ids)} of {job.request.max_new_tokens} tokens",
            where="sampler vllm_server",
            fix=f"start it with --max-model-len {asked_for} or more",
        )
    return Answer(job=job, ids=ids, logprobs=logprobs, finish="stop" if ended else "length")


def certain() -> dict[str, Any]:
    """A request whose only token has the log-probability 0, if that is told after top-p."""
    params = {"max_tokens": 1, "temperature": 1.0, "top_p": 1e-6, "seed": 0, "logprobs": 0, "detokenize": False}
    return {"token_ids": [0], "sampling_params": {**params, "ignore_eos": True}}


def is_certain(reply: Any) -> bool:
    """Whether the reply to that says so."""
    return abs(float(reply["choices"][0]["logprobs"]["content"][0]["logprob"])) < CERTAIN


def reply_kib(jobs: Collection[Job]) -> int:
    """The longest reply that may come, KiB."""
    longest = max((job.request.max_new_tokens for job in jobs), default=0)
    return LEAST_KIB + longest * BYTES_A_TOKEN // 1024
