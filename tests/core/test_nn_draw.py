"""The draw: each random number from (key, token number) alone; each token from the distribution it names."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1core.nn.draw import Settings, draw, uniforms

CPU = torch.device("cpu")
KEYS = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 5000)), min_size=2, max_size=30)


def numbers(pairs: list[tuple[int, int]]) -> np.ndarray:
    keys, steps = zip(*pairs, strict=True)
    return uniforms(np.array(keys, dtype=np.uint64), np.array(steps, dtype=np.int64))


def settings(rows: int, temperature: float = 1.0, top_p: float = 1.0) -> Settings:
    return Settings(np.full(rows, temperature, np.float32), np.full(rows, top_p, np.float32), CPU)


@given(KEYS)
def test_a_number_depends_on_its_key_and_step_alone(pairs: list[tuple[int, int]]) -> None:
    together = numbers(pairs)
    alone = [numbers([pair])[0] for pair in pairs]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < 1)).all()


def mix(z: int) -> int:
    """The finaliser of splitmix64 in plain integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


@given(KEYS)
def test_the_numbers_are_those_of_splitmix64(pairs: list[tuple[int, int]]) -> None:
    wanted = [(mix((mix(key) + (step + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24 for key, step in pairs]
    assert numbers(pairs).tolist() == wanted


def test_the_numbers_are_fixed_for_ever() -> None:
    wanted = [0.8833107948303223, 0.4315279722213745, 0.7497482299804688, 0.7741445302963257]
    assert numbers([(0, 0), (0, 1), (1, 0), (2**64 - 1, 7)]).tolist() == wanted


def test_numbers_are_uniform_over_keys_and_over_steps() -> None:
    over_keys = numbers([(key, 3) for key in range(20_000)])
    over_steps = numbers([(3, step) for step in range(20_000)])
    for sample in (over_keys, over_steps):
        shares = np.histogram(sample, bins=10, range=(0, 1))[0] / len(sample)
        assert np.abs(shares - 0.1).max() < 0.01
    assert abs(np.corrcoef(over_keys[:-1], over_keys[1:])[0, 1]) < 0.03


def test_shares_of_draws_are_the_probabilities() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0, -float("inf"), -1.0]]).expand(20_000, 5)
    tokens, logprobs = draw(logits, torch.from_numpy(numbers([(key, 0) for key in range(20_000)])), settings(20_000))
    wanted = torch.softmax(logits[0], dim=0)
    assert (torch.bincount(tokens, minlength=5) / 20_000 - wanted).abs().max() < 0.012
    torch.testing.assert_close(logprobs, wanted[tokens].log())


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 1.0, -torch.inf, 1.0, -torch.inf]]).expand(4, 5)
    tokens, _ = draw(logits, torch.tensor([0.0, 0.25, 0.5, 1 - 2.0**-24]), settings(4))
    assert tokens.tolist() == [1, 1, 3, 3]


def test_temperature_scales_the_distribution_that_logprobs_are_of() -> None:
    logits = torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    tokens, logprobs = draw(logits, torch.linspace(0, 0.99, 8), settings(8, temperature=0.5))
    wanted = torch.log_softmax(logits / 0.5, dim=-1).gather(1, tokens[:, None]).squeeze(1)
    torch.testing.assert_close(logprobs, wanted)


def test_greedy_takes_the_likeliest_and_reports_it_at_temperature_one() -> None:
    logits = torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    tokens, logprobs = draw(logits, torch.linspace(0, 0.99, 8), settings(8, temperature=0.0, top_p=0.1))
    assert tokens.tolist() == logits.argmax(1).tolist()
    torch.testing.assert_close(logprobs, torch.log_softmax(logits, dim=-1).amax(1))


@given(st.floats(0.05, 0.999), st.floats(0, 0.9999))
def test_top_p_draws_from_the_smallest_set_that_holds_the_mass(top_p: float, uniform: float) -> None:
    probs = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05])
    tokens, logprobs = draw(probs.log()[None], torch.tensor([uniform]), settings(1, top_p=top_p))
    held = int((probs.cumsum(0) < top_p - 1e-6).sum()) + 1
    assert int(tokens) < held
    torch.testing.assert_close(logprobs.exp(), probs[tokens] / probs[:held].sum())


def test_rows_of_one_batch_keep_their_own_settings() -> None:
    logits = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
    mixed = Settings(np.array([0, 1, 0.7], np.float32), np.array([1, 1, 0.5], np.float32), CPU)
    uniform = torch.tensor([0.9, 0.8, 0.7])
    tokens, logprobs = draw(logits, uniform, mixed)
    for row, (temperature, top_p) in enumerate(((0.0, 1.0), (1.0, 1.0), (0.7, 0.5))):
        alone = draw(logits[row : row + 1], uniform[row : row + 1], settings(1, temperature, top_p))
        assert int(tokens[row]) == int(alone[0])
        torch.testing.assert_close(logprobs[row], alone[1][0])
