"""`remote_teacher` with a real vLLM: it grades as the model in its folder does, and is refused where it would not.

pip install -e '.[dev,vllm]'
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vllm_processes import OPTIONS, VllmProcess, running

from r1_plugins.remote_teacher import RemoteTeacher
from r1core.components import Policy
from r1core.errors import RefusedError
from r1core.testing.tasks import component, made
from r1core.types import TopLogprobs, TrainSequence

ON_CPU = {"use": "transformers", "device": "cpu"}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "initializer_range": 0.1,
    "tie_word_embeddings": True,
}
K = 12
PLAIN = ("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16", "--distributed-executor-backend", "uni")
GAP = 1e-4
"""Nats by which any log-probability may differ."""
QUESTION = ({"role": "user", "content": "sort n g h i"},)
TEXTS = (
    "<think> smallest g . next h . next i . next n .</think><answer> g h i n</answer>",
    "g h i n",
    "",
    "<think> next next next next</think>" * 12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("vllm")
    made(here / "model", component("policy", ON_CPU, here), component("source", "playground_corpus", here), LLAMA)
    return here


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    opened: Policy = component("policy", ON_CPU, folder).open(folder / "model", trainable=False)
    return opened


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[VllmProcess]:
    with running(folder / "model", 1, folder, options=(*PLAIN, "--max-logprobs", str(K))) as (started,):
        yield started


def teacher(server: VllmProcess, policy: Policy) -> RemoteTeacher:
    options: dict[str, Any] = {"endpoint": {"url": f"{server.url}/v1"}}
    found = RemoteTeacher(RemoteTeacher.Config.model_validate(options))
    found.sync(policy)
    return found


def asked(policy: Policy) -> list[TrainSequence]:
    prompt = policy.prompt_ids(QUESTION)
    ids = [np.concatenate([prompt, policy.completion_ids(text)]) for text in TEXTS]
    return [TrainSequence(ids=each, start=len(prompt), columns={}) for each in ids]


def assert_alike(found: list[TopLogprobs], expected: list[TopLogprobs]) -> None:
    """The same log-probs, place by place; two tokens that are as likely may have changed places."""
    for (ids, tops, own), (their_ids, their_tops, their_own) in zip(found, expected, strict=True):
        assert ids.shape == their_ids.shape
        np.testing.assert_allclose(tops, their_tops, atol=GAP)
        np.testing.assert_allclose(own, their_own, atol=GAP)
        for row, their_row, values in zip(ids, their_ids, tops, strict=True):
            clear = values > values[-1] + 2 * GAP if len(values) else np.array([], dtype=bool)
            assert set(row[clear]) <= set(their_row)


@pytest.mark.parametrize("k", [K, 3, 0])
def test_it_grades_as_the_model_in_its_folder(server: VllmProcess, policy: Policy, k: int) -> None:
    sequences = asked(policy)
    found = teacher(server, policy).score(sequences, top_k=k, temperature=1.0)
    expected = policy.top_logprobs(sequences, k=k, temperature=1.0)
    assert_alike(found, expected)
    assert sum(len(own) for _, _, own in found) > 60
    print("largest gap", max(float(np.abs(a[2] - b[2]).max()) for a, b in zip(found, expected, strict=True)))


def test_it_tells_whose_model_it_is(server: VllmProcess, policy: Policy, folder: Path) -> None:
    who = teacher(server, policy).identity()
    assert who["root"] == str(folder / "model")
    assert who["max_model_len"] == "512"


def test_more_log_probs_than_it_was_started_for_are_refused(server: VllmProcess, policy: Policy) -> None:
    with pytest.raises(RefusedError, match=rf"gives no {K + 1} log-probs(?s:.*)--max-logprobs {K + 1}"):
        teacher(server, policy).score(asked(policy), top_k=K + 1, temperature=1.0)


def test_another_temperature_is_refused_since_prompts_have_none(server: VllmProcess, policy: Policy) -> None:
    with pytest.raises(RefusedError, match=r"at temperature 1 where 0\.7 is asked for"):
        teacher(server, policy).score(asked(policy), top_k=4, temperature=0.7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*PLAIN, "--logprobs-mode", "raw_logits"), "these are no log-probs"),
        (OPTIONS, "does not tell its tokens' texts"),
    ],
)
def test_servers_started_otherwise_are_refused(
    folder: Path, policy: Policy, options: tuple[str, ...], said: str
) -> None:
    with running(folder / "model", 1, folder, options=options) as (started,), pytest.raises(RefusedError, match=said):
        teacher(started, policy).score(asked(policy), top_k=4, temperature=1.0)
