"""What a launcher starts: `python launched_program.py FOLDER [hang]`. Ranks meet and write what they heard.
With `hang` it then waits for a message that nobody sends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from r1_plugins.deepspeed import DeepSpeedPolicy

folder = Path(sys.argv[1])
world = DeepSpeedPolicy(DeepSpeedPolicy.Config(device="cpu")).world
heard = {
    "size": world.size,
    "gathered": world.gather({"rank": world.rank}),
    "first": world.first(f"from {world.rank}"),
    "some": world.any(world.rank == 1),
    "none": world.any(False),
    "left": [path.name for path in Path("/dev/shm").glob(f"deepspeed_*_{os.environ['MASTER_PORT']}_*")],
    "pid": os.getpid(),
}
part = folder / f"rank-{world.rank}.part"
part.write_text(json.dumps(heard), encoding="utf-8")
part.rename(folder / f"rank-{world.rank}.json")
if "hang" in sys.argv and world.rank == 0:
    world.gather("nobody answers")
if "hang" in sys.argv:
    input()
