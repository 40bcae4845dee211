"""DeepSpeed's own configuration, made from the policy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1_plugins.deepspeed import DeepSpeedPolicy

MIB = 2**20


def settings(config: DeepSpeedPolicy.Config, *, ranks: int) -> dict[str, Any]:
    """The dictionary that `deepspeed.initialize` takes.

    Micro-batches are ours, cut by tokens, so DeepSpeed's counts of samples are placeholders: gradients are added up
    until `step` (`managed_gradient_accumulation: false`).
    """
    half = config.dtype == "bfloat16"
    zero: dict[str, Any] = {"stage": config.stage, "contiguous_gradients": config.stage > 0, "overlap_comm": False}
    elements = config.bucket_mib * MIB // (2 if half else 4)
    if config.stage > 0:
        zero |= {"reduce_bucket_size": elements, "allgather_bucket_size": elements}
    if config.stage == 3:
        zero |= {"stage3_prefetch_bucket_size": elements, "stage3_max_live_parameters": 10 * elements}
    if config.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": False}
    if config.offload == "weights":
        zero["offload_param"] = {"device": "cpu", "pin_memory": False}
    return {
        "train_batch_size": ranks,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": half, "check_grad_overflow": True},
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }
