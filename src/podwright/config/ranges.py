"""What a setting may be beyond its type: said beside it, in its metadata, and checked and documented from there.

min, max    a number is at least, at most this
above       a number is more than this
also        a number outside of them that has a meaning of its own (0: never)
check       a function that raises ValueError, or InvalidArgument, for text that is no use
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from podwright.base.errors import InvalidArgument


def refusal(metadata: Mapping[str, Any], value: object) -> str:
    """Why the value is no use; '' when it is good, or when there is nothing to hold it against."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "" if _within(metadata, value) else f"must be {bounds(metadata) or 'finite'}, not {value}"
    check = metadata.get("check")
    for text in value if isinstance(value, tuple) else (value,):
        if check is None or not isinstance(text, str):
            continue
        try:
            check(text)
        except (ValueError, InvalidArgument) as error:
            return str(error)
    return ""


def bounds(metadata: Mapping[str, Any]) -> str:
    """What a number may be, in words; '' for any."""
    low, above, high, also = (metadata.get(key) for key in ("min", "above", "max", "also"))
    words = [] if also is None else [str(also)]
    if low is not None and high is not None:
        words.append(f"{low} to {high}")
    elif low is not None:
        words.append(f"at least {low}")
    if above is not None:
        words.append(f"more than {above}")
    if high is not None and low is None:
        words.append(f"at most {high}")
    return " or ".join(words)


def _within(metadata: Mapping[str, Any], value: float) -> bool:
    if not math.isfinite(value):
        return False
    if value == metadata.get("also"):
        return True
    low, above, high = metadata.get("min"), metadata.get("above"), metadata.get("max")
    return (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high)
