"""A teacher on loopback for tests: a real model behind `prompt_logprobs`, in vLLM's words, that misbehaves as told.

with toy_grader(policy) as server: ...                        # server.url, server.asked
server.shift = 1                                              # its places are off by one
server.fault = lambda number: 503                             # None: behave; the number counts requests for scores
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import numpy as np
import torch

from r1core.components import Policy
from r1core.types import Tokens, TrainSequence

Told = list[dict[str, dict[str, Any]] | None]
RESET = -1
VOCABULARY = 512
"""Tokens that a model under test has at most."""


class ToyGrader:
    """One server: its model, what it was asked, what it does wrong."""

    def __init__(self, policy: Policy) -> None:
        self.url = ""
        self.policy = policy
        self.models = ["teacher"]
        self.most = 20
        """Its --max-logprobs."""
        self.tempers = True
        """Whether temperatures reach the log-probs of a prompt; vLLM's do not."""
        self.logits = False
        self.bfloat16 = False
        """Whether its logits, of about 24, come in bfloat16, from other batches at each call."""
        self.shift = 0
        self.late = 0
        """How many tokens too many it has read when it tells of a token; that token is told of even so."""
        self.sees_last = False
        self.knows_prompts = True
        self.text: Callable[[int], str | None] = lambda token: self.policy.decode(np.array([token]))
        self.fault: Callable[[int], int | None] = lambda number: None
        self.faults = 0
        self.asked: list[Any] = []
        self.silent: set[int] = set()
        """Tokens whose places it leaves empty."""
        self.lock = threading.Lock()
        self.random = np.random.default_rng(0)

    def places(self, body: Any) -> Told:
        """What it says of every token of the prompt."""
        ids, k = np.array(body["prompt"], dtype=np.int64), body["prompt_logprobs"]
        temperature = body["temperature"] if self.tempers else 1.0
        known = self._distributions(ids, temperature)
        found: Told = [None]
        for t in range(1, len(ids)):
            own, likely = int(ids[t]), known[t + self.late]
            place = {str(own): self._entry(own, likely[own], 99)}
            place |= {
                str(token): self._entry(token, logprob, rank)
                for rank, (token, logprob) in enumerate(islice(likely.items(), k), start=1)
            }
            found.append(None if int(ids[t]) in self.silent else place)
        if self.sees_last:
            bent = {
                token: {**told, "logprob": told["logprob"] - ids[-1] / 10} for token, told in (found[1] or {}).items()
            }
            found[1] = bent
        return [None, *found[1 + self.shift :], *found[1 : 1 + self.shift]]

    def _distributions(self, ids: Tokens, temperature: float) -> list[dict[int, float]]:
        """Of each token, and of one more, all tokens' log-probs, likeliest first."""
        longer = TrainSequence(ids=np.append(ids, 0), start=0, columns={})
        ((top_ids, top_logprobs, _),) = self.policy.top_logprobs([longer], k=VOCABULARY, temperature=temperature)
        known = []
        for tokens, logprobs in zip(top_ids, top_logprobs, strict=True):
            told = logprobs[tokens >= 0]
            if self.bfloat16:
                moved = torch.from_numpy(told + 24 + self.random.uniform(-0.06, 0.06, len(told)).astype(np.float32))
                told = torch.log_softmax(moved.bfloat16().float(), -1).numpy()
            ranks = np.argsort(-told, kind="stable")
            known.append({int(tokens[rank]): float(told[rank]) for rank in ranks})
        return known

    def _entry(self, token: int, logprob: float, rank: int) -> dict[str, Any]:
        """vLLM names the text's own token first, then the likeliest; the impossible is -9999."""
        logprob = logprob + 5 if self.logits else logprob
        told = logprob if np.isfinite(logprob) else -9999.0
        return {"logprob": told, "rank": rank, "decoded_token": self.text(token)}

    def reply(self, body: Any) -> tuple[int, Any]:
        """What vLLM would say."""
        k = body.get("prompt_logprobs")
        if k > self.most:
            said = f"Requested prompt logprobs of {k}, which is greater than max allowed: {self.most}"
            return 400, {"error": {"message": said}}
        told = self.places(body) if self.knows_prompts else None
        return 200, {"choices": [{"text": "x", "prompt_logprobs": told}]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    toy: ToyGrader

    def do_GET(self) -> None:
        listed = [{"id": name, "root": f"/models/{name}", "max_model_len": 512} for name in self.toy.models]
        self._send(200, {"data": listed})

    def do_POST(self) -> None:
        toy, body = self.toy, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with toy.lock:
            fault = toy.fault(len(toy.asked))
            toy.asked.append(body)
            toy.faults += fault is not None
        if fault == RESET:
            self.close_connection = True
            self.connection.close()
            return
        with toy.lock:  # one model
            status, said = (fault, {"error": "as told"}) if fault is not None else toy.reply(body)
        self._send(status, said)

    def _send(self, status: int, said: Any) -> None:
        content = json.dumps(said).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def toy_grader(policy: Policy, *, port: int = 0) -> Iterator[ToyGrader]:
    """A server at work until the block ends."""
    toy = ToyGrader(policy)
    listening = _Listening(("127.0.0.1", port), type("Handler", (_Handler,), {"toy": toy}))
    toy.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield toy
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
