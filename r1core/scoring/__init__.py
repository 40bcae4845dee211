"""What answers are worth: service.py is what stages use, and says how the parts of a score make one.

spec      a reward of a stage as plain data          batch      answers, as they are sampled
here      rewards in the stage's process             engine     the thread that keeps the deadlines
pool      workers, who is late and who is to blame   process    one worker, and their server, from outside
place     a worker, and what its next one begins with
server    what workers are forked from               worker     what runs in one
wire      what is said between them                  questions  answers and sentinels
golds     problems that no answer can be held against
python, boot, look, source   rewards in interpreters of their own
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1core.scoring.batch import Batch
    from r1core.scoring.service import ScoringService
    from r1core.scoring.spec import RewardSpec

__all__ = ["Batch", "RewardSpec", "ScoringService"]

_HOME = {"Batch": "batch", "RewardSpec": "spec", "ScoringService": "service"}


def __getattr__(name: str) -> Any:
    """Imported when asked for: workers need little, and other interpreters may have no more."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
