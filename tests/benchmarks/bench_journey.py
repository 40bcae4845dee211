"""From nothing to a tested verifier, its wheel built: each step's seconds, on a light install, against a minute.

    python tests/benchmarks/bench_journey.py

What is timed is what a stranger types, the installs included; only the wheel of r1core itself is made before, since
a stranger gets it from the index. Packages come through pip, so a cold cache or a slow network shows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "journey"))
from environments import ROOT, Environment, build_wheel

BUDGET_S = 60.0
PROJECT = "r1core-chem"


def main() -> int:
    """Print the table; 1 when the whole took longer than the budget."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        maker = Environment.new(folder / "maker")
        wheel = build_wheel(maker, ROOT, folder / "wheel")
        rows = timed(folder, wheel)
    total_s = sum(seconds for _, seconds in rows)
    for command, seconds in [*rows, ("total", total_s)]:
        print(f"{seconds:7.1f} s  {command}")
    print(f"{'within' if total_s <= BUDGET_S else 'OVER'} {BUDGET_S:.0f} s")
    return int(total_s > BUDGET_S)


def timed(folder: Path, wheel: Path) -> list[tuple[str, float]]:
    """(what was typed, seconds) of each step."""
    home, project = folder / "home", folder / "home" / PROJECT
    home.mkdir()
    environment = Environment(folder=home / ".venv")
    steps: list[tuple[str, Path, tuple[str, ...]]] = [
        ("pip install r1core", home, ("python", "-m", "pip", "install", "-q", str(wheel))),
        ("r1 new-plugin chem/smiles --kind reward", home, ("r1", "new-plugin", "chem/smiles", "--kind", "reward")),
        ("pip install -e '.[dev]'", project, ("python", "-m", "pip", "install", "-q", "-e", ".[dev]")),
        ("r1 plugins", project, ("r1", "plugins", "--strict")),
        ("r1 verify chem/smiles", project, ("r1", "verify", "chem/smiles", "r1core_chem/cases.jsonl")),
        ("pytest", project, ("python", "-m", "pytest", "-q")),
        ("r1 check", project, ("r1", "check")),
        ("r1 recipe recipes/chem_smoke.yaml", project, ("r1", "recipe", "recipes/chem_smoke.yaml")),
        ("pip wheel --no-deps .", project, ("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", ".")),
        ("r1 check dist/*.whl", project, ("r1", "check", f"dist/{PROJECT.replace('-', '_')}-0.1.0-py3-none-any.whl")),
    ]
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(environment.folder)], check=True)
    rows = [("python -m venv .venv", time.monotonic() - begun)]
    for typed, at, command in steps:
        begun = time.monotonic()
        environment.done(*command, at=at)
        rows.append((typed, time.monotonic() - begun))
    environment.done("python", "-c", "import importlib.util as u; assert not u.find_spec('torch')", at=home)
    return rows


if __name__ == "__main__":
    sys.exit(main())
