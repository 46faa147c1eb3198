"""Images that the kubelet must not collect: those of the setting, by name or pattern. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from podwright.base.errors import InvalidArgument
from podwright.image.model import ImageRecord
from podwright.oci.reference import parse_reference


class Pins:
    """References, or patterns of them with * and ?."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [_normalised(pattern) for pattern in patterns]

    def cover(self, record: ImageRecord) -> bool:
        names = [*record.repo_tags, *record.repo_digests, record.id]
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns for name in names)


def _normalised(pattern: str) -> str:
    """A pattern without wildcards means what it means in a pull: `busybox` pins docker.io/library/busybox:latest."""
    if any(letter in pattern for letter in "*?["):
        return pattern
    try:
        reference = parse_reference(pattern)
    except InvalidArgument:
        return pattern
    return reference.with_digest(reference.digest) if reference.digest else reference.tagged
