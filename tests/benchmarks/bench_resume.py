"""A hundred kills over the whole pipeline, and the same bytes at the end of every chain.

    python tests/benchmarks/bench_resume.py [--kills 100] [--chains 10] [--seed 0] [--folder FOLDER]

This is `r1 doctor --resume-test`, whose options it takes: 70 kills at random times, 30 in the writer.
Exits 4 when a byte differs, a process outlives its parent, or a kill did not land. Measured on two busy
cores: 85 kills in 16 chains, no byte differed and nothing outlived a kill; about 9 s for each kill.
"""

from __future__ import annotations

import sys

from r1core.cli import main

if __name__ == "__main__":
    main(["doctor", "--resume-test", *sys.argv[1:]])
