"""May this server be the teacher? One short text tells, before anything is learned from it. Refused is a server

* that gives fewer log-probs than are asked for (vLLM's `--max-logprobs`, 20 unless it is told), or none of a prompt;
* that gives logits in their place (`--logprobs-mode raw_logits`), which sum to more than one;
* whose tokens are others: the texts of the probe's ids must be those of the policy's tokenizer;
* whose places are off by one: with another last token only the last place may change, and that in its own token alone;
* that gives temperature 1 whatever is asked: prompts pass vLLM's samplers by, and what is kept of a distribution cannot
  be brought to another temperature without the rest of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from r1_plugins.remote_teacher.asking import Place, Server, is_about_logprobs, ranked
from r1core.components import Policy
from r1core.endpoints import Declined
from r1core.errors import RefusedError
from r1core.types import Tokens

QUESTION = ({"role": "user", "content": "What is 6 times 7?"},)
TEXT = (
    "<think>6 * 7 = 42; the quick brown fox jumps over the lazy dog 0123456789 (x + y) / [z], def f(a): return a."
    "</think><answer>42</answer>"
)
NOISE = 0.3
"""Mean nats by which what a server says of one place may differ between two calls. Logits of 16 to 32 are an eighth
apart in bfloat16, and one step of the likeliest moves all log-probs of its place; of another place they are more than
0.5 apart."""
SURE = 1e-3
"""By which shares may sum to more than one."""


def probe(server: Server, policy: Policy, *, top_k: int, temperature: float) -> None:
    """Raise RefusedError with the reason why the server cannot give `top_k` log-probs at `temperature`."""
    text = policy.document_ids([TEXT])[0]
    ids = np.concatenate([policy.prompt_ids(QUESTION), text])
    other = ids.copy()
    other[-1] = next(token for token in ids if token != ids[-1])
    here, changed = _asked(server, [ids, other], top_k=top_k, temperature=temperature)
    _check_shape(server, ids, here, top_k=top_k)
    _check_vocabulary(server, policy, text, here[-len(text) :])
    _check_shape(server, other, changed, top_k=top_k)
    _check_alignment(server, ids, other, here, changed)
    if temperature != 1.0:
        (at_one,) = _asked(server, [ids], top_k=max(top_k, 2), temperature=1.0)
        (at_own,) = _asked(server, [ids], top_k=max(top_k, 2), temperature=temperature)
        _check_temperature(server, at_one, at_own, temperature)


def _asked(server: Server, texts: Sequence[Tokens], *, top_k: int, temperature: float) -> list[list[Place]]:
    try:
        return server.places(texts, top_k=top_k, temperature=temperature)
    except Declined as error:
        if not is_about_logprobs(error):
            raise
        fix = f"start it with --max-logprobs {top_k}, or keep fewer (`k`)"
        raise RefusedError(f"it gives no {top_k} log-probs: {error.what}", where=server.where, fix=fix) from error


def _check_shape(server: Server, ids: Tokens, places: Sequence[Place], *, top_k: int) -> None:
    """Every token but the first has `top_k` log-probs and its own, which are shares of one."""
    if places[0]:
        _refuse(server, "it tells of a first token, which nothing predicts", "its places may be off by one")
    for number, (token, place) in enumerate(zip(ids[1:], places[1:], strict=True), start=1):
        entries = ranked(place)
        if len(entries) < top_k:
            _refuse(
                server, f"it gives {len(entries)} log-probs of token {number}, not {top_k}", "raise its --max-logprobs"
            )
        if int(token) not in dict(entries):
            _refuse(server, f"it leaves out token {number} of the text itself", "its places may be off by one")
        mass = float(np.exp([logprob for _, logprob in entries]).sum())
        if mass > 1 + SURE or entries[0][1] > SURE:
            _refuse(
                server,
                f"the shares of token {number} sum to {mass:.3g}: these are no log-probs",
                "start it with --logprobs-mode raw_logprobs",
            )


def _check_vocabulary(server: Server, policy: Policy, text: Tokens, places: Sequence[Place]) -> None:
    """Each token by itself, blanks apart, which decoders add and take; end and padding tokens have no text here."""
    compared = 0
    for token, place in zip(text, places, strict=True):
        ours = policy.decode(np.array([token])).strip()
        theirs = (place or {}).get(str(int(token)), {}).get("decoded_token")
        if theirs is None:
            _refuse(server, "it does not tell its tokens' texts", "start it with its tokenizer")
        compared += bool(ours)
        if ours and str(theirs).strip() != ours:
            _refuse(
                server,
                f"its vocabulary is another: token {int(token)} is {str(theirs)!r} there and {ours!r} here",
                "give the tokenizer of its model, or learn its texts instead",
            )
    if not compared:
        _refuse(server, "no token of the probe has a text to compare", "give a model whose tokenizer knows more words")


def _check_alignment(
    server: Server, ids: Tokens, other: Tokens, here: Sequence[Place], changed: Sequence[Place]
) -> None:
    own = (int(ids[-1]), int(other[-1]))
    for number in range(1, len(ids) - 1):
        gap = _gap(here[number], changed[number])
        if gap > NOISE:
            _refuse(
                server,
                f"token {number} of {len(ids)} is worth {gap:.3g} nats more or less with another last token",
                "it looks ahead, or its places are off by one",
            )
    ends = [{t: told for t, told in (place[-1] or {}).items() if int(t) not in own} for place in (here, changed)]
    last, others = _gap(*ends), min(map(len, ends))
    if last > NOISE and others > 1:  # of one token or none beside the own two, not both calls need to tell the same
        _refuse(server, f"what it expects last depends on what comes last ({last:.3g} nats)", "it is off by one")


def _gap(left: Place, right: Place) -> float:
    """By how much the log-probs of tokens that both name differ, in the mean; infinite where there are none."""
    first, second = dict(ranked(left)), dict(ranked(right))
    both = [token for token in first if token in second and np.isfinite(first[token])]
    return float(np.mean([abs(first[token] - second[token]) for token in both])) if both else np.inf


def _check_temperature(server: Server, at_one: Sequence[Place], at_own: Sequence[Place], temperature: float) -> None:
    """The log-odds of the two likeliest tokens go with 1 / temperature."""
    odds_one, odds_own = (np.array([_odds(place) for place in places[1:]]) for places in (at_one, at_own))
    expected = float(np.abs(odds_own - odds_one / temperature).mean())
    ignored = float(np.abs(odds_own - odds_one).mean())
    if expected > ignored:
        _refuse(
            server,
            f"it gives log-probs at temperature 1 where {temperature:g} is asked for",
            "write `temperature: 1.0`, or compute signals of another temperature with a local model",
        )


def _odds(place: Place) -> float:
    first, second = ranked(place)[:2]
    return first[1] - second[1]


def _refuse(server: Server, what: str, fix: str) -> NoReturn:
    raise RefusedError(f"this server cannot be the teacher: {what}", where=server.where, fix=fix)
