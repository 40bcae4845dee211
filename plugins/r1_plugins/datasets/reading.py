"""Rows of files, whatever their kind: lines of JSON, parquet, and what the library `datasets` finds.

What cannot be read is one line with its cause and what to do: a wrong path is the recipe's fault (exit 2); a package
that is missing, or a hub that cannot be reached, the environment's (exit 3).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1_plugins.datasets.columns import MISSING, RowError, at, plain
from r1_plugins.datasets.decontamination import Against, refuse_empty
from r1core.errors import RecipeError, SetupError

BATCH = 1000
"""Rows of a parquet file in memory at once."""
SAVED = ("dataset_info.json", "state.json", "dataset_dict.json")
"""Files of a folder that `save_to_disk` wrote."""


def lines(path: Path, where: str) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes) of the rows of a text file; blank lines are skipped."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecipeError(f"cannot read {str(path)!r}: {reason}", where=where, fix="set `path`") from error


def parsed(line: bytes) -> dict[str, Any]:
    """One JSON object. Raises RowError."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at column {error.colno}; expected one object on one line") from error
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from error
    except RecursionError as error:
        raise RowError("nested too deeply") from error
    if not isinstance(row, dict):
        raise RowError(f"expected a JSON object, got {type(row).__name__}")
    return row


def parquet_rows(path: Path, where: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a parquet file, or of all of a folder, by name."""
    need("pyarrow", where)
    import pyarrow.lib
    import pyarrow.parquet

    if not path.exists():
        raise RecipeError(f"cannot read {str(path)!r}: No such file or directory", where=where, fix="set `path`")
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise RecipeError(f"there is no .parquet file in {str(path)!r}", where=where, fix="set `path`")
    for file in files:
        try:
            with pyarrow.parquet.ParquetFile(file) as opened:
                for batch in opened.iter_batches(batch_size=BATCH):
                    for row in batch.to_pylist():
                        yield plain(row)
        except (pyarrow.lib.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise RecipeError(
                f"cannot read {str(file)!r}: {reason}", where=where, fix="give a parquet file, whole and not encrypted"
            ) from error


def dataset_rows(
    path: str, *, config: str | None, split: str, revision: str | None, where: str
) -> Iterator[Mapping[str, Any]]:
    """The rows of a data set: a folder that `save_to_disk` wrote, a folder of data files, or one on the hub."""
    need("datasets", where)
    import datasets

    datasets.disable_progress_bars()
    saved = any((Path(path) / name).exists() for name in SAVED)
    try:
        if saved:
            found = datasets.load_from_disk(path)
            found = found[split] if isinstance(found, datasets.DatasetDict) else found
        else:
            found = datasets.load_dataset(path, config, split=split, revision=revision)
    except KeyError as error:
        raise RecipeError(f"it has no split {split!r}", where=f"{where}, {path}", fix="set `split`") from error
    except Exception as error:  # the library raises whatever its readers do
        raise _unread(error, path, where) from error
    for row in found:
        yield plain(row)


def _unread(error: Exception, path: str, where: str) -> RecipeError | SetupError:
    """What the library could not do, in a line."""
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
    local = Path(path).exists() or path.startswith((".", "/"))
    if local or isinstance(error, ValueError):  # an unknown split or configuration, a file that is none
        return RecipeError(f"cannot be read: {reason}", where=f"{where}, {path}", fix="check path, config and split")
    return SetupError(
        f"cannot be fetched: {reason}",
        where=f"{where}, {path}",
        fix="check the name and the network, or download it first and give its folder",
    )


def need(package: str, where: str) -> None:
    """Raises SetupError where a package of the extra `train` is missing."""
    if importlib.util.find_spec(package) is None:
        raise SetupError(f"{package} is not installed", where=where, fix="pip install 'r1core[train]'")


def questions(one: Against) -> Iterator[str]:
    """What the user says in an evaluation set."""
    where = "decontaminate"
    path, count = Path(one.path), 0
    if path.suffix == ".parquet":
        rows = parquet_rows(path, where)
    elif path.suffix in (".jsonl", ".json"):
        rows = (parsed(line) for _, line in lines(path, where))
    else:
        rows = dataset_rows(one.path, config=one.config, split=one.split, revision=None, where=where)
    try:
        for row in rows:
            yield from _said(at(row, one.prompt), one.prompt)
            count += 1
    except RowError as error:
        raise RecipeError(
            f"row {count + 1}: {error}", where=f"{where}, {one.path}", fix="set `prompt`, or mend the row"
        ) from error
    refuse_empty(one, count)


def _said(prompt: Any, name: str) -> Iterator[str]:
    if isinstance(prompt, str):
        yield prompt
    elif isinstance(prompt, list) and all(isinstance(each, dict) for each in prompt):
        yield from (str(each.get("content")) for each in prompt if each.get("role") == "user")
    else:
        raise RowError(f"no field {name!r}" if prompt is MISSING else f"field {name!r} is no text")
