"""Signals on disk: what goes in comes out, read by the row and never all at once, as exact as divergences need it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from r1core.errors import SetupError
from r1core.store import signals as stored
from r1core.store.signals import SignalRow, StoredSignals, bytes_of, write_about, write_signals
from r1core.types import Signal

GOLDEN_T = np.array([2.0, 1.0, 0.5, -1.0, -2.0])
GOLDEN_S = np.array([1.0, 1.5, 0.0, -0.5, -1.0])
GOLDEN_TOP_2 = 0.217111
"""Forward KL with the rest as one bucket, of the teacher's two likeliest of five tokens."""


def signal(tokens: int, k: int, *, start: int = 3, seed: int = 0, silent: int | None = None) -> Signal:
    """Random, but for what is silent: it holds nothing."""
    random = np.random.default_rng([seed, tokens, k])
    present = np.arange(tokens) != silent
    tops = np.sort(random.normal(-4, 2, (tokens, k)))[:, ::-1].astype(np.float32)
    return Signal(
        ids=random.integers(0, 150_000, tokens + start),
        start=start,
        top_ids=np.where(present[:, None], random.integers(0, 150_000, (tokens, k)), -1),
        top_logprobs=np.where(present[:, None], tops, -np.inf).astype(np.float32),
        logprobs=np.where(present, random.normal(-4, 2, tokens), np.nan).astype(np.float32),
        present=present,
    )


def rows(signals: list[Signal]) -> list[SignalRow]:
    return [SignalRow(id=f"p{number}", sample=number % 2, signal=each) for number, each in enumerate(signals)]


def assert_same(found: Signal, expected: Signal) -> None:
    for field in fields(Signal):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        if field.name != "start":
            assert ours.dtype == theirs.dtype, field.name
            assert ours.shape == theirs.shape, field.name


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    parts = [[signal(5, 4, silent=2), signal(1, 4), signal(9, 4, start=0)], [], [signal(7, 4, seed=1)]]
    for number, part in enumerate(parts):
        write_signals(tmp_path, rows(part), part=number)
    write_about(tmp_path, {"k": 4})
    found, wanted = StoredSignals(tmp_path), [each for part in parts for each in part]
    assert (len(found), dict(found.about)) == (4, {"k": 4})
    assert found.lengths.tolist() == [8, 4, 9, 10]
    for number in (3, 0, 2, 1, 0):
        assert_same(found[number], wanted[number])
    for number in (-1, 4):
        with pytest.raises(IndexError):
            found[number]


def test_of_the_tokens_alone_there_are_no_others(tmp_path: Path) -> None:
    write_signals(tmp_path, rows([signal(6, 0)]), part=0)
    assert StoredSignals(tmp_path)[0].top_ids.shape == (6, 0)
    assert_same(StoredSignals(tmp_path)[0], signal(6, 0))


def test_the_same_signals_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_signals(tmp_path / name, rows([signal(40, 8)] * 5), part=0) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_reader_holds_so_many_bytes_of_groups_and_reads_no_more_than_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(stored, "HELD_BYTES", 50_000)
    many = [signal(100, 8, seed=number) for number in range(64)]
    write_signals(tmp_path, rows(many), part=0)
    found = StoredSignals(tmp_path)
    assert len(found._groups) >= 32
    for number in np.random.default_rng(0).permutation(64):
        assert_same(found[int(number)], many[number])
        assert sum(table.nbytes for table in found._held.values()) <= 50_000 < bytes_of(64 * 103, 64 * 100, k=8) / 2
    assert len(found._held) > 2
    monkeypatch.setattr(stored, "HELD_BYTES", 1)
    assert_same(found[0], many[0])
    assert_same(found[63], many[63])
    assert len(found._held) == 1, "a text is given however large its group is"


def test_groups_that_fit_are_read_once_however_texts_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "GROUP_BYTES", 10_000)
    write_signals(tmp_path, rows([signal(100, 8, seed=number) for number in range(64)]), part=0)
    found = StoredSignals(tmp_path)
    groups = len(found._groups)
    reads, opened = [0], StoredSignals._open

    def counted(self: StoredSignals, path: Path, read: object) -> object:
        reads[0] += 1
        return opened(self, path, read)

    monkeypatch.setattr(StoredSignals, "_open", counted)
    for number in np.random.default_rng(0).permutation(64):
        found[int(number)]
    assert groups >= 32
    assert reads[0] == groups


def test_the_estimate_is_what_they_take_before_compression(tmp_path: Path) -> None:
    wanted = [signal(500, 16, start=50, seed=number) for number in range(20)]
    size = write_signals(tmp_path, rows(wanted), part=0).stat().st_size
    estimate = bytes_of(20 * 550, 20 * 500, k=16)
    assert 0.6 * estimate < size < 1.02 * estimate


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    path = write_signals(tmp_path, rows([signal(50, 8)]), part=0)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"part-00000\.parquet: cannot be read"):
        StoredSignals(tmp_path)[0]


# --- how exact -----------------------------------------------------------------------------------------


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum())


def top_2_divergence(teacher_top: np.ndarray, student: np.ndarray) -> float:
    """Forward KL on the first two tokens and one bucket for the rest."""
    ps, qs = np.exp(teacher_top.astype(np.float64)), np.exp(student[:2])
    ps, qs = np.append(ps, 1 - ps.sum()), np.append(qs, 1 - qs.sum())
    return float((ps * np.log(ps / qs)).sum())


def test_golden_values_survive_the_disk_in_single_precision_and_would_not_in_half(tmp_path: Path) -> None:
    teacher, student = log_softmax(GOLDEN_T), log_softmax(GOLDEN_S)
    made = Signal(
        ids=np.array([9, 0]),
        start=1,
        top_ids=np.array([[0, 1]]),
        top_logprobs=teacher[None, :2].astype(np.float32),
        logprobs=teacher[:1].astype(np.float32),
        present=np.array([True]),
    )
    write_signals(tmp_path, rows([made]), part=0)
    exact = top_2_divergence(teacher[:2], student)
    assert exact == pytest.approx(GOLDEN_TOP_2, abs=1e-6)
    kept = StoredSignals(tmp_path)[0].top_logprobs[0]
    assert top_2_divergence(kept, student) == pytest.approx(exact, abs=1e-7)
    assert abs(top_2_divergence(teacher[:2].astype(np.float16), student) - exact) > 1e-5


def test_half_precision_is_too_coarse_for_unlikely_tokens() -> None:
    """Why four bytes: with student = teacher, what is kept of the teacher must still give a divergence of nought."""
    random = np.random.default_rng(0)
    gaps = {np.float32: 0.0, np.float16: 0.0}
    for _ in range(200):
        teacher = np.sort(log_softmax(random.normal(0, 6, 50)))[::-1]
        for kind in gaps:
            kept = teacher[:8].astype(kind).astype(np.float64)
            ps, qs = np.exp(kept), np.exp(teacher[:8])
            ps, qs = np.append(ps, max(1 - ps.sum(), 1e-300)), np.append(qs, 1 - qs.sum())
            gaps[kind] = max(gaps[kind], abs(float((ps * np.log(ps / qs)).sum())))
    assert gaps[np.float32] < 1e-6
    assert gaps[np.float16] > 1e-5
