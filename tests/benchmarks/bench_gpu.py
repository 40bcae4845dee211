"""Sampling and policy updates on one GPU: tokens a second, model FLOPs utilisation, peak memory, beside the peers.

    python tests/benchmarks/bench_gpu.py --sizes 0.5B 1.5B --output bench_gpu.txt
    python tests/benchmarks/bench_gpu.py --sizes tiny --rows 4 --length 64       # does it run? (any machine)

Qwen2 shapes with random weights. `sample`: prompts of 128 tokens, every answer at its full length (no end token), ours
against `model.generate`, in bfloat16. `update`: one GRPO step over the same recorded answers: ours on `transformers`
and `deepspeed`, and TRL's GRPOTrainer at its defaults with its rollouts replaced by these. Each row is a process of
its own. GiB is the peak with weights and optimizer, `beyond rest` what an update adds to what stays between two. MFU
counts 6 FLOPs a parameter and token and the attention, no recomputed activations.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "0.5B": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "intermediate_size": 4864},
    "1.5B": {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "intermediate_size": 8960},
}
VOCABULARY, PROMPT, NEVER = 151_936, 128, 1
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12}
"""Dense bfloat16, as the vendor states them."""
UPDATES = {
    "ours, transformers": {"engine": "transformers"},
    "ours, transformers, checkpointed": {"engine": "transformers", "gradient_checkpointing": True},
    "ours, deepspeed zero 1": {"engine": "deepspeed", "stage": 1, "gradient_checkpointing": False},
    "ours, deepspeed zero 1, checkpointed": {"engine": "deepspeed", "stage": 1},
    "ours, deepspeed zero 2, checkpointed": {"engine": "deepspeed", "stage": 2},
    "ours, deepspeed zero 3, checkpointed": {"engine": "deepspeed", "stage": 3},
    "trl GRPOTrainer": {"engine": "trl"},
}
STEPS = 3
"""Timed, after one that warms up."""


def main() -> None:
    """Make the models, run every row, print the table."""
    args = _arguments()
    if args.row:
        print("ROW " + json.dumps(run(json.loads(args.row))))
        return
    lines = [_machine()]
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            model = Path(folder) / size
            make_model(model, SHAPES[size])
            todo = {"sample: native against generate": {"engine": "sample"}, **UPDATES}
            for name in [name for name in todo if any(word in name for word in args.only)]:
                job = {**todo[name], "size": size, "model": str(model), "rows": args.rows, "length": args.length}
                lines.append(f"{size:5} {name:38} {_told(_apart(job))}")
                print(lines[-1], flush=True)
                if args.output:
                    args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["0.5B", "1.5B"], choices=list(SHAPES))
    parser.add_argument("--rows", type=int, default=32, help="answers of an update")
    parser.add_argument("--length", type=int, default=1024, help="tokens of an answer with its prompt")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name has one of these words")
    parser.add_argument("--output", type=Path, help="also write the table here, as it grows")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    return parser.parse_args()


def _machine() -> str:
    import torch
    import transformers

    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{where}, torch {torch.__version__}, transformers {transformers.__version__}, vocabulary {VOCABULARY}"


def _apart(job: dict[str, Any]) -> dict[str, Any]:
    """The row, by a process of its own, so that its memory is its own."""
    done = subprocess.run([sys.executable, __file__, "--row", json.dumps(job)], capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("ROW ")]
    if not rows:
        sys.stderr.write(done.stderr[-3000:] + "\n")
        return {"failed": (done.stderr.strip().splitlines() or ["nothing said"])[-1][:150]}
    found: dict[str, Any] = json.loads(rows[-1][4:])
    return found


def _told(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"FAILED: {row['failed']}"
    return "  ".join(
        f"{key} {value:,.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
    )


def make_model(folder: Path, shape: dict[str, int]) -> None:
    """A model folder of this shape with a tokenizer of single words, which nobody asks for a text."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from r1core.nn import create_model

    core = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": NEVER, "a": 2}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped: Any = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")
    wrapped.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    wrapped.save_pretrained(folder)
    architecture: dict[str, Any] = {**shape, "model_type": "qwen2", "num_key_value_heads": 2, "vocab_size": VOCABULARY}
    architecture |= {"tie_word_embeddings": True, "max_position_embeddings": 4096}
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):  # a billion random numbers take a CPU minutes
        create_model(folder, architecture, seed=0)


# --- one row, in its own process -------------------------------------------------------------------


def run(job: dict[str, Any]) -> dict[str, Any]:
    """What a row measured."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if job["engine"] == "sample":
        return sample(job)
    return by_trl(job) if job["engine"] == "trl" else by_us(job)


def _synchronized() -> float:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak_gib() -> float:
    import resource

    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def sample(job: dict[str, Any]) -> dict[str, Any]:
    """New tokens a second of our decoder and of the library's `generate`, alternately; 8 answers to each prompt."""
    import torch

    from r1core.nn import Decoder, load_lm
    from r1core.types import Problem, SampleRequest

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = load_lm(Path(job["model"]), dtype=torch.bfloat16).to(device).eval()
    prompts = np.random.default_rng(0).integers(2, VOCABULARY, (job["rows"], PROMPT))
    new = job["length"] // 2
    requests = [
        SampleRequest(
            problem=Problem(id=str(number)),
            prompt_ids=prompt,
            keys=tuple(8 * number + sample for sample in range(8)),
            samples=tuple(range(8)),
            max_new_tokens=new,
        )
        for number, prompt in enumerate(prompts)
    ]
    decoder = Decoder(module, ends=[], max_rows=8 * job["rows"], compact_at=0.25)
    ids = torch.from_numpy(prompts).to(device)
    seconds: dict[str, list[float]] = {"ours": [], "generate": []}
    for turn in range(3):
        for who in seconds:
            started = _synchronized()
            with torch.no_grad():
                if who == "ours":
                    count = sum(len(found.ids) for found in decoder.decode(requests))
                else:
                    found = module.generate(
                        ids, do_sample=True, top_k=0, num_return_sequences=8, min_new_tokens=new, max_new_tokens=new,
                        eos_token_id=NEVER, pad_token_id=0,
                    )  # fmt: skip
                    count = found.shape[0] * (found.shape[1] - PROMPT)
            assert count == 8 * job["rows"] * new
            if turn:
                seconds[who].append(_synchronized() - started)
    rate = {who: count / min(each) for who, each in seconds.items()}
    return {
        "ours tokens/s": rate["ours"],
        "generate tokens/s": rate["generate"],
        "ratio": rate["ours"] / rate["generate"],
        "rows": 8 * job["rows"],
        "new": new,
        "GiB": _peak_gib(),
    }


def by_us(job: dict[str, Any]) -> dict[str, Any]:
    """One policy of ours: the seconds of its updates."""
    update = our_update(job, dtype="bfloat16")
    seconds = _timed(update)
    return _report(job, seconds, rest_gib=_kept_gib())  # while the policy is still there


def our_update(job: dict[str, Any], *, dtype: str) -> Callable[[], Any]:
    """An update of one policy of ours over recorded answers, with GRPO's clipped loss."""
    from r1_plugins.ppo import PpoClip
    from r1_plugins.rl.loss import PolicyLoss
    from r1core.batching import weighted
    from r1core.types import TrainSequence

    if job["engine"] == "deepspeed":
        from r1_plugins.deepspeed import DeepSpeedPolicy as Policy

    else:
        from r1_plugins.transformers import TransformersPolicy as Policy  # type: ignore[assignment]
    own = {key: job[key] for key in ("stage", "gradient_checkpointing") if key in job}
    policy = Policy(Policy.Config(dtype=dtype, **own)).open(Path(job["model"]), trainable=True)
    random = np.random.default_rng(0)
    counted = job["length"] - PROMPT
    rows = [
        TrainSequence(
            ids=random.integers(2, VOCABULARY, job["length"]),
            start=PROMPT,
            columns={"advantage": random.normal(size=counted), "old_logprob": np.full(counted, -11.9)},
        )
        for _ in range(job["rows"])
    ]
    sequences = weighted(rows, "token_mean", longest=counted)
    loss = PolicyLoss(PpoClip(PpoClip.Config()))
    return lambda: policy.update(sequences, loss, lr=1e-6)


def by_trl(job: dict[str, Any]) -> dict[str, Any]:
    """TRL's GRPOTrainer: the seconds of its steps."""
    ends: list[tuple[float, float]] = []
    train_by_trl(job, steps=STEPS + 1, after_step=lambda: ends.append((_synchronized(), _kept_gib())))
    seconds = [end - start for (start, _), (end, _) in itertools.pairwise(ends)]
    return _report(job, seconds, rest_gib=ends[-1][1])


def train_by_trl(
    job: dict[str, Any], *, steps: int, after_step: Callable[[], None], before: Callable[[], None] = lambda: None
) -> None:
    """TRL's GRPOTrainer at its defaults; its rollouts are replaced by recorded ones of the same shape."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Told(TrainerCallback):
        """Who wants to know."""

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            """The model is loaded."""
            before()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            """An update was made."""
            after_step()

    counted = job["length"] - PROMPT

    class Recorded(GRPOTrainer):  # type: ignore[misc]
        """The trainer without its sampler."""

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            rows, device = len(inputs), self.accelerator.device
            completion = torch.randint(2, VOCABULARY, (rows, counted), device=device)
            return {
                "prompt_ids": torch.randint(2, VOCABULARY, (rows, PROMPT), device=device),
                "prompt_mask": torch.ones(rows, PROMPT, dtype=torch.long, device=device),
                "completion_ids": completion,
                "completion_mask": torch.ones_like(completion),
                "advantages": torch.randn(rows, device=device),
                "num_items_in_batch": torch.tensor(rows * counted, device=device),
            }

    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            output_dir=folder, gradient_accumulation_steps=job["rows"] // 8, max_steps=steps, report_to=[],
            save_strategy="no", num_generations=8, max_completion_length=counted, use_cpu=not torch.cuda.is_available(),
            disable_tqdm=True, bf16=torch.cuda.is_available(),
        )  # fmt: skip
        assert args.per_device_train_batch_size == 8, "the default that this row relies on"
        trainer = Recorded(
            model=job["model"],
            args=args,
            reward_funcs=lambda completions, **rest: [0.0] * len(completions),
            train_dataset=Dataset.from_list([{"prompt": "a"}] * 256),
            callbacks=[Told()],
        )
        trainer.train()


def _timed(step: Any) -> list[float]:
    seconds = []
    for _ in range(STEPS + 1):
        started = _synchronized()
        step()
        seconds.append(_synchronized() - started)
    return seconds[1:]


def _kept_gib() -> float:
    """What stays between two updates: weights, optimizer, and gradients where they are kept."""
    import torch

    return torch.cuda.memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0


def _report(job: dict[str, Any], seconds: list[float], *, rest_gib: float) -> dict[str, Any]:
    import torch

    shape, tokens = SHAPES[job["size"]], job["rows"] * job["length"]
    width, layers = shape["hidden_size"], shape["num_hidden_layers"]
    key_values = 2 * 2 * width * (width // shape["num_attention_heads"])
    body = layers * (2 * width * width + key_values + 3 * width * shape["intermediate_size"])
    attention = 6 * layers * width * job["length"]  # causal: half of 12
    flops = 6 * (body * tokens + VOCABULARY * width * job["rows"] * (job["length"] - PROMPT)) + attention * tokens
    best = min(seconds)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for card, value in PEAK_FLOPS.items() if card in name), None)
    mfu = {"MFU": flops / best / peak} if peak else {}
    peak_gib = _peak_gib()
    return {"s/update": best, "tokens/s": tokens / best, **mfu, "GiB": peak_gib, "beyond rest GiB": peak_gib - rest_gib}


if __name__ == "__main__":
    main()
