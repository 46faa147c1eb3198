"""References to environment variables in command, args and env values: `$(NAME)`.

`$$` stands for a dollar sign, so `$$(NAME)` is the literal text `$(NAME)`; a reference to what isn't defined stays
as it is, as does a lone `$`. Kubernetes API reference, Container.command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\$\$|\$\(([^()]*)\)")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with all references replaced that `variables` defines. What they hold is not expanded again."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return _TOKEN.sub(value, text)
