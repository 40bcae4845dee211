"""The options of a component as a table for a README, between two comments that say whose they are.

    <!-- options of reward chem/smiles: r1 check --fix writes them -->
    | option | type | default | what it is |
    ...
    <!-- end of options -->

`r1 new-plugin` writes the first one, `r1 check` says when it is not what `Config` says, `--fix` mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from r1core.choices import Options
from r1core.cli.wording import field_type, options_within, value_text

HEAD = "| option | type | default | what it is |\n|---|---|---|---|"
NONE = "It has no options."
END = "<!-- end of options -->"


def begin(kind: str, name: str) -> str:
    """The comment that opens a component's table."""
    return f"<!-- options of {kind} {name}: r1 check --fix writes them -->"


def options_table(config: type[Options]) -> str:
    """The table of a `Config`, one row for each option, options within options by their path."""
    rows = list(_rows(config, ""))
    return "\n".join([HEAD, *rows]) if rows else NONE


def table_in(readme: str, kind: str, name: str) -> str | None:
    """What stands between the comments of a component; None where there are none."""
    found = _block(kind, name).search(readme)
    return found["table"].strip() if found else None


def with_table(readme: str, kind: str, name: str, table: str) -> str:
    """The README with `table` between the component's comments."""
    return _block(kind, name).sub(lambda found: f"{found['begin']}\n{table}\n{END}", readme)


def _block(kind: str, name: str) -> re.Pattern[str]:
    opening = re.escape(f"<!-- options of {kind} {name}:")
    return re.compile(rf"(?P<begin>{opening}[^\n]*-->)\n(?P<table>.*?){re.escape(END)}", re.DOTALL)


def _rows(config: type[BaseModel], prefix: str) -> Iterator[str]:
    """A block that is always there is told by its options alone; one that may be left out has a row of its own, too."""
    for key, field in config.model_fields.items():
        name, blocks = f"{prefix}{field.alias or key}", options_within(field.annotation)
        if blocks != [field.annotation]:
            yield _row(name, field)
        for block in blocks:
            yield from _rows(block, f"{name}.")


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{value_text(field.get_default(call_default_factory=True))}`"
    cells = (f"`{name}`", field_type(field), default, field.description or "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"
