"""What verl 0.9.1 and TRL 1.16.0 say of a batch, by their own functions. Runs in the environment of bench_peers.py.

    <environment>/bin/python tests/benchmarks/peer_answers.py BATCHES.npz ANSWERS.npz

TRL has no function for its advantages: the lines that compute them are taken from its source and executed.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import trl.trainer.grpo_trainer as trl_grpo
import verl.trainer.ppo.core_algos as verl
from peer_batches import Arrays, lonely, token_rewards
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo.rollout_corr_helper import compute_offpolicy_metrics, compute_rollout_correction_weights
from verl.workers.config import ActorConfig

CLIP = {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.28}
BOUNDS = {
    "gspo": {"clip_ratio": 0.03, "clip_ratio_low": 0.03, "clip_ratio_high": 0.04},
    "geo_mean": {"clip_ratio": 0.4, "clip_ratio_low": 0.4, "clip_ratio_high": 0.4},
}


def tensors(batch: Arrays) -> Any:
    return SimpleNamespace(**{name: torch.from_numpy(array.copy()) for name, array in batch.items()})


def ids(batch: Arrays) -> Any:
    return np.array([f"g{int(g)}" for g in batch["group"]], dtype=object)


# --- verl ------------------------------------------------------------------------------------------


def verl_advantages(batch: Arrays) -> dict[str, Any]:
    """(B, T) of each estimator; a last group of one where the estimator takes one."""
    t, one = tensors(batch), lonely(batch)
    plain, charged = (torch.from_numpy(token_rewards(batch, penalised=p)) for p in (False, True))
    config = AlgoConfig(adv_estimator="gae", gamma=0.97, lam=0.9)
    by_group = {
        "grpo": verl.compute_grpo_outcome_advantage,
        "rloo": verl.compute_rloo_outcome_advantage,
        "opo": verl.compute_opo_outcome_advantage,
        "gpg": verl.compute_gpg_outcome_advantage,
        "reinforce_pp_baseline": verl.compute_reinforce_plus_plus_baseline_outcome_advantage,
    }
    found = {name: f(plain.clone(), t.mask, ids(one))[0] for name, f in by_group.items()}
    found["dr_grpo"] = verl.compute_grpo_outcome_advantage(
        plain.clone(), t.mask, ids(one), norm_adv_by_std_in_grpo=False
    )[0]
    found["pass_at_k"] = verl.compute_grpo_passk_outcome_advantage(
        plain.clone(), t.mask, ids(batch), config={"norm_adv_by_std_in_grpo": True}
    )[0]
    found["gdpo"] = verl.compute_gdpo_outcome_advantage(
        plain.clone(),
        t.mask,
        ids(batch),
        config={"gdpo_reward_keys": ["one", "two"]},
        non_tensor_batch={"one": batch["parts"][0], "two": batch["parts"][1]},
        batch={"prompts": torch.zeros(len(t.mask), 1), "attention_mask": torch.cat([t.mask[:, :1], t.mask], 1).long()},
    )[0]
    found["reinforce_pp"] = verl.compute_reinforce_plus_plus_outcome_advantage(charged, t.mask, config=config)[0]
    found["remax"] = verl.compute_remax_outcome_advantage(charged, t.greedy, t.mask)[0]
    found["gae"], found["gae_returns"] = verl.compute_gae_advantage_return(charged, t.values, t.mask, 0.97, 0.9)
    return {f"advantage {name}": values * t.mask for name, values in found.items()}


def verl_losses(batch: Arrays) -> dict[str, Any]:
    """Value and gradient (B, T) of each loss."""
    found: dict[str, Any] = {}
    for name, key, mode, weighed in (
        ("vanilla", "token_advantages", "token-mean", False),
        ("vanilla", "token_advantages", "seq-mean-token-mean", False),
        ("vanilla", "token_advantages", "seq-mean-token-sum-norm", False),
        ("vanilla", "token_advantages", "token-mean", True),
        ("gspo", "advantages", "token-mean", False),
        ("gspo", "advantages", "seq-mean-token-mean", True),
        ("cispo", "token_advantages", "token-mean", True),
        ("sapo", "token_advantages", "seq-mean-token-mean", True),
        ("gpg", "token_advantages", "token-mean", True),
        ("geo_mean", "advantages", "", False),
    ):
        t = tensors(batch)
        new = t.new.requires_grad_()
        options = {**CLIP, **BOUNDS.get(name, {})}
        config = ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=1, **options)
        weights = compute_rollout_correction_weights(t.old - t.sampler, t.mask, "token", 1.1)[0] if weighed else None
        loss, _ = verl.get_policy_loss_fn(name)(
            t.old, new, getattr(t, key), t.mask, mode, config, rollout_is_weights=weights
        )
        loss.backward()
        label = f"loss {name} {mode}{' with TIS' if weighed else ''}".replace("  ", " ").strip()
        found[label], found[f"{label}: gradient"] = loss.detach(), new.grad
    return found


def verl_rest(batch: Arrays) -> dict[str, Any]:
    """KL estimators, importance weights, mismatch, the critic's loss."""
    t = tensors(batch)
    found: dict[str, Any] = {}
    for name in ("k1", "k2", "k3", "k3+"):
        new = t.new.clone().requires_grad_()
        values = verl.kl_penalty(new, t.ref, name)
        (values * t.mask).sum().backward()
        found[f"kl {name}"], found[f"kl {name}: gradient"] = values.detach() * t.mask, new.grad * t.mask
    log_ratio = (t.old - t.sampler) * t.mask
    for level, bounds in (("token", 1.1), ("sequence", 1.1), ("token", "0.8_1.2"), ("sequence", "0.5_2")):
        weights, told = compute_rollout_correction_weights(log_ratio, t.mask, level, bounds)
        found[f"importance {level} {bounds}"] = weights * t.mask
    _, told = compute_rollout_correction_weights(log_ratio, t.mask, "token", 1e9)
    found["mismatch effective sample size"] = torch.tensor(told["rollout_is_eff_sample_size"])
    metrics = compute_offpolicy_metrics(t.old, t.sampler, t.mask)
    found["mismatch kl"], found["mismatch k3_kl"] = torch.tensor(metrics["kl"]), torch.tensor(metrics["k3_kl"])
    new = t.values_new.requires_grad_()
    loss, _ = verl.compute_value_loss(new, t.returns, t.values, t.mask, 0.2, "token-mean")
    loss.backward()
    found["value loss"], found["value loss: gradient"] = loss.detach(), new.grad
    return found


