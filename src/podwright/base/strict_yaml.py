"""YAML as Kubernetes reads it: a key that is given twice is an error instead of a matter of luck."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from podwright.base.errors import InvalidArgument


class StrictLoader(yaml.SafeLoader):
    """For `yaml.load` and `yaml.load_all`.

    Not libyaml's loader, though that is faster: deep nesting overflows its stack and ends the process, where this one
    raises RecursionError.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key, str) and key in seen and key != "<<":
                raise InvalidArgument(f"line {key_node.start_mark.line + 1}: {key!r} is given twice")
            seen.add(key if isinstance(key, str) else id(key_node))
        made: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return made
