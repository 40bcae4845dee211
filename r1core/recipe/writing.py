"""Write plain data as YAML that the strict loader reads back equal, whatever text is in it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter


class _Representer(SafeRepresenter):
    """Quotes text whose characters YAML folds or hides (line and page separators, control characters)."""

    def represent_text(self, text: str) -> ScalarNode:
        style = None if text.isprintable() else '"'
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", text, style=style)
        return node


_Representer.add_representer(str, _Representer.represent_text)


def to_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML 1.2 that reads back equal."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.width = 120
    yaml.dump(dict(data), stream)
    return stream.getvalue()
