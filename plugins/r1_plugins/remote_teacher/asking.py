"""One text, one call: its ids go as a prompt, and what comes back for the i-th is a distribution given those before it.

    POST /completions {"prompt": [ids], "prompt_logprobs": k, "max_tokens": 1, "temperature": t}
    -> choices[0].prompt_logprobs: [null, {"17": {"logprob": -0.1, "rank": 1, "decoded_token": "a"}, ...}, ...]

Of each place the server names its k likeliest tokens, and the text's own where that is not among them: the own one is
then taken out of the k. It writes -9999 for what is impossible. One token is generated, and thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from r1core.endpoints import BadReply, Client, Declined, Endpoint
from r1core.errors import RefusedError, SetupError
from r1core.types import Tokens, TopLogprobs, TrainSequence

Place: TypeAlias = Mapping[str, Mapping[str, Any]] | None
"""What a server says of one token: token id, as text -> its log-prob and more; None where it says nothing."""
T = TypeVar("T")
ENTRY_BYTES = 256
"""Most bytes of one token of one place in a reply: about 70, and more where a token is long."""
IMPOSSIBLE = -9998.0


class Server:
    """Asks a server for log-probs."""

    def __init__(self, endpoint: Endpoint, model: str, *, concurrent: int) -> None:
        self.endpoint = endpoint
        self._model = model
        self._concurrent = concurrent
        self._told: dict[str, str] = {}

    @property
    def where(self) -> str:
        """The server, for people."""
        return f"sampler remote_teacher, {self.endpoint.origin}"

    def identity(self) -> dict[str, str]:
        """The server and its model, as it tells; asked once."""
        if not self._told:
            self._told = {"server": self.endpoint.origin, **asyncio.run(self._look())}
        return dict(self._told)

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        """What it says of the counted tokens. A reply becomes arrays when it comes: as read it takes 7 kB a token."""
        ids = [sequence.ids for sequence in sequences]
        arrays = [partial(_told, sequence, top_k=top_k) for sequence in sequences]
        return self._asked(ids, arrays, top_k=top_k, temperature=temperature)

    def places(self, texts: Sequence[Tokens], *, top_k: int, temperature: float) -> list[list[Place]]:
        """What it says of every token of each text, (N,) places each: for few texts, see `score`."""
        return self._asked(texts, [list] * len(texts), top_k=top_k, temperature=temperature)

    def _asked(
        self, texts: Sequence[Tokens], kept: Sequence[Callable[[list[Place]], T]], *, top_k: int, temperature: float
    ) -> list[T]:
        """What is kept of each text's places."""
        model = self.identity()["model"]

        async def all_of_them() -> list[T]:
            room = asyncio.Semaphore(self._concurrent)
            async with Client(self._roomy(max(map(len, texts), default=0), top_k)) as client:

                async def one(ids: Tokens, keep: Callable[[list[Place]], T]) -> T:
                    body = {"model": model, "prompt": ids.tolist(), "max_tokens": 1, "temperature": temperature}
                    async with room:
                        reply = await client.post("/completions", {**body, "prompt_logprobs": top_k})
                        return keep(self._read(reply, len(ids)))

                return await _together([one(ids, keep) for ids, keep in zip(texts, kept, strict=True)])

        return asyncio.run(all_of_them())

    def _roomy(self, tokens: int, top_k: int) -> Endpoint:
        """The endpoint, of which replies are read as large as what is asked for can be."""
        needed = 64 + tokens * (top_k + 1) * ENTRY_BYTES // 1024
        return self.endpoint.model_copy(update={"max_reply_kib": max(self.endpoint.max_reply_kib, needed)})

    async def _look(self) -> dict[str, str]:
        async with Client(self.endpoint) as client:
            reply = await client.get("/models")
        listed = reply.get("data") if isinstance(reply, dict) else None
        models = {str(each.get("id")): each for each in listed or () if isinstance(each, dict)}
        name = self._model or (next(iter(models)) if len(models) == 1 else "")
        if name not in models:
            wanted = f"no model {name!r}" if name else "several models, or none"
            fix = f"name one with `model`: {', '.join(models) or 'it lists none'}"
            raise SetupError(f"the server has {wanted}", where=self.where, fix=fix)
        about = models[name]
        return {"model": name, **{key: str(about[key]) for key in ("root", "max_model_len") if about.get(key)}}

    def _read(self, reply: Any, tokens: int) -> list[Place]:
        """The places of a reply, one for each token; the first is None."""
        try:
            places = reply["choices"][0].get("prompt_logprobs")
        except (KeyError, IndexError, TypeError, AttributeError):
            self._odd("no choices")
        if places is None:
            raise RefusedError(
                "the server gives no log-probs of a prompt",
                where=self.where,
                fix="a teacher needs a server that knows `prompt_logprobs`, such as vLLM's",
            )
        if not isinstance(places, list) or len(places) != tokens:
            many = len(places) if isinstance(places, list) else "no list of"
            self._odd(f"{many} places for a prompt of {tokens} tokens")
        return places

    def _odd(self, what: str) -> NoReturn:
        raise BadReply.told(f"the server sent {what}", where=self.where, fix="look at the server", status=200)


async def _together(calls: Sequence[Any]) -> list[Any]:
    """All of them, in order; the first failure ends the others."""
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(call) for call in calls]
    except* (SetupError, RefusedError) as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def is_about_logprobs(error: Declined) -> bool:
    """Whether a server declined because it gives no such number of log-probs."""
    return error.status in (400, 422) and "logprob" in str(error)


def _told(sequence: TrainSequence, places: list[Place], *, top_k: int) -> TopLogprobs:
    """The counted places as arrays."""
    counted = len(sequence.ids) - sequence.start
    top_ids = np.full((counted, top_k), -1, dtype=np.int64)
    top_logprobs = np.full((counted, top_k), -np.inf, dtype=np.float32)
    logprobs: NDArray[np.float32] = np.full(counted, np.nan, dtype=np.float32)
    for t, token in enumerate(sequence.ids[sequence.start :]):
        entries = ranked(places[sequence.start + t])
        logprobs[t] = dict(entries).get(int(token), np.nan)
        for place, (token_id, logprob) in enumerate(entries[:top_k]):
            top_ids[t, place], top_logprobs[t, place] = token_id, logprob
    return top_ids, top_logprobs, logprobs


def ranked(place: Place) -> list[tuple[int, float]]:
    """(token, log-prob) of one place, likeliest first; of equals the server's order."""
    found = [(int(token), float(told["logprob"]), told.get("rank") or 0) for token, told in (place or {}).items()]
    found.sort(key=lambda entry: (-entry[1], entry[2]))
    return [(token, logprob if logprob > IMPOSSIBLE else -np.inf) for token, logprob, _ in found]
