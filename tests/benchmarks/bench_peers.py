"""Our estimators, objectives, KL, importance weights and losses against verl 0.9.1 and TRL 1.16.0, by their own code.

    python tests/benchmarks/bench_peers.py [--environment DIR] [--batches 20]

It makes a virtual environment for the two, asks their functions about random batches there
(peer_answers.py), computes the same with ours under the matching `numerics`, and prints the largest absolute
difference of each, values and gradients. Exit 1 when one is above 1e-6. The environment takes about 2 GB (with torch's
CPU build) and some minutes, once. Nothing of ours is imported there, nothing of theirs here: arrays go between.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_batches import Arrays, lonely, random_batch

from r1_plugins.rl import Rl
from r1_plugins.rl.critic import ValueLoss
from r1_plugins.rl.importance import SAMPLER, Importance, mismatch
from r1_plugins.rl.kl import Kl, divergence
from r1_plugins.rl.loss import PolicyLoss
from r1core.batching import weighted
from r1core.nn import TokenView
from r1core.plugins import PluginHost
from r1core.types import GroupSignals, TrainSequence

BOUND = 1e-6
FIRST = ("torch==2.13.0", "transformers>=5.5.3,<5.11", "tensordict<=0.10", "ray", "omegaconf", "hydra-core")
MORE = ("codetiming", "peft", "accelerate", "datasets", "cachetools", "numpy>=2", "torchdata")
PEERS = ("verl==0.9.1", "trl==1.16.0")
HERE = Path(__file__).parent
HOST = PluginHost.discover(allow=())
CLIP = {"clip_low": 0.2, "clip_high": 0.28}

Numbers = dict[str, Any]

# --- ours: advantages --------------------------------------------------------------------------------


def config(**options: Any) -> Any:
    return Rl.Config.model_validate({"samples": 4, **options})


def groups_of(batch: Arrays, *, penalised: bool = False) -> list[GroupSignals]:
    """The batch's groups with all that an estimator may ask for."""
    found = []
    for group in np.unique(batch["group"]):
        rows = np.flatnonzero(batch["group"] == group)
        lengths = batch["mask"][rows].sum(1).astype(np.int64)
        cut = [slice(0, length) for length in lengths]
        penalties = tuple(batch["penalties"][row, own] for row, own in zip(rows, cut, strict=True))
        charged = np.array([own.sum() for own in penalties]) if penalised else 0.0
        found.append(
            GroupSignals(
                rewards_G=batch["rewards"][rows] - charged,
                lengths_G=lengths,
                components={"one": batch["parts"][0, rows], "two": batch["parts"][1, rows]},
                greedy=float(batch["greedy"][rows[0]]),
                critic_GT=tuple(batch["values"][row, own] for row, own in zip(rows, cut, strict=True)),
                penalties_GT=penalties if penalised else None,
            )
        )
    return found


def table(batch: Arrays, arrays: list[list[Any]]) -> Any:
    """(B, T), 0 on padding."""
    found = np.zeros_like(batch["mask"])
    for row, own in enumerate(sample for group in arrays for sample in group):
        length = int(batch["mask"][row].sum())
        found[row, :length] = own
    return found


def advantages(batch: Arrays, numerics: str) -> Numbers:
    plain = groups_of(lonely(batch) if numerics == "verl" else batch)
    whole, charged = groups_of(batch), groups_of(batch, penalised=True)
    asked: dict[str, tuple[dict[str, Any], list[GroupSignals]]] = {"grpo": ({}, plain), "dr_grpo": ({}, plain)}
    asked["gdpo"] = ({}, whole)
    if numerics == "verl":
        asked |= {name: ({}, plain) for name in ("rloo", "opo", "gpg", "reinforce_pp_baseline")}
        asked |= {"pass_at_k": ({}, whole), "remax": ({}, charged), "reinforce_pp": ({"gamma": 0.97}, charged)}
        asked["gae"] = ({"gamma": 0.97, "lam": 0.9}, charged)
    found = {}
    for name, (options, groups) in asked.items():
        estimator = built("advantage", config(numerics=numerics, advantage={"use": name, **options}).advantage)
        batchwise = estimator.scope == "batch"
        arrays = estimator(groups) if batchwise else [estimator([group])[0] for group in groups]
        found[f"advantage {name}"] = table(batch, arrays)
        if name == "gae":
            found["advantage gae_returns"] = table(batch, estimator.returns(groups))
    return found


def built(kind: str, use: Any) -> Any:
    cls = HOST.find(kind, use.use)
    return cls(cls.Config.model_validate(use.options))


# --- ours: losses ------------------------------------------------------------------------------------