# --- TRL -------------------------------------------------------------------------------------------


def trl_advantages(batch: Arrays) -> dict[str, Any]:
    """(B, T), by the lines of GRPOTrainer that compute them."""
    t = tensors(batch)
    source = textwrap.dedent(inspect.getsource(trl_grpo.GRPOTrainer._generate_and_score_completions))
    lines = re.search(r"(?s)\n( +if self\.multi_objective_aggregation == .*?)\n +# Slice to keep only", source)
    assert lines, "TRL's advantages have moved"
    code = compile(textwrap.dedent(lines[1]), "TRL's advantages", "exec")
    found = {}
    for name, aggregation, scale in (
        ("grpo", "sum_then_normalize", "group"),
        ("dr_grpo", "sum_then_normalize", "none"),
        ("gdpo", "normalize_then_sum", "group"),
    ):
        self = SimpleNamespace(
            multi_objective_aggregation=aggregation,
            scale_rewards=scale,
            reward_weights=torch.ones(2, dtype=torch.float64),
            reward_funcs=[0, 1],
        )
        scope = {
            "self": self,
            "torch": torch,
            "nanstd": trl_grpo.nanstd,
            "rewards_per_func": t.parts.T.contiguous(),
            "num_generations": int((batch["group"] == 0).sum()),
            "unscorable_mask": torch.zeros(len(t.mask), dtype=torch.bool),
            "device": "cpu",
        }
        exec(code, scope)
        found[f"advantage {name}"] = scope["advantages"][:, None] * t.mask
    return found


