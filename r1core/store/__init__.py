"""What a run leaves on disk: atomic files, the run directory and its lock, stages, metrics and rows.

runs/<name>/{.lock, stages/<id>/{stage.json, model|data/, metrics.jsonl, ...}, ...}
"""

from r1core.store.checkpoints import Checkpoint, Checkpoints
from r1core.store.files import FileMark, mark_folder, read_json, write_json, write_text
from r1core.store.ledger import Ledger
from r1core.store.metrics import MetricsWriter, read_metrics
from r1core.store.rows import answer_of, problem_of, read_rows, rollout_row, write_rows
from r1core.store.run import RunDirectory
from r1core.store.stage import StageDirectory, StageRecord, StageState

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "FileMark",
    "Ledger",
    "MetricsWriter",
    "RunDirectory",
    "StageDirectory",
    "StageRecord",
    "StageState",
    "answer_of",
    "mark_folder",
    "problem_of",
    "read_json",
    "read_metrics",
    "read_rows",
    "rollout_row",
    "write_json",
    "write_rows",
    "write_text",
]
