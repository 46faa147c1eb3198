"""Ids of sandboxes and containers, and the index that lets people type a unique prefix of one."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator

from podwright.base.errors import InvalidArgument, NotFound


def new_id() -> str:
    """64 hexadecimal digits, as CRI-O and containerd make them."""
    return os.urandom(32).hex()


def random_suffix() -> str:
    """12 hexadecimal digits for temporary names."""
    return os.urandom(6).hex()


class AmbiguousId(InvalidArgument):
    """A prefix that fits more than one id."""


class PrefixIndex:
    """The ids of one kind of object, in order, so that a prefix is found by bisection."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._ids: list[str] = []

    def add(self, full_id: str) -> None:
        at = bisect.bisect_left(self._ids, full_id)
        if at == len(self._ids) or self._ids[at] != full_id:
            self._ids.insert(at, full_id)

    def discard(self, full_id: str) -> None:
        at = bisect.bisect_left(self._ids, full_id)
        if at < len(self._ids) and self._ids[at] == full_id:
            del self._ids[at]

    def resolve(self, prefix: str) -> str:
        """The one id that begins with `prefix`. Raises NotFound, or AmbiguousId where several do."""
        if not prefix:
            raise InvalidArgument(f"{self._kind} id must not be empty")
        at = bisect.bisect_left(self._ids, prefix)
        if at == len(self._ids) or not self._ids[at].startswith(prefix):
            raise NotFound(f"{self._kind} {prefix!r} not found")
        if self._ids[at] != prefix and at + 1 < len(self._ids) and self._ids[at + 1].startswith(prefix):
            raise AmbiguousId(f"{self._kind} id prefix {prefix!r} fits more than one id: give more of it")
        return self._ids[at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