def trl_losses(batch: Arrays) -> dict[str, Any]:
    """Value and gradient (B, T) of `_compute_loss`, called without a trainer."""
    found: dict[str, Any] = {}
    for loss_type, level, beta, weighed, options in (
        ("dapo", "token", 0.0, False, {}),
        ("dapo", "token", 0.1, False, {}),
        ("dapo", "token", 0.1, True, {}),
        ("grpo", "token", 0.0, False, {}),
        ("dr_grpo", "token", 0.0, False, {}),
        ("grpo", "sequence", 0.0, False, {"epsilon_low": 0.03, "epsilon_high": 0.04}),
        ("cispo", "token", 0.0, False, {"epsilon_high": 5.0}),
        ("sapo", "token", 0.0, False, {}),
        ("dapo with entropy", "token", 0.0, False, {}),
    ):
        t = tensors(batch)
        new = t.new.requires_grad_()
        bonus = 0.01 if loss_type.endswith("entropy") else 0.0
        stub = _trainer(loss_type.split()[0], level, beta, new, t.values.abs(), bonus, t.mask.shape[1], options)
        stub.use_vllm = weighed
        inputs = {
            "prompt_ids": torch.zeros(len(t.mask), 1, dtype=torch.long),
            "prompt_mask": torch.ones(len(t.mask), 1, dtype=torch.long),
            "completion_ids": torch.zeros(t.mask.shape, dtype=torch.long),
            "completion_mask": t.mask,
            "advantages": t.advantages[:, 0],
            "old_per_token_logps": t.old,
            "ref_per_token_logps": t.ref,
            "num_items_in_batch": t.mask.sum(),
            "importance_sampling_ratio": (t.old - t.sampler).exp().clamp(max=1.1),
        }
        loss = trl_grpo.GRPOTrainer._compute_loss(stub, None, inputs)
        loss.backward()
        label = f"loss {loss_type} {level}{f' beta {beta}' if beta else ''}{' with TIS' if weighed else ''}"
        found[label], found[f"{label}: gradient"] = loss.detach(), new.grad
    return found


def _trainer(
    loss_type: str, level: str, beta: float, new: Any, entropies: Any, bonus: float, width: int, options: Any
) -> Any:
    """As much of a GRPOTrainer as its loss reads."""
    return SimpleNamespace(
        args=SimpleNamespace(
            delta=None,
            use_bias_correction_kl=True,
            sapo_temperature_pos=1.0,
            sapo_temperature_neg=1.05,
            steps_per_generation=1,
            entropy_target=None,
        ),
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(
            num_processes=1,
            sync_gradients=True,
            gather=lambda x: x,
            gather_for_metrics=lambda x: x,
            reduce=lambda x, reduction: x,
        ),
        _metrics=defaultdict(lambda: defaultdict(list)),
        beta=beta,
        epsilon_low=options.get("epsilon_low", 0.2),
        epsilon_high=options.get("epsilon_high", 0.28),
        loss_type=loss_type,
        importance_sampling_level=level,
        top_entropy_quantile=1.0,
        aux_loss_enabled=False,
        off_policy_mask_threshold=None,
        use_vllm=False,
        vllm_importance_sampling_correction=True,
        current_gradient_accumulation_steps=1,
        max_completion_length=width,
        _entropy_bonus_enabled=bool(bonus),
        use_adaptive_entropy=False,
        entropy_coef=bonus,
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (new, entropies, None),
    )


def main() -> None:
    given, found = np.load(sys.argv[1]), {}
    batches: dict[str, Arrays] = defaultdict(dict)
    for key in given.files:
        number, name = key.split("/", 1)
        batches[number][name] = given[key]
    for number, batch in batches.items():
        asked = {"verl": (verl_advantages, verl_losses, verl_rest), "trl": (trl_advantages, trl_losses)}
        for peer, functions in asked.items():
            for function in functions:
                for label, value in function(batch).items():
                    found[f"{number}/{peer}/{label}"] = value.double().numpy()
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
