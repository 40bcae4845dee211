"""A hundred kills over the whole pipeline, and the same bytes at the end of every chain.

    python tests/benchmarks/bench_resume.py [--kills 100] [--chains 10] [--seed 0] [--folder FOLDER]

This is `r1 doctor --resume-test`, whose options it takes: 70 kills at random times, 30 in the writer.
Exits 4 when a byte differs, a process outlives its parent, or a kill did not land. Measured on two
busy cores: 100 kills in 11 chains (70 at random times, 48 of them with a stage at work; 30 in the writer, at
every place of store/kills.py), the same bytes in 151 files each time; about 9 s for each kill.
"""

from __future__ import annotations

import sys

from r1core.cli import main

if __name__ == "__main__":
    main(["doctor", "--resume-test", *sys.argv[1:]])