def rows_of(batch: Arrays, advantage: str) -> list[TrainSequence]:
    names = {"new": "new", "old": "old_logprob", "ref": "ref_logprob", advantage: "advantage", "values": "value"}
    names |= {"sampler": SAMPLER, "returns": "return", "values_new": "score"}
    rows = []
    for row, mask in enumerate(batch["mask"]):
        length = int(mask.sum())
        columns = {ours: batch[theirs][row, :length] for theirs, ours in names.items()}
        rows.append(TrainSequence(ids=np.arange(length + 1), start=1, columns=columns))
    return rows


def loss_of(batch: Arrays, advantage: str, c: Any, *, longest: int, read: str = "new", loss: Any = None) -> Any:
    """(value, gradient (B, T)) of the step's loss under a config; `loss` in place of the policy's."""
    rows = rows_of(batch, advantage)
    if c.importance.mode != "none":
        rows = [
            TrainSequence(
                ids=row.ids,
                start=1,
                columns={
                    **row.columns,
                    "importance": c.importance.weights(row.columns["old_logprob"] - row.columns[SAMPLER]),
                },
            )
            for row in rows
        ]
    rows = weighted(rows, c.aggregation, longest=longest)
    columns = {name: torch.from_numpy(np.concatenate([row.columns[name] for row in rows])) for name in rows[0].columns}
    lengths = torch.tensor([len(row.ids) - 1 for row in rows])
    given = {"logprob": columns.pop("new").requires_grad_(), "score": columns.pop("score").requires_grad_()}
    given["entropy"] = columns["value"].abs()
    view = TokenView(
        columns=columns,
        given=given,
        sequence=torch.repeat_interleave(torch.arange(len(rows)), lengths),
        targets=torch.zeros(int(lengths.sum()), dtype=torch.long),
    )
    kl = c.kl if c.kl.in_loss else None
    whole = loss or PolicyLoss(built("objective", c.objective), kl, c.entropy.coefficient)
    value = (columns["weight"] * whole(view)).sum()
    value.backward()
    gradient = np.zeros_like(batch["mask"])
    gradient[batch["mask"] > 0] = given["logprob" if read == "new" else "score"].grad.numpy()
    return value.item(), gradient


def losses(batch: Arrays, numerics: str) -> Numbers:
    width = batch["mask"].shape[1]
    found: Numbers = {}
    for label, advantage, options in VERL if numerics == "verl" else TRL:
        c = config(numerics=numerics, **options)
        found[f"loss {label}"], found[f"loss {label}: gradient"] = loss_of(batch, advantage, c, longest=width)
    return found


TIS = {"importance": {"mode": "truncate", "level": "token", "high": 1.1}}
SMALL = {"use": "gspo", "clip_low": 0.03, "clip_high": 0.04}
PPO = {"objective": {"use": "ppo_clip", **CLIP}}
VERL: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("vanilla token-mean", "token_advantages", PPO),
    ("vanilla seq-mean-token-mean", "token_advantages", {**PPO, "aggregation": "sequence_mean"}),
    ("vanilla seq-mean-token-sum-norm", "token_advantages", {**PPO, "aggregation": "constant"}),
    ("vanilla token-mean with TIS", "token_advantages", {**PPO, **TIS}),
    ("gspo token-mean", "advantages", {"objective": SMALL}),
    ("gspo seq-mean-token-mean with TIS", "advantages", {"objective": SMALL, "aggregation": "sequence_mean", **TIS}),
    ("cispo token-mean with TIS", "token_advantages", {"objective": {"use": "cispo", **CLIP}, **TIS}),
    ("sapo seq-mean-token-mean with TIS", "token_advantages", {"objective": "sapo", **TIS}),
    ("gpg token-mean with TIS", "token_advantages", {"objective": "policy_gradient", **TIS}),
    ("geo_mean", "advantages", {"objective": "gmpo"}),
)
TRL: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("dapo token", "advantages", PPO),
    ("dapo token beta 0.1", "advantages", {**PPO, "kl": {"coefficient": 0.1}}),
    ("dapo token beta 0.1 with TIS", "advantages", {**PPO, "kl": {"coefficient": 0.1}, **TIS}),
    ("grpo token", "advantages", {**PPO, "aggregation": "sequence_mean"}),
    ("dr_grpo token", "advantages", {**PPO, "aggregation": "constant"}),
    ("grpo sequence", "advantages", {"objective": SMALL}),
    ("cispo token", "advantages", {"objective": "cispo"}),
    ("sapo token", "advantages", {"objective": "sapo"}),
    ("dapo with entropy token", "advantages", {**PPO, "entropy": {"coefficient": 0.01}}),
)

# --- ours: the rest ----------------------------------------------------------------------------------


