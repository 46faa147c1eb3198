"""Attributes of JSON objects with their types: what is wrong with a request is said with the attribute's path."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from podwright.guest.failures import INVALID, Failure

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_WORDS: dict[type, str] = {
    str: "a string", int: "a number", dict: "an object", list: "a list", bool: "true or false",
}  # fmt: skip
_MISSING: Any = object()

Object = dict[str, Any]


def get(source: Object, key: str, kind: type[_T], default: _T = _MISSING, *, within: str = "") -> _T:
    """The attribute; `default` when it is absent or null. `within` is the path of `source`. Raises Failure."""
    value = source.get(key)
    if value is None:
        if default is _MISSING:
            raise Failure(INVALID, f"{within}{key}: is missing")
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Failure(INVALID, f"{within}{key}: {str(value)[:100]!r} is not {_WORDS[kind]}")
    return value


def name(source: Object, key: str) -> str:
    """An id that is safe as a file's name. Raises Failure."""
    value = get(source, key, str)
    if not _NAME.fullmatch(value) or value in (".", ".."):
        raise Failure(INVALID, f"{key}: {value[:100]!r} is not an id, which is made of letters, digits, '_', '.', '-'")
    return value


def objects(source: Object, key: str, *, within: str = "") -> list[Object]:
    """A list of objects; empty when it is absent. Raises Failure."""
    values = get(source, key, list, [], within=within)
    for at, value in enumerate(values):
        if not isinstance(value, dict):
            raise Failure(INVALID, f"{within}{key}[{at}]: is not an object")
    return values


def strings(source: Object, key: str, *, within: str = "") -> list[str]:
    """A list of strings; empty when it is absent. Raises Failure."""
    values = get(source, key, list, [], within=within)
    for at, value in enumerate(values):
        if not isinstance(value, str):
            raise Failure(INVALID, f"{within}{key}[{at}]: is not a string")
    return values
