"""Every slip at every letter of every word in every shipped recipe and profile: how many are found, and understood?

    python tests/benchmarks/bench_typos.py

tests/recipes/test_typos.py makes one slip in each word; here every letter is lost, swapped with the one
before it and mistyped. Takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))

from shipped_slips import Bench, Found, files, is_understood, slips_of
from slips import LETTERS


def main() -> None:
    """Print a line for each file, and all that is not understood with `--show`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=files(), help="below the recipes' folder; all when absent")
    parser.add_argument("--show", action="store_true", help="print the slips that are not found or not understood")
    options = parser.parse_args()
    print(f"{'file':<28}{'slips':>8}{'not found':>11}{'understood':>12}{'plans':>8}{'seconds':>9}")
    start = time.perf_counter()
    slips = words = understood = silent = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for file in options.files:
            began = time.perf_counter()
            found = bench.check(file, list(slips_of(file, everywhere=True)))
            line(file, found, time.perf_counter() - began)
            if options.show:
                show(found)
            right = [is_understood(slip, said) for slip, said in found.said.items() if slip.kind in LETTERS]
            slips += len(found.said) + len(found.silent)
            words += len(right) + len(found.silent)
            understood, silent = understood + sum(right), silent + len(found.silent)
    print(f"{slips} slips, {words} in words, in {time.perf_counter() - start:.0f} s")
    print(f"not found: {silent}; understood: {understood / words:.4f}")


def line(name: str, found: Found, seconds: float) -> None:
    """One row of the table."""
    count = len(found.said) + len(found.silent)
    share = found.share_understood()
    print(f"{name:<28}{count:>8}{len(found.silent):>11}{share:>12.4f}{found.plans:>8}{seconds:>9.1f}", flush=True)


def show(found: Found) -> None:
    """The slips that nothing was said of, or the wrong thing."""
    for slip in found.silent:
        print(f"    not found: {'.'.join(slip.path)} {slip.right!r} -> {slip.new!r}")
    for slip, said in found.said.items():
        if slip.kind in LETTERS and not is_understood(slip, said):
            print(f"    not understood: {'.'.join(slip.path)} {slip.right!r} -> {slip.new!r}: {said.splitlines()[-1]}")


if __name__ == "__main__":
    main()