def rest(batch: Arrays) -> Numbers:
    """What verl_rest is asked."""
    mask, found = batch["mask"], dict[str, Any]()
    for theirs, ours in (("k2", "k2"), ("k3", "k3"), ("k3+", "k3_corrected")):
        new = torch.from_numpy(batch["new"].copy()).requires_grad_()
        values = divergence(ours, new, torch.from_numpy(batch["ref"]), new.detach())  # type: ignore[arg-type]
        (values * torch.from_numpy(mask)).sum().backward()
        assert new.grad is not None
        found[f"kl {theirs}"], found[f"kl {theirs}: gradient"] = values.detach().numpy() * mask, new.grad.numpy()
    unmoved = rows_of({**batch, "old": batch["new"]}, "advantages")
    found["kl k1"] = table(batch, [Kl(coefficient=1.0, placement="reward", estimator="k1").penalties(unmoved)])
    rows = rows_of(batch, "advantages")
    for name, options in (
        ("token 1.1", {"mode": "truncate", "level": "token", "high": 1.1}),
        ("sequence 1.1", {"mode": "truncate", "level": "sequence", "high": 1.1}),
        ("token 0.8_1.2", {"mode": "mask", "level": "token", "low": 0.8, "high": 1.2}),
        ("sequence 0.5_2", {"mode": "mask", "level": "sequence", "low": 0.5, "high": 2.0}),
    ):
        importance = Importance.model_validate(options)
        weights = [importance.weights(row.columns["old_logprob"] - row.columns[SAMPLER]) for row in rows]
        found[f"importance {name}"] = table(batch, [weights])
    told = mismatch(rows)
    found["mismatch effective sample size"] = told["sampler/rollout_is_eff_sample_size"]
    found["mismatch kl"], found["mismatch k3_kl"] = told["sampler/kl"], told["sampler/k3_kl"]
    width = mask.shape[1]
    found["value loss"], found["value loss: gradient"] = loss_of(
        batch, "advantages", config(), longest=width, read="score", loss=ValueLoss(0.2)
    )
    return found


# --- theirs ------------------------------------------------------------------------------------------


def environment(place: Path) -> Path:
    """The interpreter of the peers' environment, made if it is not there."""
    python = place / "bin" / "python"
    ready = place / "ready"
    if not ready.exists():
        print(f"making the peers' environment in {place}", flush=True)
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *FIRST, *MORE], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *PEERS], check=True)
        ready.write_text("\n".join(PEERS), encoding="utf-8")
    return python


def answers(python: Path, batches: list[Arrays]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "batches.npz", Path(folder) / "answers.npz"
        np.savez(asked, **{f"{n}/{key}": array for n, batch in enumerate(batches) for key, array in batch.items()})  # type: ignore[arg-type]
        script = HERE / "peer_answers.py"
        quiet = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "VERL_LOGGING_LEVEL": "ERROR"}
        done = subprocess.run([python, script, asked, told], capture_output=True, text=True, check=False, env=quiet)
        if done.returncode:
            sys.exit(f"the peers could not be asked:\n{done.stderr[-3000:]}")
        return dict(np.load(told))


def ours(batch: Arrays) -> Iterator[tuple[str, Any]]:
    for peer in ("verl", "trl"):
        parts = [advantages(batch, peer), losses(batch, peer), *([rest(batch)] if peer == "verl" else [])]
        for part in parts:
            yield from ((f"{peer}/{label}", value) for label, value in part.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    default = Path(tempfile.gettempdir()) / "r1core-peers"
    parser.add_argument("--environment", type=Path, default=default, help=f"where the peers live ({default})")
    parser.add_argument("--batches", type=int, default=20, help="random batches")
    chosen = parser.parse_args()
    batches = [random_batch(seed) for seed in range(chosen.batches)]
    theirs = answers(environment(chosen.environment), batches)
    worst: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for number, batch in enumerate(batches):
        for label, value in ours(batch):
            wanted = theirs.pop(f"{number}/{label}")
            apart = float(np.abs(np.asarray(value) - wanted).max())
            worst[label] = max(worst.get(label, 0.0), apart if np.isfinite(apart) else np.inf)
            sizes[label] = max(sizes.get(label, 0.0), float(np.abs(wanted).max()))
    print(f"{'':6}{'what':50}{'largest value':>14}{'difference':>12}")
    for label, apart in worst.items():
        peer, _, what = label.partition("/")
        print(f"{peer:6}{what:50}{sizes[label]:14.4g}{apart:12.1e}{'  ABOVE' if apart > BOUND else ''}")
    above = [label for label, apart in worst.items() if apart > BOUND]
    unasked = sorted({key.partition("/")[2] for key in theirs} - {"verl/kl k1: gradient"})
    print(f"{len(worst)} numbers on {len(batches)} batches, {len(above)} above {BOUND:g}")
    if unasked:
        print("asked of a peer and not of us:", ", ".join(unasked))
    return 1 if above or unasked else 0


if __name__ == "__main__":
    sys.exit(main())
