"""Digests: `sha256:<64 hexadecimal digits>`, the names of everything in a registry and in the content store.

A `Digest` is a plain string that has passed `parse_digest`, so it can be a key, part of a record and, by
`digest_algorithm` and `digest_hex`, of a path: nothing else of a digest that came over the network is ever joined
to one. https://github.com/opencontainers/image-spec, descriptor.md, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType, Protocol

from podwright.base.errors import InvalidArgument

Digest = NewType("Digest", str)

_LENGTHS = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")


class Hasher(Protocol):
    """What `new_hasher` gives. `update` lets go of the interpreter lock for 2 KiB and more."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of a registered algorithm, in canonical form: lower-case hexadecimal."""
    return _DIGEST.match(text) is not None


def parse_digest(text: str) -> Digest:
    """`text` as a digest. Raises InvalidArgument that says what is wrong with it."""
    if is_digest(text):
        return Digest(text)
    algorithm, colon, digits = text.partition(":")
    shown = text if len(text) <= 160 else text[:160] + "…"
    if not colon:
        raise InvalidArgument(f"digest {shown!r} has no algorithm: write sha256:<64 hexadecimal digits>")
    if algorithm not in _LENGTHS:
        raise InvalidArgument(f"digest {shown!r}: unknown algorithm {algorithm[:40]!r}; known: {', '.join(_LENGTHS)}")
    if len(digits) != _LENGTHS[algorithm]:
        raise InvalidArgument(
            f"digest {shown!r} has {len(digits)} digits after the colon; {algorithm} needs {_LENGTHS[algorithm]}"
        )
    raise InvalidArgument(f"digest {shown!r}: only the digits 0-9 and a-f may follow the colon")


def digest_algorithm(digest: Digest) -> str:
    """ "The part before the colon: sha256 or sha512."""
    return digest.partition(":")[0]


def digest_hex(digest: Digest) -> str:
    """The digits after the colon."""
    return digest.partition(":")[2]


def new_hasher(algorithm: str = "sha256") -> Hasher:
    """A fresh hash of a digest's algorithm."""
    return hashlib.sha512() if algorithm == "sha512" else hashlib.sha256()


def finish(hasher: Hasher, algorithm: str = "sha256") -> Digest:
    """The digest of what `hasher` has seen."""
    return Digest(f"{algorithm}:{hasher.hexdigest()}")


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of bytes in memory."""
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return finish(hasher, algorithm)
