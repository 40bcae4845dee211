"""Memory of a divergence on a large vocabulary: in tiles (`r1core.nn.LMHead`), and on whole logits by autograd.

    python tests/benchmarks/bench_divergence.py --output bench_divergence.txt

Vocabulary 151,936, hidden size 256, 2 x 1,024 tokens, float32, on the CPU. From hidden states of teacher and student
and the weights of both heads to the gradients of the student's states and weight. Each row is a process of its own,
whose resident memory the kernel watches (VmHWM); `peak` is the most beyond what was resident before, where states,
weights and room for the weight's gradient already lay. `direct` is what one would write: `log_softmax` of both, then
the formula. Gradients of both are compared with those of the formula in float64, computed a few tokens at a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_memory import Meter

KINDS = ("forward", "reverse", "jsd", "adaptive")
LIMIT = 0.25
"""Of the direct computation's peak."""
EXACT_TOKENS = 64


def main() -> None:
    """Run every row, print the table, and say whether tiles take at most a quarter, with the same gradients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--output", type=Path, help="also write the table here")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print("ROW " + json.dumps(run(json.loads(args.row))))
        return
    job = {"vocabulary": args.vocabulary, "tokens": args.tokens, "hidden": args.hidden}
    lines = [f"vocabulary {args.vocabulary}, {args.tokens} tokens, hidden size {args.hidden}; CPU, float32, one thread"]
    print(lines[0])
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            lines += _compared(kind, {**job, "kind": kind, "folder": folder})
            if args.output:
                args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _compared(kind: str, job: dict[str, Any]) -> list[str]:
    """Both rows of one divergence, and how they compare."""
    rows = {form: _apart({**job, "form": form}) for form in ("direct", "tiles", "exact")}
    del rows["exact"]
    lines = [
        f"{kind:10}{form:8}" + "  ".join(f"{name} {value:9.2f}" for name, value in row.items())
        for form, row in rows.items()
    ]
    share = rows["tiles"]["peak MiB"] / rows["direct"]["peak MiB"]
    verdict = "at most a quarter" if share <= LIMIT else "MORE THAN A QUARTER"
    lines.append(f"{kind:10}tiles take {share:.3f} of direct's peak: {verdict}")
    for form in rows:
        gaps = "  ".join(f"{name} {gap:.1e}" for name, gap in _errors(Path(job["folder"]), form).items())
        lines.append(f"{kind:10}{form:8}errors, as a share of the largest entry: {gaps}")
    print("\n".join(lines), flush=True)
    return lines


def _errors(folder: Path, form: str) -> dict[str, float]:
    """Of values and gradients, as a share of the largest entry."""
    from safetensors.torch import load_file

    exact, found = (load_file(folder / f"{name}.safetensors") for name in ("exact", form))
    return {name: float((found[name] - value).abs().max() / value.abs().max()) for name, value in exact.items()}


def _apart(job: dict[str, Any]) -> dict[str, float]:
    """The row, by a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--row", json.dumps(job)], capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("ROW ")]
    if not rows:
        raise SystemExit(f"{job['kind']}, {job['form']}: ended with {done.returncode}\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(rows[-1][4:])
    return found


# --- one row, in its own process -------------------------------------------------------------------


def run(job: dict[str, Any]) -> dict[str, float]:
    """The peak and the seconds of one divergence, forward and backward; values and gradients go to a file."""
    import torch
    from safetensors.torch import save_file

    import r1core.nn  # noqa: F401 - what it takes to import is not the divergence's

    torch.set_num_threads(1)
    states, weight, theirs, their_weight = models(job)
    for tensor in (states, weight):
        tensor.requires_grad_().grad = torch.zeros_like(tensor)
    meter = Meter()
    meter.rest()
    size = EXACT_TOKENS if job["form"] == "exact" else len(states)
    computed = _tiles if job["form"] == "tiles" else _direct
    values = []
    for own, teachers in zip(states.split(size), theirs.split(size), strict=True):
        value = computed(job["kind"], own, weight, teachers, their_weight)
        value.sum().backward()
        values.append(value.detach())
    meter.peak()
    assert states.grad is not None
    assert weight.grad is not None
    found = {"value": torch.cat(values).double(), "states": states.grad.double(), "weight": weight.grad.double()}
    save_file(found, Path(job["folder"]) / f"{job['form']}.safetensors")
    return {"peak MiB": meter.peaks[0], "s": meter.seconds[0], "mean": float(found["value"].mean())}


def models(job: dict[str, Any]) -> list[Any]:
    """States and weight of the student, and of a teacher that is not far from it; float64 where all is to be exact."""
    import torch

    torch.manual_seed(0)
    states, weight = torch.randn(job["tokens"], job["hidden"]), torch.randn(job["vocabulary"], job["hidden"])
    states, weight = 3.0 * states, weight / job["hidden"] ** 0.5
    theirs, their_weight = (tensor + 0.3 * torch.randn_like(tensor) * tensor.std() for tensor in (states, weight))
    dtype = torch.float64 if job["form"] == "exact" else torch.float32
    return [tensor.to(dtype) for tensor in (states, weight, theirs, their_weight)]


def _tiles(kind: Any, states: Any, weight: Any, theirs: Any, their_weight: Any) -> Any:
    from r1core.nn import LMHead, Measure

    student = LMHead(states, lambda own, read: read(own, weight, None), width=len(weight), into_grad=True)
    teacher = LMHead(theirs, lambda own, read: read(own, their_weight, None), width=len(weight))
    return student.divergence(teacher, Measure(kind=kind))


def _direct(kind: str, states: Any, weight: Any, theirs: Any, their_weight: Any) -> Any:
    """On whole logits; the teacher's without a graph."""
    import torch

    with torch.no_grad():
        teacher = (theirs @ their_weight.T).log_softmax(-1)
    student = (states @ weight.T).log_softmax(-1)
    if kind == "jsd":
        half = torch.tensor(0.5, dtype=student.dtype).log()
        mixture = torch.logaddexp(teacher + half, student + half)
        return 0.5 * _kl(teacher, mixture) + 0.5 * _kl(student, mixture)
    if kind == "adaptive":
        with torch.no_grad():
            ordered, places = teacher.exp().sort(descending=True)
            apart = (ordered - student.exp().gather(1, places)).abs()
            share = (apart * (ordered.cumsum(1) - ordered < 0.5)).sum(1) / apart.sum(1)
        return share * _kl(teacher, student) + (1 - share) * _kl(student, teacher)
    return _kl(teacher, student) if kind == "forward" else _kl(student, teacher)


def _kl(of: Any, to: Any) -> Any:
    return (of.exp() * (of - to)).sum(-1)


if __name__ == "__main__":
    main()
