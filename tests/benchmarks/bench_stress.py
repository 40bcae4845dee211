"""Every attack of `r1 verify --stress` on every built-in reward that ships cases: how many are asked, and get through?

    python tests/benchmarks/bench_stress.py            # all rewards; a few minutes on one core
    python tests/benchmarks/bench_stress.py math code

tests/contract/test_stress_built_ins.py asks at most a few hundred of each.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from stressed import NAMES, faults, stressed, told, why_not


def main() -> None:
    """Print a line for each reward, and what got through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rewards", nargs="*", default=NAMES, help="all when absent")
    print(f"{'reward':<20}{'attacks':>9}{'families':>10}{'got through':>13}{'late':>6}{'seconds':>9}")
    through = 0
    for name in parser.parse_args().rewards:
        if why := why_not(name):
            print(f"{name:<20}  {why}")
            continue
        began = time.perf_counter()
        trial, report = stressed(name)
        wrong = [line for found in faults(report).values() for line in told(found)]
        through += len(wrong)
        families = len({question.family for question in trial.questions})
        seconds = time.perf_counter() - began
        print(
            f"{name:<20}{len(report.answered):>9}{families:>10}{len(wrong):>13}{len(report.late):>6}{seconds:>9.1f}",
            flush=True,
        )
        for line in wrong:
            print(f"    {line}")
    sys.exit(bool(through))


if __name__ == "__main__":
    main()
