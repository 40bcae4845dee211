"""The options of a block, for `r1 explain`: one line for each, what it is below it, and the options within it.

on_policy: options, default null
    learn from the teacher's verdict on the student's answers
    steps: int >= 1, default 50
        optimizer steps
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from r1core.cli.wording import field_type, options_within, value_text

WIDTH = 100
STEP = " " * 4


def option_lines(block: type[BaseModel], indent: str) -> Iterator[str]:
    """Every option of the block, with those of the blocks that it may hold."""
    for key, field in block.model_fields.items():
        yield f"{indent}{field.alias or key}: {option_type(field)}"
        yield from option_details(field, indent + STEP)


def option_type(field: FieldInfo) -> str:
    """`int >= 1, default 50`; of a block that is always there `options:`."""
    if options_within(field.annotation) == [field.annotation]:
        return "options:"
    default = value_text(field.get_default(call_default_factory=True))
    return f"{field_type(field)}, {'required' if field.is_required() else f'default {default}'}"


def option_details(field: FieldInfo, indent: str) -> Iterator[str]:
    """What an option is, and the options within it."""
    yield from textwrap.wrap(field.description or "", WIDTH, initial_indent=indent, subsequent_indent=indent)
    for block in options_within(field.annotation):
        yield from option_lines(block, indent)
